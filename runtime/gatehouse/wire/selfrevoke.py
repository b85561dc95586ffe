"""The JSON of POST /v1/keys/revoke-self: the token that shall end, and why."""

from __future__ import annotations

import msgspec

from gatehouse.wire.body import bad_member, decode_body
from gatehouse.wire.verify import TOKEN_CHARS_MAX

REASON_CHARS_MAX = 300


class SelfRevoke(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    token: str
    reason: str = ""


class SelfRevoked(msgspec.Struct, frozen=True):
    """`everywhere`: every live gateway has confirmed it. `within_bound`: this one has, every other refuses within the bound."""

    key_id: str
    effective: str
    request_id: str


_decoder = msgspec.json.Decoder(SelfRevoke)


def decode(body: bytes) -> SelfRevoke:
    """Raises BadRequest that names the member which is wrong."""
    request = decode_body(_decoder, body)
    if len(request.token) > TOKEN_CHARS_MAX:
        raise bad_member("body.token", f"is longer than {TOKEN_CHARS_MAX} characters", "send the key as it was shown")
    if len(request.reason) > REASON_CHARS_MAX or not request.reason.isprintable():
        raise bad_member("body.reason", f"must be at most {REASON_CHARS_MAX} printable characters", "say it shorter")
    return request
