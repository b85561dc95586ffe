"""What the middleware for ASGI and for WSGI has in common: reads the key of a request, and creates
the response to a denied request, a problem document (RFC 9457).
"""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from gatehouse_client.errors import ApiError, BadRequest
from gatehouse_client.gateway import Verification, challenge

#: The scopes that a request needs: the same for all, or by its method and path. None: the request
#: needs no key.
Scopes = Sequence[str] | Callable[[str, str], Sequence[str] | None]

#: The name of the decision in the scope (ASGI) or the environment (WSGI) of a request.
DECISION = "gatehouse"
_LOG = logging.getLogger("gatehouse_client")
_MISSING = (
    "An API key is required: send it once, as `Authorization: Bearer <key>` or as "
    "`X-API-Key: <key>`"
)
_TEXTS = {
    "NOT_FOUND": "The API key is unknown",
    "DISABLED": "The API key is disabled",
    "EXPIRED": "The API key has expired",
    "FORBIDDEN": "The API key does not permit this request",
    "INSUFFICIENT_PERMISSIONS": "The API key lacks a required scope",
    "SIGNATURE_INVALID": "The API key requires signed requests, and the signature is missing or "
    "invalid",
    "RATE_LIMITED": "A rate limit of the API key is exceeded",
    "USAGE_EXCEEDED": "The credits of the API key are used up",
    "UNAVAILABLE": "The verification of API keys is temporarily unavailable",
}
_TITLES = {
    400: "The request is malformed",
    401: "A valid credential is required",
    402: "The credits of the key are used up",
    403: "The credential does not allow this action",
    429: "A rate limit is exceeded",
    503: "A dependency is not available",
}


@dataclass(frozen=True)
class Denial(Exception):
    """A request without permission. `headers`: for the response."""

    status: int
    code: str
    detail: str
    headers: dict[str, str]
    request_id: str = ""

    @property
    def document(self) -> dict[str, object]:
        return {
            "type": f"urn:gatehouse:problem:{self.code.lower()}",
            "title": _TITLES.get(self.status, _TITLES[403]),
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "request_id": self.request_id,
        }

    @property
    def body(self) -> bytes:
        return json.dumps(self.document).encode()

    @property
    def all_headers(self) -> dict[str, str]:
        own = {"Content-Type": "application/problem+json", "Cache-Control": "no-store"}
        return {**own, "Content-Length": str(len(self.body)), **self.headers}


def required(scopes: Scopes, method: str, path: str) -> Sequence[str] | None:
    return scopes(method, path) if callable(scopes) else scopes


def presented_token(authorization: Sequence[str], api_key: Sequence[str]) -> str:
    """The token in the values of Authorization and X-API-Key. Raises Denial if there is none, or
    more than one.
    """
    values = [value.strip() for value in api_key]
    for value in authorization:
        scheme, _, credential = value.partition(" ")
        if scheme.lower() == "bearer":
            values.append(credential.strip())
    if not any(values):
        raise Denial(401, "unauthorized", _MISSING, {"WWW-Authenticate": challenge(invalid=False)})
    ambiguous = len(authorization) > 1 or len(api_key) > 1 or len(set(values)) > 1
    if ambiguous or "," in values[0]:
        raise Denial(400, "bad_request", "Send one API key, once.", {})
    return values[0]


def client_address(text: str) -> str | None:
    """An IP address without the zone, or None for the client of a Unix socket or of a test."""
    try:
        return str(ip_address(text.partition("%")[0]))
    except ValueError:
        return None


def allowed(verification: Verification) -> Verification:
    """The decision, if it allows the request. Raises Denial."""
    if verification.valid:
        return verification
    detail = _TEXTS.get(verification.code, _TEXTS["FORBIDDEN"])
    if verification.reason:
        detail = f"{detail}: {verification.reason}"
    code, headers = verification.code, verification.headers
    raise Denial(verification.status, code, detail, headers, verification.request_id)


def denial(error: ApiError) -> Denial:
    """The response if the gateway made no decision: 400 if the token is malformed. Any other error
    is one of the configuration, of which the client learns nothing. The error is logged.
    """
    _LOG.error("a key was not verified: %s", error)
    locations = {problem.location for problem in error.errors}
    if isinstance(error, BadRequest) and "body.token" in locations:
        return Denial(400, error.code, "The API key is malformed.", {}, error.request_id)
    return Denial(503, "UNAVAILABLE", _TEXTS["UNAVAILABLE"], {"Retry-After": "1"})
