"""Authenticates requests with API keys, and creates the HTTP responses for verification results."""

from __future__ import annotations

from gatehouse.core.decision import for_public
from gatehouse.core.errors import (
    BadRequest,
    Forbidden,
    GatehouseError,
    Problem,
    RateLimited,
    Unauthorized,
    Unavailable,
    UsageExceeded,
)
from gatehouse.core.http_signatures import SignatureError
from gatehouse.core.keys import KeyRecord
from gatehouse.core.verification import (
    Code,
    RateLimitState,
    VerificationRequest,
    VerificationResult,
)
from gatehouse.features.verification.schemas import limit_headers
from gatehouse.platform.http.asgi import APIKEY_CHALLENGE, BEARER_CHALLENGE, Header
from gatehouse.services.gateway.asgi import Refused, RequestContext

_DENIALS: dict[Code, tuple[type[GatehouseError], str]] = {
    Code.NOT_FOUND: (Unauthorized, "The API key is unknown"),
    Code.DISABLED: (Unauthorized, "The API key is disabled"),
    Code.EXPIRED: (Unauthorized, "The API key has expired"),
    Code.FORBIDDEN: (Forbidden, "The API key does not permit this request"),
    Code.INSUFFICIENT_PERMISSIONS: (Forbidden, "The API key lacks a required scope"),
    Code.SIGNATURE_INVALID: (
        Unauthorized,
        "The API key requires signed requests, and the signature is missing or invalid",
    ),
    Code.RATE_LIMITED: (RateLimited, "A rate limit of the API key is exceeded"),
    Code.USAGE_EXCEEDED: (UsageExceeded, "The credits of the API key are used up"),
    Code.UNAVAILABLE: (Unavailable, "The verification of API keys is temporarily unavailable"),
}

#: RFC 9421, section 5.1: the components and parameters that a client must sign.
ACCEPT_SIGNATURE: Header = (
    b"accept-signature",
    b'gatehouse=("@method" "@target-uri" "content-digest");created;nonce;keyid;tag="gatehouse"',
)

_FIX = "send the API key once: as `Authorization: Bearer <key>` or as `X-API-Key: <key>`"


def presented_token(context: RequestContext) -> str | None:
    """The token in a request, or None. Raises BadRequest if there is more than one. Clients that
    are generated from the OpenAPI document can send the same token in both headers.

    The query string and cookies are ignored, because both end up in logs and browser histories.
    """
    authorization = context.values(b"authorization")
    header = context.values(b"x-api-key")
    if len(authorization) > 1 or len(header) > 1:
        raise _ambiguous("is sent twice")
    bearer = None
    if authorization:
        scheme, _, value = authorization[0].partition(" ")
        if scheme.lower() == "bearer":
            bearer = value.strip()
    if bearer is not None and header and bearer != header[0].strip():
        raise _ambiguous("is sent in two headers with different values")
    return bearer or (header[0].strip() if header else None) or None


async def authenticate(
    context: RequestContext,
    token: str | None,
    request: VerificationRequest,
    core: str | None = None,
) -> tuple[KeyRecord, tuple[RateLimitState, ...]]:
    """The key that a request presents and the state of the key's rate limits.

    core: name under which the request is counted. Raises Unauthorized if there is no token, and
    Refused if the request is denied.
    """
    if token is None:
        raise Unauthorized("An API key is required: " + _FIX)
    return admit(context, await context.dependencies.verification.verify(token, request), core)


def admit(
    context: RequestContext, result: VerificationResult, core: str | None
) -> tuple[KeyRecord, tuple[RateLimitState, ...]]:
    """Records the result of a verification. Returns the same as `authenticate`. Raises Refused."""
    context.verified(result, core)
    error = denial(result)
    if error is None and result.record is not None:
        return result.record, result.limits
    raise _refused(result, error or Unauthorized())


def denial(result: VerificationResult) -> GatehouseError | None:
    """The error for a result, or None if the result is VALID. Contains only public information."""
    code = for_public(result).code
    if code is Code.VALID:
        return None
    error, text = _DENIALS[code]
    if result.reason:
        invalid = SignatureError(result.reason)
        return error(
            f"{text}: {result.reason}",
            errors=(Problem("header.signature", invalid.message, invalid.fix),),
        )
    return error(text)


def _refused(result: VerificationResult, error: GatehouseError) -> Refused:
    """A problem document with a challenge for status 401 and rate-limit headers for status 429."""
    public = for_public(result)
    headers = limit_headers(public.limits)
    if error.status == Unauthorized.status:
        headers += challenge(invalid=True)
    if public.code is Code.SIGNATURE_INVALID:
        headers.append(ACCEPT_SIGNATURE)
    return Refused(error, code=public.code.value, headers=headers)


def challenge(*, invalid: bool) -> list[Header]:
    """WWW-Authenticate headers (RFC 6750, section 3). The headers contain no error code if the
    request had no credential.
    """
    error = ', error="invalid_token"' if invalid else ""
    return [
        (b"www-authenticate", (BEARER_CHALLENGE + error).encode()),
        (b"www-authenticate", APIKEY_CHALLENGE.encode()),
    ]


def _ambiguous(message: str) -> BadRequest:
    return BadRequest(
        f"The API key {message}.",
        errors=(Problem(location="headers.authorization", message=message, fix=_FIX),),
    )
