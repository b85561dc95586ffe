"""The request that handlers of endpoints receive."""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.requests import Request as HttpRequest
from starlette.responses import Response as HttpResponse

from gatehouse.core.actor import Actor, RequestId, Session
from gatehouse.core.roles import Role
from gatehouse.core.token import Pepper
from gatehouse.platform.http.fields import Cursors


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller.

    roles: current roles of the credential.
    log_id: identifier in request logs.
    proven_at: Unix seconds of the last authentication.
    owner: label under which the caller owns secrets. A key and its rotations have the same label.
    session: browser session of the request. None if the request contains the credential.
    """

    actor: Actor
    roles: frozenset[Role]
    log_id: str
    proven_at: float
    owner: str
    session: Session | None = None


@dataclass(slots=True)
class Request:
    """A request.

    source_address: address of the client, as reported by trusted proxies.
    now: Unix seconds of the arrival.
    cursor_key: session key, which signs page cursors. None for a service without lists.
    caller: None until the request is authenticated.
    content: the raw body after it has been read.
    response: collects the headers and cookies for the response.
    """

    http: HttpRequest
    source_address: str
    now: float
    cursor_key: Pepper | None
    caller: Caller | None = None
    content: bytes = b""
    response: HttpResponse = field(default_factory=HttpResponse)

    @property
    def authenticated(self) -> Caller:
        """The caller of an endpoint that requires a credential."""
        assert self.caller is not None  # noqa: S101 - the pipeline authenticates before it calls a handler
        return self.caller

    @property
    def actor(self) -> Actor:
        return self.authenticated.actor

    @property
    def request_id(self) -> RequestId:
        return RequestId(self.http.state.request_id)

    def cursors(self, scope: str) -> Cursors:
        """Return the page cursors of a list. `scope`: identifies the list and the filter."""
        assert self.cursor_key is not None  # noqa: S101 - every service with lists has a key
        return Cursors(self.cursor_key, scope)
