"""The JSON of PUT and DELETE /v1/cores/{name}."""

from __future__ import annotations

from urllib.parse import parse_qsl

import msgspec

from gatehouse.cores.models import CoreRecord
from gatehouse.http.validation import check_query, decode_body, invalid
from gatehouse.timestamps import rfc3339

LEASE_ID_CHARS_MAX = 64


class LeaseRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Without `lease_id`: register at `url`. With it: renew, and move to `url` when that is there too."""

    url: str | None = None
    ttl_s: int | None = None
    lease_id: str | None = None


class LeaseReply(msgspec.Struct, frozen=True, omit_defaults=True):
    """`core_secret` is there once a registration: what the gateway will send to the Core with each request."""

    name: str
    url: str
    lease_id: str
    expires_at: str
    heartbeat_s: int
    core_secret: str | None = None


_decoder = msgspec.json.Decoder(LeaseRequest)


def decode(body: bytes) -> LeaseRequest:
    """Raises BadRequest that names the member which is wrong."""
    request = decode_body(_decoder, body)
    if request.lease_id is None and request.url is None:
        raise invalid("body.url", "is missing", "send the origin at which the gateway reaches the Core: https://host[:port]")
    if request.lease_id is not None and not 0 < len(request.lease_id) <= LEASE_ID_CHARS_MAX:
        raise invalid("body.lease_id", "is no lease id", "send the lease_id of the registration")
    return request


def lease_id(query: bytes) -> str:
    """The `lease_id` of DELETE. Raises BadRequest unless it is there once and nothing else is."""
    check_query(query)
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    if [name for name, _ in pairs] != ["lease_id"] or not 0 < len(pairs[0][1]) <= LEASE_ID_CHARS_MAX:
        raise invalid("query.lease_id", "must be given once, alone", "DELETE /v1/cores/{name}?lease_id=...")
    return pairs[0][1]


def answer(core: CoreRecord, *, heartbeat_s: int, core_secret: str | None) -> LeaseReply:
    return LeaseReply(
        name=core.name,
        url=core.url,
        lease_id=core.lease_id,
        expires_at=rfc3339(core.expires_at),
        heartbeat_s=heartbeat_s,
        core_secret=core_secret,
    )
