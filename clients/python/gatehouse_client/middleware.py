"""What the middleware for ASGI and for WSGI has in common: reads the key of a request, decides once
per request, and creates the response to a denied request, a problem document (RFC 9457).
"""

import json
import logging
from collections.abc import Iterable, MutableMapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from gatehouse_client.errors import ApiError, BadRequest
from gatehouse_client.gateway import Verification, challenge, retry_after

#: The name of the decision in the scope (ASGI) or the environment (WSGI) of a request.
DECISION = "gatehouse"
#: The name of the `KeyRequest` of the decision.
DECIDED = "gatehouse.request"
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
#: What is wrong with a request, by the field that the gateway rejects.
_MALFORMED = {
    "body.token": "The API key is malformed.",
    "body.method": "The method is not supported.",
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


@dataclass(frozen=True)
class KeyRequest:
    """The request for which a key is verified. gateway: its URL. address: None if unknown."""

    gateway: str
    token: str = field(repr=False)
    address: str | None
    method: str

    def earlier(
        self, state: MutableMapping[str, Any], scopes: Iterable[str]
    ) -> Verification | None:
        """The decision of other middleware on this request, if it covers the scopes. state: the
        scope (ASGI) or the environment (WSGI).
        """
        decision: Verification | None = state.get(DECISION)
        if decision is None or decision.scopes is None or state.get(DECIDED) != self:
            return None
        return decision if set(decision.scopes).issuperset(scopes) else None

    def arguments(self, state: MutableMapping[str, Any]) -> dict[str, Any]:
        """For `verify`. A request that has been allowed is charged, and is not charged again."""
        cost = 0 if DECIDED in state else 1
        return {"address": self.address, "method": self.method, "cost": cost}

    def record(self, state: MutableMapping[str, Any], decision: Verification) -> Verification:
        """The decision, if it allows the request. Raises Denial."""
        if decision.error:
            _LOG.error("a key was not verified: %s", decision.error)
        allowed(decision)
        state.update({DECIDED: self, DECISION: decision})
        return decision


def checked(scopes: object) -> tuple[str, ...]:
    """The scopes of a guard. Raises TypeError, also for a function of the path: a router accepts
    other spellings of a path than the function would compare.
    """
    if isinstance(scopes, Iterable) and not isinstance(scopes, str):
        names = tuple(scopes)
        if all(isinstance(name, str) for name in names):
            return names
    raise TypeError(
        "scopes must be a list such as ['orders:read']; for scopes by path, guard each route: "
        "see docs/guides/protect-a-service.md"
    )


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
    """The response if the gateway made no decision: 400 if the token or the method is malformed.
    Any other error is one of the configuration, of which the client learns nothing. The error is
    logged.
    """
    _LOG.error("a key was not verified: %s", error)
    for problem in error.errors if isinstance(error, BadRequest) else ():
        if detail := _MALFORMED.get(problem.location):
            return Denial(400, error.code, detail, {}, error.request_id)
    return Denial(503, "UNAVAILABLE", _TEXTS["UNAVAILABLE"], retry_after(error))
