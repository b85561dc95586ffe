"""Declaration of HTTP endpoints, from which routing, authorization, validation and the OpenAPI
documents are derived.
"""

import inspect
import re
from collections.abc import Callable, Mapping, Set
from dataclasses import KW_ONLY, dataclass, field
from enum import StrEnum
from typing import Any, get_type_hints

from gatehouse.core.roles import Role
from gatehouse.platform.web import responses

#: Security schemes of the management API. An endpoint that accepts a credential declares the roles
#: that may call it.
CREDENTIAL, SESSION, SIGN_IN_CODE = "admin", "session", "sign_in_code"

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class StepUp(StrEnum):
    """Rule that determines when a browser session requires a recent authentication (RFC 9470)."""

    NEVER = "never"
    ALWAYS = "always"
    # When the request concerns a key with the scope `admin` or a `role:` scope.
    MANAGING = "managing"


@dataclass(frozen=True, slots=True)
class Header:
    """A request header. `schema` is a JSON schema."""

    name: str
    description: str
    schema: Mapping[str, Any]
    example: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Response:
    """A response other than the success response. `type`: type of the body, or None if there is no
    body. `problem`: the body may also be a problem document."""

    description: str
    type: Any = None
    problem: bool = False


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One operation of an API.

    method, path: as in OpenAPI, with `{name}` for path parameters.
    handler: coroutine that handles requests. Fields that are not set are derived from the handler:
        summary and description from its docstring; query, body, response and services from its
        signature.
    tag: group in the API reference.
    roles: roles that can call the endpoint. Required if the endpoint accepts a
        credential.
    security: names of the accepted security schemes, as alternatives.
    step_up: step-up rule. Required unless the endpoint changes nothing.
    read_only: True if the operation changes nothing, although its method could.
    is_idempotent: True if a repeated request has the effect and the response of one request. The
        response is not stored for the Idempotency-Key, so the database is not required.
    feature: name of the feature to which the endpoint belongs; empty if the endpoint always exists.
    status: status of a successful response; 0 if a Core determines it.
    errors: error statuses in addition to the statuses that all endpoints can return.
    responses: further responses by status.
    content: media types and schemas of the success response, in addition to the JSON of `response`.
    body_content: media types and schemas of the request body, in addition to the JSON of `body`.
    response_description: description of the success response.
    headers: request headers in addition to the common headers.
    secret_fields: fields of the body, at any depth, that contain the content of a secret or a
        passphrase. These fields may contain API keys.
    body_extra_bytes: number of bytes by which the maximum size of the body exceeds the setting for
        all endpoints.
    services: types of the services that the handler takes, by parameter: all parameters except
        `request`, `query`, `body` and the parameters of the path.
    arguments: `query` and `body`, if the handler takes them.
    """

    method: str
    path: str
    handler: Callable[..., Any]
    _: KW_ONLY
    tag: str
    roles: frozenset[Role] = frozenset()
    security: tuple[str, ...] = (CREDENTIAL, SESSION)
    step_up: StepUp | None = None
    read_only: bool = False
    is_idempotent: bool = False
    feature: str = ""
    status: int = 200
    errors: tuple[int, ...] = ()
    responses: Mapping[int, Response] = field(default_factory=dict)
    content: Mapping[str, Any] = field(default_factory=dict)
    body_content: Mapping[str, Any] = field(default_factory=dict)
    response_description: str = ""
    headers: tuple[Header, ...] = ()
    secret_fields: frozenset[str] = frozenset()
    body_extra_bytes: int = 0
    operation_id: str = ""
    summary: str = ""
    description: str = ""
    query: Any = None
    body: Any = None
    response: Any = None
    services: Mapping[str, Any] = field(default_factory=dict)
    arguments: Set[str] = frozenset()

    def __post_init__(self) -> None:
        """Raises ValueError for a declaration without a required role or step-up rule."""
        if CREDENTIAL in self.security and not self.roles:
            raise ValueError(f"{self.method} {self.path} declares no roles")
        if self.step_up is None and self.changes_state and SESSION in self.security:
            raise ValueError(f"{self.method} {self.path} declares no step-up rule")
        self._read_handler()

    @property
    def changes_state(self) -> bool:
        """True for an operation that accepts an Idempotency-Key. PUT and DELETE too: without the
        header, a repeated request can receive another response, such as 404."""
        return self.method not in _SAFE and not self.read_only

    def _read_handler(self) -> None:
        handler = self.handler
        hints = get_type_hints(handler, include_extras=True)
        object.__setattr__(self, "arguments", hints.keys() & {"query", "body"})
        others = {"request", "query", "body", "return", *re.findall(r"{(\w+)}", self.path)}
        summary, _, rest = inspect.cleandoc(handler.__doc__ or "").partition("\n")
        read = {
            "operation_id": handler.__name__,
            "summary": summary.rstrip("."),
            "description": " ".join(rest.split()) or summary,
            "services": {name: kind for name, kind in hints.items() if name not in others},
            "query": hints.get("query"),
            "body": hints.get("body"),
            "response": None
            if self.content
            or not self.status
            or hints.get("return") in (type(None), responses.Response)
            else hints.get("return"),
        }
        for name, value in read.items():
            object.__setattr__(self, name, getattr(self, name) or value)


def resolve(endpoint: Endpoint, services: Mapping[Any, object]) -> dict[str, object]:
    """Return the services that the handler of an endpoint takes, by parameter. Raises LookupError
    if a service is missing.

    services: instances by type. A GatehouseError stands for a service that is not configured.
    """
    for kind in endpoint.services.values():
        if kind not in services:
            raise LookupError(
                f"{endpoint.method} {endpoint.path} takes {kind.__name__}, which is not a "
                f"service of this process"
            )
    return {name: services[kind] for name, kind in endpoint.services.items()}
