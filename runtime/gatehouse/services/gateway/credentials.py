"""Authenticates requests with API keys, and creates the HTTP responses for verification results."""

import base64
from dataclasses import dataclass, field

from gatehouse.core.cores import DEFAULT_SETTINGS, CoreSettings
from gatehouse.core.decision import for_public
from gatehouse.core.errors import (
    BadRequest,
    CrossSite,
    Forbidden,
    GatehouseError,
    Problem,
    RateLimited,
    Unauthorized,
    Unavailable,
    UsageExceeded,
)
from gatehouse.core.http.http_signatures import SignatureError
from gatehouse.core.keys import KeyRecord
from gatehouse.core.tokens.token_scanner import CORE_PREFIX
from gatehouse.core.verification import Code, VerificationRequest, VerificationResult
from gatehouse.features.verification.limit_headers import limit_headers, refill, result_headers
from gatehouse.platform.web.problems import BEARER_CHALLENGE
from gatehouse.platform.web.request import Refused
from gatehouse.platform.web.responses import Header
from gatehouse.services.gateway.request import GatewayRequest

#: Code of a decision -> error and title of its problem document.
DENIALS: dict[Code, tuple[type[GatehouseError], str]] = {
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
_ACCEPT_SIGNATURE: Header = (
    b"accept-signature",
    b'gatehouse=("@method" "@target-uri" "content-digest");created;nonce;keyid;tag="gatehouse"',
)

#: Methods with which a page of another site changes nothing (RFC 9110, section 9.2.1).
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Authenticated:
    """limit_headers: with the state of the rate limits of the key."""

    key: KeyRecord
    limit_headers: list[Header]
    token: str = field(repr=False)


async def authenticate(
    context: GatewayRequest, request: VerificationRequest, core: str | None = None
) -> Authenticated:
    """Verifies the key that a request presents.

    core: name under which the request is counted. Raises BadRequest, CrossSite, and Refused if the
    request is denied.
    """
    settings, token = context.settings, presented_token(context)
    result = None if token is None else await context.service.verification.verify(token, request)
    refused = _missing(settings) if result is None else _refused(result, settings)
    context.record_decision(result, request, core)
    if refused or not token or not result or not result.record:
        raise refused or Refused(Unauthorized())
    return Authenticated(result.record, limit_headers(result.limits), token)


def presented_token(context: GatewayRequest) -> str | None:
    """The token in a request, or None. Raises BadRequest if there is more than one, and CrossSite.
    Clients that are generated from the OpenAPI document can send the same token in both headers.

    The query string and cookies are ignored, because both end up in logs and browser histories.
    """
    settings = context.settings
    header = context.values(settings.key_header.lower().encode("ascii"))
    authorization = context.values(b"authorization")
    secrets = context.values(b"gatehouse-core-secret")
    if CORE_PREFIX in " ".join((*secrets, *authorization)):
        # Its address would be that of the gateway, which a key can allow.
        raise BadRequest("A gateway sent this request to a Core whose URL is that of a gateway.")
    if settings.forward_authorization:
        authorization = []
    # Envoy joins the values of a repeated header in a check only.
    if max(len(header), len(authorization)) > 1 or "," in "".join(header):
        raise _ambiguous(settings, "is sent twice")
    token, is_basic = None, False
    if authorization:
        scheme, _, value = authorization[0].partition(" ")
        is_basic = scheme.lower() == "basic" and settings.basic_auth
        if scheme.lower() in ("bearer", "basic") and "," in value:
            raise _ambiguous(settings, "is sent twice")
        if scheme.lower() == "bearer":
            token = value.strip()
        elif is_basic:
            token = _password(value)
    if token is not None and header and token != header[0].strip():
        raise _ambiguous(settings, "is sent in two headers with different values")
    if is_basic and not header:
        _check_site(context)
    return token or (header[0].strip() if header else None) or None


def _password(credentials: str) -> str:
    """The password of Basic authentication (RFC 7617), or the user name if the password is empty.
    Empty if the credentials are malformed. The user name can have any encoding.
    """
    try:
        user, _, password = base64.b64decode(credentials.strip(), validate=True).partition(b":")
    except ValueError:
        return ""
    return (password or user).decode(errors="replace")


def _check_site(context: GatewayRequest) -> None:
    """Raises CrossSite for a request of a browser that a page of another site caused and that can
    change data: a browser adds the password of Basic authentication to such requests too.

    A WebSocket handshake is such a request, because its method is always GET.
    """
    if context.method in _SAFE_METHODS and not context.values(b"upgrade"):
        return
    site, origin = context.values(b"sec-fetch-site"), context.values(b"origin")
    if origin and origin[0] in context.settings.cors_origins:
        return
    # `none`: the user caused the request, for example with a bookmark.
    if site:
        is_own = site in (["same-origin"], ["none"])
    else:
        is_own = not origin or origin[0].partition("://")[2] == "".join(context.values(b"host"))
    if not is_own:
        raise CrossSite(
            "A page of another origin caused this request, for which the browser added the API key "
            "as a password. Send the key as `Authorization: Bearer <key>`, or add the origin to "
            "`cors_origins` of the Core."
        )


def _denial(result: VerificationResult) -> GatehouseError:
    """The error for a result with public information."""
    error, text = DENIALS[result.code]
    if error is UsageExceeded:
        refills_at, seconds = refill(result)
        return UsageExceeded(text, refills_at=refills_at, retry_after_s=seconds)
    if result.reason:
        invalid = SignatureError(result.reason)
        return error(
            f"{text}: {result.reason}",
            errors=(Problem("header.signature", invalid.message, invalid.fix),),
        )
    return error(text)


def _missing(settings: CoreSettings) -> Refused:
    error = Unauthorized("An API key is required: " + _fix(settings))
    return Refused(error, headers=challenge(invalid=False, settings=settings))


def _refused(result: VerificationResult, settings: CoreSettings) -> Refused | None:
    """A problem document with a challenge for status 401 and the headers of the decision.
    None if the result is VALID.
    """
    public = for_public(result)
    if public.code is Code.VALID:
        return None
    error = _denial(public)
    headers = result_headers(public)
    if error.status == Unauthorized.status:
        headers += challenge(invalid=True, settings=settings)
    if public.code is Code.SIGNATURE_INVALID:
        headers.append(_ACCEPT_SIGNATURE)
    return Refused(error, code=public.code.value, headers=headers)


def challenge(*, invalid: bool, settings: CoreSettings = DEFAULT_SETTINGS) -> list[Header]:
    """WWW-Authenticate header, with one scheme, because clients choose the first that they know:
    those of container registries, for example, request a token from the realm of Bearer.

    Bearer contains no error code if the request had no credential (RFC 6750, section 3).
    """
    if settings.basic_auth:
        scheme = 'Basic realm="gatehouse", charset="UTF-8"'
    else:
        scheme = BEARER_CHALLENGE + (', error="invalid_token"' if invalid else "")
    return [(b"www-authenticate", scheme.encode())]


def _ambiguous(settings: CoreSettings, message: str) -> BadRequest:
    problem = Problem(location="headers.authorization", message=message, fix=_fix(settings))
    return BadRequest(f"The API key {message}.", errors=(problem,))


def _fix(settings: CoreSettings) -> str:
    places = [] if settings.forward_authorization else ["as `Authorization: Bearer <key>`"]
    if settings.basic_auth:
        places.append("as the password of Basic authentication")
    places.append(f"as `{settings.key_header}: <key>`")
    return f"send it once, {' or '.join(places)}"
