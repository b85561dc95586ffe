"""The JSON of POST /v1/keys/verify, and the rate-limit headers that go with every decision."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from gatehouse.http.paths import CORE_NAME
from gatehouse.http.validation import decode_body, invalid
from gatehouse.verification.models import (
    RateLimitOverride,
    RateLimitState,
    SignedRequest,
    VerificationRequest,
    VerificationResult,
)

TOKEN_CHARS_MAX = 512
COST_MAX = 1_000_000
_SCOPE = re.compile(r"[a-z0-9:_.*-]{1,64}")
SCOPES_MAX = 50
BATCH_MAX = 100
LIMITS_MAX = 10
QUOTA_MAX = 1_000_000_000
WINDOW_S_MAX = 31 * 86_400
ADDRESS_CHARS_MAX = 64
URL_CHARS_MAX = 8192
HEADERS_MAX = 100
HEADERS_CHARS_MAX = 16_384

#: Absolute form (RFC 9112, section 3.2.2) of visible ASCII without user name and fragment; scheme, authority, path, query.
_URL = re.compile(r'(https?)://([A-Za-z0-9.:_\[\]-]{1,255})(/[!-"$->@-~]*)?(?:\?([!-"$-~]*))?')
URL_PATTERN = f"^{_URL.pattern}$"
_METHOD = re.compile(r"[A-Z]{1,16}")
_LIMIT_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,63}")

#: RFC 9651, section 3.3.3: a String holds visible ASCII and spaces.
_FIELD_STRING = re.compile(r"[ !#-\[\]-~]*")


class RateLimitInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """With `quota` and `window_s` a limit that the question brings; without them one of the key's, at another cost."""

    name: str
    cost: int = 1
    quota: int | None = None
    window_s: int | None = None
    burst: int | None = None


class SignedRequestInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The client's own request, for a key whose requests are signed. `headers`: [name, value] as received, repeats too.

    body_sha256: base64 of SHA-256 of the body as received, null when there is none. It stands for the body: whoever leaves it
    out of a request that has one gets an answer about another request.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body_sha256: str | None = None


class VerifyRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`scopes`, `core`, `method`: what the key is needed for. `cost` 0 looks at limits and credits without using them.

    address: who uses the key, when that is not the one who asks. limits: other costs for limits of the key, or more limits.
    """

    token: str
    scopes: tuple[str, ...] = ()
    core: str | None = None
    cost: int = 1
    address: str | None = None
    method: str | None = None
    limits: tuple[RateLimitInput, ...] = ()
    request: SignedRequestInput | None = None


class LimitReply(msgspec.Struct, frozen=True):
    name: str
    limit: int
    window_s: int
    remaining: int
    reset_s: float
    exceeded: bool
    degraded: bool


class CreditsReply(msgspec.Struct, frozen=True):
    remaining: int
    exceeded: bool
    refills_at: str | None


class VerifyReply(msgspec.Struct, frozen=True):
    """Fields of the key are null unless the token proved possession of a known key."""

    valid: bool
    code: str
    reason: str | None
    key_id: str | None
    name: str | None
    owner: str | None
    environment: str | None
    scopes: tuple[str, ...] | None
    expires_at: str | None
    limits: tuple[LimitReply, ...]
    credits: CreditsReply | None
    staleness_ms: int
    decided_at: str
    request_id: str


class BatchRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Up to BATCH_MAX questions; each is answered like one that came alone, in the same order."""

    keys: tuple[VerifyRequest, ...]


class BatchReply(msgspec.Struct, frozen=True):
    results: tuple[VerifyReply, ...]


_decoder = msgspec.json.Decoder(VerifyRequest)
_batch_decoder = msgspec.json.Decoder(BatchRequest)


def decode(body: bytes, client: str) -> tuple[str, VerificationRequest]:
    """The token and what is asked about it; `client`: who asks. Raises BadRequest that names the member which is wrong."""
    return _question(decode_body(_decoder, body), client, "body")


def decode_batch(body: bytes, client: str) -> tuple[tuple[str, VerificationRequest], ...]:
    """The same for many. Raises BadRequest."""
    request = decode_body(_batch_decoder, body)
    if not 1 <= len(request.keys) <= BATCH_MAX:
        raise invalid("body.keys", f"must hold 1 to {BATCH_MAX} questions", "send the others in another request")
    return tuple(_question(one, client, f"body.keys[{index}]") for index, one in enumerate(request.keys))


def _question(request: VerifyRequest, client: str, at: str) -> tuple[str, VerificationRequest]:
    if len(request.token) > TOKEN_CHARS_MAX:
        raise invalid(
            f"{at}.token",
            f"is longer than {TOKEN_CHARS_MAX} characters",
            "send one key as it was shown when it was made",
        )
    if not 0 <= request.cost <= COST_MAX:
        raise invalid(f"{at}.cost", f"must be 0 to {COST_MAX}", "leave it out for 1, send 0 to look without using anything")
    check_needs(request.scopes, request.core, request.method, at, scopes_name="scopes")
    if request.address is not None and not _is_address(request.address):
        raise invalid(f"{at}.address", "is no IP address", "send the client's address, such as 192.0.2.7, or leave it out")
    return request.token, VerificationRequest(
        scopes=request.scopes,
        core=request.core,
        cost=request.cost,
        address=client if request.address is None else request.address,
        method=request.method,
        limits=_limits(request.limits, at) if request.limits else (),
        signed=None if request.request is None else _signed(request.request, f"{at}.request"),
    )


