"""What the middleware for ASGI and for WSGI has in common: reads the key of a request, decides once
per request, and creates the response to a denied request, a problem document (RFC 9457).
"""

import json
import logging
import re
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, TypedDict, Unpack

from gatehouse_client.errors import ApiError, BadRequest
from gatehouse_client.gateway import Verification, challenge, retry_after

#: The name of the decision in the scope (ASGI) or the environment (WSGI) of a request.
DECISION = "gatehouse"
#: The name of its `Decided`.
DECIDED = "gatehouse.request"
_LOG = logging.getLogger("gatehouse_client")
_HEADER_NAME = re.compile(r"[A-Za-z0-9-]+", re.ASCII)
_KEY_HEADERS = ("Authorization", "X-API-Key")
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
TITLES = {
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
            "title": TITLES.get(self.status, TITLES[403]),
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


class KeyOptions(TypedDict, total=False):
    """Options of a guard, besides scopes.

    core: Core that the key must be allowed to access.
    cost: credits that a request consumes, and the factor by which it counts against each limit.
        Default: 1. With 0, it counts nothing.
    key_header: the only header that is read, such as `X-Partner-Key`. Default: `Authorization`
        with the scheme Bearer, and `X-API-Key`.
    """

    core: str | None
    cost: int
    key_header: str | None


@dataclass(frozen=True, slots=True)
class Guard:
    """What a guard requires. For the fields, see `KeyOptions`."""

    scopes: tuple[str, ...]
    core: str | None = None
    cost: int = 1
    key_header: str | None = None


@dataclass(frozen=True)
class KeyRequest:
    """The request for which a key is verified. gateway: its URL. address: None if unknown."""

    gateway: str
    token: str = field(repr=False)
    address: str | None
    method: str

    def earlier(self, state: MutableMapping[str, Any], guard: Guard) -> Verification | None:
        """The decision of another guard on this request, if it covers this guard. state: the scope
        (ASGI) or the environment (WSGI).
        """
        decision: Verification | None = state.get(DECISION)
        decided: Decided | None = state.get(DECIDED)
        if decision is None or decision.scopes is None or decided is None:
            return None
        covers = (
            decided.request == self
            and guard.core in (None, decided.core)
            and guard.cost <= decided.charged
            and set(decision.scopes).issuperset(guard.scopes)
        )
        return decision if covers else None

    def arguments(self, state: MutableMapping[str, Any], guard: Guard) -> dict[str, Any]:
        """For `verify`. A request costs as much as the most expensive of its guards."""
        return {
            "scopes": guard.scopes,
            "core": guard.core,
            "cost": max(0, guard.cost - self._charged(state)),
            "address": self.address,
            "method": self.method,
        }

    def record(
        self, state: MutableMapping[str, Any], guard: Guard, decision: Verification
    ) -> Verification:
        """The decision, if it allows the request. Raises Denial."""
        if decision.error:
            _LOG.error("a key was not verified: %s", decision.error)
        allowed(decision)
        charged = max(guard.cost, self._charged(state))
        state.update({DECIDED: Decided(self, guard.core, charged), DECISION: decision})
        return decision

    def _charged(self, state: MutableMapping[str, Any]) -> int:
        """The cost of the guards that have allowed the request with this key."""
        decided: Decided | None = state.get(DECIDED)
        if decided is None or decided.request.token != self.token:
            return 0
        return decided.charged if decided.request.gateway == self.gateway else 0


@dataclass(frozen=True, slots=True)
class Decided:
    request: KeyRequest
    core: str | None
    charged: int


def guard(scopes: object, **options: Unpack[KeyOptions]) -> Guard:
    """Raises TypeError for malformed options, also for a function of the path: a router accepts
    other spellings of a path than the function would compare.
    """
    names = tuple(scopes) if isinstance(scopes, Iterable) else (scopes,)
    if isinstance(scopes, str) or not all(isinstance(name, str) for name in names):
        raise TypeError(
            "scopes must be a list such as ['orders:read']; for scopes by path, guard each route: "
            "see docs/guides/protect-a-service.md"
        )
    created = Guard(names, **options)
    if type(created.cost) is not int or created.cost < 0:
        raise TypeError("cost must be an integer that is not negative")
    core: object = created.core
    if core is not None and not (isinstance(core, str) and core):
        raise TypeError("core must be the name of a Core")
    header: object = created.key_header
    if header is not None and not (isinstance(header, str) and _HEADER_NAME.fullmatch(header)):
        raise TypeError("key_header must be the name of a header, such as X-Partner-Key")
    return created


def presented_token(values: Callable[[str], Sequence[str]], key_header: str | None) -> str:
    """The token in a request. values: of a header. Raises Denial if there is none, or more than
    one.
    """
    names = _KEY_HEADERS if key_header is None else (key_header,)
    bearer = [name for name in names if name.lower() == "authorization"]
    plain = [name for name in names if name not in bearer]
    authorization = [value for name in bearer for value in values(name)]
    api_key = [value for name in plain for value in values(name)]
    tokens = [value.strip() for value in api_key]
    for value in authorization:
        scheme, _, credential = value.partition(" ")
        if scheme.lower() == "bearer":
            tokens.append(credential.strip())
    if not any(tokens):
        places = [f"`{name}: Bearer <key>`" for name in bearer]
        places += [f"`{name}: <key>`" for name in plain]
        detail = f"An API key is required: send it once, as {' or as '.join(places)}"
        raise Denial(401, "unauthorized", detail, {"WWW-Authenticate": challenge(invalid=False)})
    ambiguous = len(authorization) > 1 or len(api_key) > 1 or len(set(tokens)) > 1
    if ambiguous or "," in tokens[0]:
        raise Denial(400, "bad_request", "Send one API key, once.", {})
    return tokens[0]


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
