"""The ASGI application of a service: finds the handler of a request, sends the response or an
error, logs the request, and starts and stops the service.
"""

import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from gatehouse.core.errors import GatehouseError, MethodNotAllowed, NotFound
from gatehouse.platform.http import asgi
from gatehouse.platform.http.request import Refused, Request, Service
from gatehouse.platform.observability import Observer
from gatehouse.platform.tracing.tracer import ActiveRequest

Reply = asgi.Response | asgi.StreamedResponse
#: Returns the response, or None if it has been sent. The parameter is a request of the service.
Handler = Callable[[Any], Awaitable[Reply | None]]


@dataclass(frozen=True, slots=True)
class Route:
    """The handler of a method of a path. `names`: names of the parameters, by their segments."""

    template: str
    handler: Handler
    names: tuple[tuple[int, str], ...] = ()


@dataclass(slots=True)
class _Segment:
    """Routes whose path ends with a segment, by method, and the segments that follow it. None: a
    parameter.
    """

    routes: dict[str, Route] = field(default_factory=dict)
    following: "dict[str | None, _Segment]" = field(default_factory=dict)


class Routes:
    """Finds a route by the path as it was received and the method, in a time that does not depend
    on the number of routes. Of several routes, one without parameters comes first.
    """

    def __init__(self, service: Service) -> None:
        self.service = service
        #: Path templates.
        self.templates: set[str] = set()
        self._exact: dict[bytes, dict[str, Route]] = {}
        self._prefixes: dict[bytes, Route] = {}
        self._root = _Segment()

    def add(self, template: str, handler: Handler, *methods: str) -> None:
        """Adds a path. By default, GET and HEAD."""
        self.templates.add(template)
        segment, texts = self._root, template.split("/")
        for text in texts:
            name = None if text.startswith("{") else text
            segment = segment.following.setdefault(name, _Segment())
        names = tuple((index, text[1:-1]) for index, text in enumerate(texts) if text[:1] == "{")
        for method in methods or ("GET", "HEAD"):
            route = Route(template, handler, names)
            segment.routes.setdefault(method, route)
        if not names:
            self._exact[template.encode()] = segment.routes

    def add_prefix(self, prefix: bytes, template: str, handler: Handler) -> None:
        """Adds all paths that begin with a prefix and have no other route, for every method."""
        self.templates.add(template)
        self._prefixes[prefix] = Route(template, handler)

    def find(self, request: Request) -> Route:
        """The route of a request, whose template it receives. Raises NotFound."""
        routes = self._exact.get(request.raw_path, {})
        route = routes.get(request.method) or self._find(request)
        request.template = route.template
        return route

    def _find(self, request: Request) -> Route:
        raw_path = request.raw_path
        for prefix, route in self._prefixes.items():
            if raw_path.startswith(prefix):
                return route
        texts, segments = raw_path.decode("latin-1").split("/"), [self._root]
        for text in texts:
            names = (text, None) if text else (text,)
            segments = [
                segment.following[name]
                for segment in segments
                for name in names
                if name in segment.following
            ]
            if not segments:
                raise NotFound
        routes = {
            method: route
            for segment in reversed(segments)
            for method, route in segment.routes.items()
        }
        if not routes:
            raise NotFound
        found = routes.get(request.method)
        if found is None:
            request.template = next(iter(routes.values())).template
            return Route(request.template, _other_method(", ".join(sorted({*routes, "OPTIONS"}))))
        request.path_parameters = {name: unquote(texts[index]) for index, name in found.names}
        return found


def _other_method(allowed: str) -> Handler:
    """The response to OPTIONS, and to a method that a path does not have."""

    async def respond(request: Request) -> asgi.Response:
        headers = [(b"allow", allowed.encode())]
        if request.method == "OPTIONS":
            return request.response(204, headers=headers)
        raise Refused(MethodNotAllowed(f"Allowed methods: {allowed}."), headers=headers)

    return respond


async def run(request: Request, routes: Routes) -> None:
    """Calls the handler of a request, sends the response or an error, and logs the request."""
    started = time.perf_counter()
    active = ActiveRequest(request.service.observer.tracer, request.trace)
    try:
        try:
            route = routes.find(request)
            response = await route.handler(request)
        finally:
            active.ended = True
        if response is not None:
            await request.send_response(response)
    except Refused as exc:
        await request.fail(exc)
    except asgi.ClientGone:
        request.detail = "client disconnected"
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


#: Starts a service. The exit stack stops it. Returns the routes, unless the application has them.
Start = Callable[[AsyncExitStack], Awaitable[Routes | None]]


@dataclass(eq=False)
class Application:
    """ASGI application of a service. A failed start is logged in one line and ends the process.

    routes: None if the routes are known when the service has started.
    """

    observer: Observer
    _start: Start | None = None
    routes: Routes | None = None

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            await self.begin(scope, receive, send)

    def begin(
        self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send
    ) -> Coroutine[Any, Any, None]:
        """Processes a request. The application must have started."""
        assert self.routes is not None  # noqa: S101 - otherwise the server does not accept requests
        return run(self.routes.service.request(scope, receive, send), self.routes)

    async def _lifespan(self, receive: asgi.Receive, send: asgi.Send) -> None:
        await receive()
        observer, started = self.observer, False
        try:
            async with AsyncExitStack() as stack:
                if self._start is not None:
                    self.routes = await self._start(stack) or self.routes
                started = True
                await send({"type": "lifespan.startup.complete"})
                observer.log.info("started")
                await receive()
        except GatehouseError as exc:
            event = "stopped with an error" if started else "not started"
            observer.log.error(event, reason=exc.public)
            if not started:
                await send({"type": "lifespan.startup.failed", "message": ""})
                return
        observer.publish_requests()
        observer.log.info("stopped")
        await send({"type": "lifespan.shutdown.complete"})