def check_needs(scopes: Sequence[str], core: str | None, method: str | None, at: str, *, scopes_name: str) -> None:
    """What a key is asked to be good for, the same in a body and in a query. Raises BadRequest."""
    if len(scopes) > SCOPES_MAX:
        raise invalid(f"{at}.{scopes_name}", f"holds more than {SCOPES_MAX} names", "ask for the scopes that this request needs")
    for index, scope in enumerate(scopes):
        if _SCOPE.fullmatch(scope) is None:
            raise invalid(f"{at}.{scopes_name}[{index}]", "is no name of a scope", "use 1 to 64 of a-z 0-9 : _ . * -")
    if core is not None and CORE_NAME.fullmatch(core) is None:
        raise invalid(f"{at}.core", "is no name of a Core", "use 1 to 40 lower-case letters, digits and inner hyphens")
    if method is not None and _METHOD.fullmatch(method) is None:
        raise invalid(f"{at}.method", "is no HTTP method", "send it in upper case, such as GET")


def _signed(asked: SignedRequestInput, at: str) -> SignedRequest:
    """The described request as its client signed it."""
    if _METHOD.fullmatch(asked.method) is None:
        raise invalid(f"{at}.method", "is no HTTP method", "send it in upper case, such as GET")
    match = _URL.fullmatch(asked.url) if len(asked.url) <= URL_CHARS_MAX else None
    if match is None:
        fix = "send it as the client did, percent-encoded: https://api.example.com/v1/x?y=z"
        raise invalid(f"{at}.url", f"is no absolute http(s) URL of up to {URL_CHARS_MAX} characters", fix)
    if len(asked.headers) > HEADERS_MAX or sum(len(name) + len(value) for name, value in asked.headers) > HEADERS_CHARS_MAX:
        message = f"holds more than {HEADERS_MAX} headers or {HEADERS_CHARS_MAX} characters"
        raise invalid(f"{at}.headers", message, "send Signature-Input, Signature and the headers that it covers")
    digest = hashlib.sha256().digest()
    if asked.body_sha256 is not None:
        digest = _digest(asked.body_sha256, f"{at}.body_sha256")
    scheme, authority, path, query = match.groups()
    return SignedRequest(
        method=asked.method,
        scheme=scheme,
        authority=authority,
        path=path or "/",
        query=query or "",
        fields=tuple((name.lower(), value) for name, value in asked.headers),
        has_body=asked.body_sha256 is not None,
        digests=(("sha-256", digest),),
    )


def _digest(text: str, at: str) -> bytes:
    try:
        digest = base64.b64decode(text, validate=True)
    except ValueError:
        digest = b""
    if len(digest) != hashlib.sha256().digest_size:
        raise invalid(at, "is no SHA-256 digest", "send 32 bytes as base64, or null when there is no body")
    return digest


def _limits(asked: tuple[RateLimitInput, ...], at: str) -> tuple[RateLimitOverride, ...]:
    """A wrong limit is an error and not a limit that is not there: whoever sends one relies on it."""
    if len(asked) > LIMITS_MAX:
        raise invalid(f"{at}.limits", f"holds more than {LIMITS_MAX} limits", "send fewer")
    if len({one.name for one in asked}) != len(asked):
        raise invalid(f"{at}.limits", "names a limit twice", "send each name once")
    for index, one in enumerate(asked):
        here = f"{at}.limits[{index}]"
        if _LIMIT_NAME.fullmatch(one.name) is None:
            raise invalid(f"{here}.name", "is no name of a limit", "use 1 to 64 of a-z 0-9 _ . - and begin with a letter")
        if not 0 <= one.cost <= COST_MAX:
            raise invalid(f"{here}.cost", f"must be 0 to {COST_MAX}", "leave it out for 1, send 0 to look only")
        if (one.quota is None) != (one.window_s is None) or (one.burst is not None and one.quota is None):
            raise invalid(here, "needs both quota and window_s, or neither", "name a limit of the key alone, with its cost")
        if one.quota is not None and not 1 <= one.quota <= QUOTA_MAX:
            raise invalid(f"{here}.quota", f"must be 1 to {QUOTA_MAX}", "send how many units pass in a window")
        if one.window_s is not None and not 1 <= one.window_s <= WINDOW_S_MAX:
            raise invalid(f"{here}.window_s", f"must be 1 to {WINDOW_S_MAX} seconds", "send a window of up to 31 days")
        if one.burst is not None and not 1 <= one.burst <= (one.quota or 0):
            raise invalid(f"{here}.burst", "must be 1 to quota", "leave it out to let all of the quota come at once")
    return tuple(
        RateLimitOverride(name=one.name, cost=one.cost, quota=one.quota, window_s=one.window_s, burst=one.burst) for one in asked
    )


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return len(text) <= ADDRESS_CHARS_MAX


def answer(verdict: VerificationResult, request_id: str) -> VerifyReply:
    """`verdict` as the public may see it (core/decide.for_public)."""
    record = verdict.record
    return VerifyReply(
        valid=verdict.valid,
        code=verdict.code.value,
        reason=verdict.reason or None,
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
        credits=None
        if verdict.credits is None
        else CreditsReply(
            remaining=verdict.credits.remaining,
            exceeded=verdict.credits.exceeded,
            refills_at=None if verdict.credits.refills_at is None else rfc3339(verdict.credits.refills_at),
        ),
        staleness_ms=verdict.staleness_ms,
        decided_at=rfc3339(verdict.decided_at),
        request_id=request_id,
    )


def limit_headers(states: Sequence[RateLimitState]) -> list[tuple[bytes, bytes]]:
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
