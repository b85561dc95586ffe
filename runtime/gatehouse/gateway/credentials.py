"""Where a client's key is read from, and how a decision on it becomes an HTTP answer."""

from __future__ import annotations

from gatehouse.crypto.http_signatures import TEXTS, SignatureError
from gatehouse.errors import BadRequest, Forbidden, GatehouseError, Problem, RateLimited, Unauthorized, Unavailable, UsageExceeded
from gatehouse.gateway.request_context import RequestContext
from gatehouse.http.asgi import APIKEY_CHALLENGE, BEARER_CHALLENGE, Header
from gatehouse.verification.decision import for_public
from gatehouse.verification.models import Code, VerificationResult
from gatehouse.verification.schemas import limit_headers

_PUBLIC: dict[Code, tuple[type[GatehouseError], str]] = {
    Code.NOT_FOUND: (Unauthorized, "This key is not known"),
    Code.DISABLED: (Unauthorized, "This key is disabled"),
    Code.EXPIRED: (Unauthorized, "This key has expired"),
    Code.FORBIDDEN: (Forbidden, "This key may not be used here"),
    Code.INSUFFICIENT_PERMISSIONS: (Forbidden, "This key lacks a scope that is needed here"),
    Code.SIGNATURE_INVALID: (Unauthorized, "This key takes signed requests, and this one is not signed as it must be"),
    Code.RATE_LIMITED: (RateLimited, "A rate limit of this key is used up"),
    Code.USAGE_EXCEEDED: (UsageExceeded, "The credits of this key are used up"),
    Code.UNAVAILABLE: (Unavailable, "Keys cannot be checked at the moment"),
}


#: RFC 9421, section 5.1: what a client should sign.
ACCEPT_SIGNATURE: Header = (
    b"accept-signature",
    b'gatehouse=("@method" "@target-uri" "content-digest");created;nonce;keyid;tag="gatehouse"',
)


_FIX = "send the key once: as `Authorization: Bearer <key>` or as `X-API-Key: <key>`"


def presented_token(exchange: RequestContext) -> str | None:
    """The key of a request, or None. Raises BadRequest when there are several: which one counts would be a guess.

    Never read from the query string or a cookie: both end up in logs and histories.
    """
    authorization = exchange.values(b"authorization")
    header = exchange.values(b"x-api-key")
    if len(authorization) > 1 or len(header) > 1:
        raise _ambiguous("is sent twice")
    bearer = None
    if authorization:
        scheme, _, value = authorization[0].partition(" ")
        if scheme.lower() == "bearer":
            bearer = value.strip()
    if bearer is not None and header:
        raise _ambiguous("is sent in two headers")
    return bearer or (header[0].strip() if header else None) or None


def missing() -> Unauthorized:
    return Unauthorized("An API key is needed: " + _FIX)


def refusal(verdict: VerificationResult) -> GatehouseError | None:
    """The error for a decision that is not VALID, with nothing in it that the public may not know."""
    code = for_public(verdict).code
    if code is Code.VALID:
        return None
    kind, text = _PUBLIC[code]
    if verdict.reason:
        message, fix = TEXTS[SignatureError(verdict.reason)]
        return kind(f"{text}: {verdict.reason}", errors=(Problem("header.signature", message, fix),))
    return kind(text)


async def refuse(exchange: RequestContext, verdict: VerificationResult, error: GatehouseError) -> None:
    """Answers a refusal: problem document, challenge with 401, rate-limit headers with 429."""
    public = for_public(verdict)
    headers = limit_headers(public.limits)
    if error.status == Unauthorized.status:
        headers += challenge(invalid=True)
    if public.code is Code.SIGNATURE_INVALID:
        headers.append(ACCEPT_SIGNATURE)
    await exchange.fail(error, code=public.code.value, headers=headers)


def challenge(*, invalid: bool) -> list[Header]:
    """RFC 6750, section 3: no error code when the request carried no credential at all."""
    error = ', error="invalid_token"' if invalid else ""
    return [(b"www-authenticate", (BEARER_CHALLENGE + error).encode()), (b"www-authenticate", APIKEY_CHALLENGE.encode())]


def _ambiguous(message: str) -> BadRequest:
    return BadRequest(f"The API key {message}", errors=(Problem(location="headers.authorization", message=message, fix=_FIX),))
