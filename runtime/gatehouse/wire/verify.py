"""The JSON of POST /v1/keys/verify, and the rate-limit headers that go with every decision."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from gatehouse.types import LimitState, Question, Verdict
from gatehouse.wire.body import bad_member, decode_body

TOKEN_CHARS_MAX = 512
COST_MAX = 1_000_000
_SCOPE = re.compile(r"[a-z0-9:_.*-]{1,64}")
_SCOPES_MAX = 50
#: RFC 9651, section 3.3.3: a String holds visible ASCII and spaces.
_FIELD_STRING = re.compile(r"[ !#-\[\]-~]*")


class VerifyRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`scopes` and `core`: what the key is needed for. `cost` 0 looks at the limits without using them."""

    token: str
    scopes: tuple[str, ...] = ()
    core: str | None = None
    cost: int = 1


class LimitReply(msgspec.Struct, frozen=True):
    name: str
    limit: int
    window_s: int
    remaining: int
    reset_s: float
    exceeded: bool
    degraded: bool


class VerifyReply(msgspec.Struct, frozen=True):
    """Fields of the key are null unless the token proved possession of a known key."""

    valid: bool
    code: str
    key_id: str | None
    name: str | None
    owner: str | None
    environment: str | None
    scopes: tuple[str, ...] | None
    expires_at: str | None
    limits: tuple[LimitReply, ...]
    staleness_ms: int
    decided_at: str
    request_id: str


_decoder = msgspec.json.Decoder(VerifyRequest)


def decode(body: bytes) -> tuple[str, Question]:
    """The token and what is asked about it. Raises BadRequest that names the member which is wrong."""
    request = decode_body(_decoder, body)
    if len(request.token) > TOKEN_CHARS_MAX:
        raise bad_member(
            "body.token",
            f"is longer than {TOKEN_CHARS_MAX} characters",
            "send one key as it was shown when it was made",
        )
    if not 0 <= request.cost <= COST_MAX:
        raise bad_member("body.cost", f"must be 0 to {COST_MAX}", "leave it out for 1, send 0 to look without using anything")
    if len(request.scopes) > _SCOPES_MAX:
        raise bad_member("body.scopes", f"holds more than {_SCOPES_MAX} names", "ask for the scopes that this one request needs")
    for index, scope in enumerate(request.scopes):
        if _SCOPE.fullmatch(scope) is None:
            raise bad_member(f"body.scopes[{index}]", "is no name of a scope", "use 1 to 64 of a-z 0-9 : _ . * -")
    return request.token, Question(scopes=request.scopes, core=request.core, cost=request.cost)


def answer(verdict: Verdict, request_id: str) -> VerifyReply:
    """`verdict` as the public may see it (core/decide.for_public)."""
    record = verdict.record
    return VerifyReply(
        valid=verdict.valid,
        code=verdict.code.value,
        key_id=None if record is None else record.id,
        name=None if record is None else record.name,
        owner=None if record is None else record.owner,
        environment=None if record is None else record.environment.value,
        scopes=None if record is None else record.scopes,
        expires_at=None if record is None or record.expires_at is None else rfc3339(record.expires_at),
        limits=tuple(
            LimitReply(
                name=state.limit.name,
                limit=state.limit.quota,
                window_s=state.limit.window_s,
                remaining=state.remaining,
                reset_s=round(state.reset_s, 3),
                exceeded=state.exceeded,
                degraded=state.degraded,
            )
            for state in verdict.limits
        ),
        staleness_ms=verdict.staleness_ms,
        decided_at=rfc3339(verdict.decided_at),
        request_id=request_id,
    )


def limit_headers(states: Sequence[LimitState]) -> list[tuple[bytes, bytes]]:
    """RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers, -10 or later), Retry-After when one is exceeded.

    `t` of an exceeded limit is the time until the next request may come, so that it names the same instant as Retry-After.
    """
    shown = [state for state in states if _FIELD_STRING.fullmatch(state.limit.name)]
    if not shown:
        return []
    policy = ", ".join(f'"{state.limit.name}";q={state.limit.quota};w={state.limit.window_s}' for state in shown)
    now = ", ".join(
        f'"{state.limit.name}";r={state.remaining};t={math.ceil(state.retry_after_s if state.exceeded else state.reset_s)}'
        for state in shown
    )
    headers = [(b"ratelimit-policy", policy.encode()), (b"ratelimit", now.encode())]
    waits = [state.retry_after_s for state in states if state.exceeded]
    if waits:
        headers.append((b"retry-after", str(max(1, math.ceil(max(waits)))).encode()))
    return headers


def rfc3339(seconds: float) -> str:
    """Unix seconds as RFC 3339 text in UTC with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
