"""The application of a service: finds the handler of a request, responds to errors, logs the
request, and starts and stops the service.
"""

import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from starlette.requests import ClientDisconnect
from starlette.routing import Router, compile_path
from starlette.types import Receive, Scope, Send

from gatehouse.core.errors import GatehouseError, MethodNotAllowed, NotFound
from gatehouse.platform.observability import Observer, origin_of
from gatehouse.platform.tracing.tracer import ActiveRequest
from gatehouse.platform.web.request import AsgiRequest, Refused, Reply, Request, Service

#: Returns the response, or None if it has been sent. The parameter is a request of the service.
Handler = Callable[[Any], Awaitable[Reply | None]]
#: Starts a service. The exit stack stops it.
Start = Callable[[AsyncExitStack], Awaitable[None]]


class _Route(NamedTuple):
    """pattern: of a path with parameters, otherwise None."""

    template: str
    pattern: re.Pattern[str] | None
    handlers: Mapping[str, Handler]


@dataclass(eq=False)
class Routes:
    """The handlers of a service, by path and method. A path without parameters comes first."""

    service: Service
    _handlers: dict[str, dict[str, Handler]] = field(default_factory=dict)

    def add(self, path: str, handler: Handler, *methods: str) -> None:
        """Adds a path, in the syntax of Starlette. By default, for GET and HEAD."""
        handlers = self._handlers.setdefault(path, {})
        for method in methods or ("GET", "HEAD"):
            handlers.setdefault(method, handler)

    @property
    def templates(self) -> set[str]:
        return set(self._handlers)

    def router(self) -> Handler:
        """The handler of all requests. Raises NotFound for an unknown path, and Refused for a
        method that a path does not have.
        """
        exact, patterns = dict[str, _Route](), list[_Route]()
        for path, handlers in sorted(self._handlers.items(), key=lambda each: each[0].count("{")):
            pattern = compile_path(path)[0] if "{" in path else None
            route = _Route(path.replace(":path}", "}"), pattern, handlers)
            if pattern is None:
                exact[path] = route
            else:
                patterns.append(route)

        def respond(request: Request) -> Awaitable[Reply | None]:
            request.check_head()
            path = request.path
            route = exact.get(path)
            if route is not None and (handler := route.handlers.get(request.method)) is not None:
                request.template = route.template
                return handler(request)
            matching = [] if route is None else [route]
            for each in patterns:
                if each.pattern and (match := each.pattern.match(path)):
                    handler = each.handlers.get(request.method)
                    if handler is not None:
                        request.template = each.template
                        request.path_parameters = match.groupdict()
                        return handler(request)
                    matching.append(each)
            return _not_handled(request, matching)

        return respond


async def _not_handled(request: Request, routes: Sequence[_Route]) -> Reply:
    """The response to OPTIONS. routes: of the path. Raises NotFound for an unknown path, and
    Refused for a method that the path does not have.
    """
    if not routes:
        raise NotFound
    request.template = routes[0].template
    allowed = ", ".join(sorted({"OPTIONS"}.union(*(route.handlers for route in routes))))
    headers = [(b"allow", allowed.encode())]
    if request.method == "OPTIONS":
        return request.response(204, headers=headers)
    raise Refused(MethodNotAllowed(f"Allowed methods: {allowed}."), headers=headers)


async def respond(request: Request, handler: Handler) -> Reply | None:
    """The response to a request or to its error. None if there is nothing to send."""
    try:
        return await handler(request)
    except Refused as exc:
        return request.problem(exc)
    except ClientDisconnect:
        request.detail = "client disconnected"
        return None
    except GatehouseError as exc:
        if request.status:
            raise
        return request.problem(Refused(exc))
    except Exception as exc:
        if request.status:
            raise
        request.detail = _origin_of(exc)
        text = "Internal error. Include the request ID when you contact support."
        return request.problem(Refused(GatehouseError(text)))


async def run(request: AsgiRequest, handler: Handler) -> None:
    """Sends the response to a request or to its error, and logs the request."""
    started = time.perf_counter()
    active = ActiveRequest(request.service.observer.tracer, request)
    try:
        response = await respond(request, handler)
        if response is not None:
            await request.send_response(response)
    except GatehouseError as exc:
        # the server closes the connection, so that the client detects the incomplete response
        request.detail = f"response aborted: {exc.code} {exc.detail}"
        raise
    except Exception as exc:
        request.detail = _origin_of(exc)
        raise
    finally:
        active.ended = True
        request.record(time.perf_counter() - started)


def _origin_of(exc: Exception) -> str:
    return f"{type(exc).__name__} at {origin_of(exc)}"


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
        observer.publish_slow_requests()
        observer.log.info("stopped")
