"""The ASGI application of a service: sends the response to a request or an error, logs the request,
and starts and stops the service.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match, Route, Router
from starlette.types import Receive, Scope, Send

from gatehouse.core.errors import GatehouseError, MethodNotAllowed, NotFound
from gatehouse.platform.observability import Observer
from gatehouse.platform.tracing.tracer import ActiveRequest
from gatehouse.platform.web import asgi
from gatehouse.platform.web.request import Refused, Reply, Request, Service

#: Returns the response, or None if it has been sent. The parameter is a request of the service.
Handler = Callable[[Any], Awaitable[Reply | None]]
#: Starts a service. The exit stack stops it.
Start = Callable[[AsyncExitStack], Awaitable[None]]

_REQUEST = "gatehouse.request"


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """ASGI application of a path and some of its methods."""

    template: str
    handler: Handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request: Request = scope[_REQUEST]
        request.template = self.template
        response = await self.handler(request)
        if response is not None:
            await request.send_response(response)


@dataclass(eq=False)
class Routes:
    """The handlers of a service, by path and method. A path without parameters comes first."""

    service: Service
    _routes: list[Route] = field(default_factory=list)

    def add(self, path: str, handler: Handler, *methods: str) -> None:
        """Adds a path, in the syntax of Starlette. By default, for GET and HEAD."""
        route = Route(path, _Endpoint(path.replace(":path}", "}"), handler))
        route.methods = {*(methods or ("GET", "HEAD"))}
        self._routes.append(route)

    @property
    def templates(self) -> set[str]:
        return {route.path for route in self._routes}

    def router(self) -> Callable[[Request], Awaitable[None]]:
        """Sends the response to a request. Raises HTTPException for an unknown path or method."""
        routes = sorted(self._routes, key=lambda route: route.path.count("{"))
        router = Router(routes, redirect_slashes=False)
        #: Saves the router, which takes a tenth of the time of a verification.
        exact = {
            (route.path, method): route.app
            for route in reversed(routes)
            for method in route.methods or ()
            if not route.param_convertors
        }

        async def respond(request: Request) -> None:
            request.check_head()
            request.scope.update({"app": self, _REQUEST: request})
            app = exact.get((request.scope["path"], request.method), router)
            await app(request.scope, request.receive, request.send)

        return respond


async def run(request: Request, respond: Callable[[Any], Awaitable[None]]) -> None:
    """Sends the response to a request or an error, and logs the request."""
    started = time.perf_counter()
    active = ActiveRequest(request.service.observer.tracer, request.trace)
    try:
        try:
            await respond(request)
        finally:
            active.ended = True
    except Refused as exc:
        await request.fail(exc)
    except ClientDisconnect:
        request.detail = "client disconnected"
    except HTTPException as exc:
        await _not_routed(request, exc)
    except GatehouseError as exc:
        if request.status:
            request.detail = f"response aborted: {exc.code} {exc.detail}"
            # the server closes the connection, so that the client detects the incomplete response
            raise
        await request.fail(Refused(exc))
    except Exception as exc:
        request.detail = f"{type(exc).__name__} at {asgi.origin_of(exc)}"
        if request.status:
            raise
        text = "Internal error. Include the request ID when you contact support."
        await request.fail(Refused(GatehouseError(text)))
    finally:
        request.record(time.perf_counter() - started)


async def _not_routed(request: Request, exc: HTTPException) -> None:
    """The response for an unknown path, to OPTIONS, and for a method that a path does not have."""
    if exc.headers is None:
        await request.fail(Refused(NotFound()))
        return
    request.template = request.scope["route"].path
    matching = [
        route.methods
        for route in request.scope["router"].routes
        if route.matches(request.scope)[0] is Match.PARTIAL
    ]
    allowed = ", ".join(sorted({"OPTIONS"}.union(*matching)))
    headers = [(b"allow", allowed.encode())]
    if request.method == "OPTIONS":
        await request.send_response(request.response(204, headers=headers))
    else:
        error = MethodNotAllowed(f"Allowed methods: {allowed}.")
        await request.fail(Refused(error, headers=headers))


class Application:
    """ASGI application of a service. A failed start is logged in one line and ends the process."""

    def __init__(
        self, observer: Observer, start: Start | None = None, routes: Routes | None = None
    ) -> None:
        self.observer, self._start, self.routes = observer, start, routes
        self._respond = None if routes is None else routes.router()
        self._lifespan = Router(lifespan=self.running)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        assert self.routes is not None  # noqa: S101 - a gateway worker has no ASGI server
        assert self._respond is not None  # noqa: S101
        await run(self.routes.service.request(scope, receive, send), self._respond)

    @asynccontextmanager
    async def running(self, _: object = None) -> AsyncIterator[None]:
        """The service from its start to its end. Logs an error in one line."""
        observer, event = self.observer, "not started"
        try:
            async with AsyncExitStack() as stack:
                if self._start is not None:
                    await self._start(stack)
                observer.log.info("started")
                event = "stopped with an error"
                yield
        except GatehouseError as exc:
            observer.log.error(event, reason=exc.public)
            raise
        observer.publish_requests()
        observer.log.info("stopped")
