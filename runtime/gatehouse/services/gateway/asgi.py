"""The gateway as a raw ASGI application, with request dispatch, error handling and the request log.

The application uses raw ASGI, because a web framework would dominate the latency (measured: 1.6
times the throughput of Starlette and 3.5 times the throughput of FastAPI).
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from gatehouse.core.actor import RequestId
from gatehouse.core.addresses import ClientAddresses
from gatehouse.core.clock import Clock
from gatehouse.core.cores import DEFAULT_SETTINGS, CoreSettings
from gatehouse.core.errors import GatehouseError, MethodNotAllowed, NotFound, TooManyRequests
from gatehouse.core.token import Pepper
from gatehouse.core.token_scanner import has_token
from gatehouse.core.verification import Code, VerificationResult
from gatehouse.features.cores.load_balancer import LoadBalancer
from gatehouse.features.cores.repository import CoreRegistry
from gatehouse.features.cores.response_cache import ResponseCache
from gatehouse.features.cores.service import RegistrationService
from gatehouse.features.usage.service import UsageCounter
from gatehouse.features.verification.self_revocation import SelfRevocationService
from gatehouse.features.verification.service import VerificationService
from gatehouse.platform.http import asgi
from gatehouse.platform.http.exchange import SynchronousRoutes
from gatehouse.platform.http.health import Probes
from gatehouse.platform.observability import Observer, WebSocketUse
from gatehouse.platform.tracing.context import RequestTrace, TraceParent, parent_of
from gatehouse.platform.tracing.tracer import active_request
from gatehouse.services.gateway.websocket import WebSockets

_PATH_CHARS_LOGGED = 200


class KeyRequests(asgi.Uses):
    """Limits the number of requests to Cores that a key family has in progress in a worker, and
    thereby limits memory use.
    """

    def __init__(self, requests_max: int) -> None:
        super().__init__()
        self._requests_max = requests_max

    @contextmanager
    def hold(self, subject: str) -> Iterator[None]:
        """Counts a request until the context exits. Raises TooManyRequests."""
        self.acquire(subject)
        try:
            yield
        finally:
            self.remove(subject)

    def acquire(self, subject: str) -> None:
        """Counts a request until `remove` is called. Raises TooManyRequests."""
        if self.add(subject) > self._requests_max:
            self.remove(subject)
            raise TooManyRequests(
                f"The API key and its rotations have {self._requests_max} requests in progress."
            )


@dataclass(frozen=True, slots=True)
class Dependencies:
    """Dependencies of the gateway's endpoints.

    public_host: host of the gateway, with an optional port, as clients know it. Empty if it is not
        configured.
    key_requests: requests to Cores that are in progress, by key family.
    required_probes: the gateway is not ready if one of them fails.
    optional_probes: the gateway is `degraded` if one of them fails.
    refresh_gauges: called before metrics are read.
    response_cache: None disables caching.
    websockets: WebSockets that are open.
    features_off: names of disabled features.
    """

    verification: VerificationService
    self_revocation: SelfRevocationService
    registration: RegistrationService
    cores: CoreRegistry
    load_balancer: LoadBalancer
    pepper: Pepper
    clock: Clock
    public_host: str
    addresses: ClientAddresses
    usage: UsageCounter
    observer: Observer
    required_probes: Probes
    optional_probes: Probes
    refresh_gauges: Callable[[], None]
    body_max_bytes: int
    response_cache: ResponseCache | None
    key_requests: KeyRequests
    websockets: WebSockets
    features_off: frozenset[str]


def response_headers(
    body: bytes, request_id: str, headers: Iterable[asgi.Header], content_type: bytes = asgi.JSON
) -> list[asgi.Header]:
    """Headers of every response of the gateway, and `headers`."""
    return asgi.response_headers(
        body, content_type, [(b"x-request-id", request_id.encode()), *headers]
    )


def logged_path(raw_path: bytes, prefix: str) -> str:
    """Path for the log line. prefix: token prefix, which the tokens of all environments contain.
    Some clients put the token into the path by mistake."""
    path = raw_path.decode("latin-1")
    text = unquote(path) if "%" in path else path
    if f"{prefix}_" in text or has_token(text):
        return "(hidden: may contain an API key)"
    return path[:_PATH_CHARS_LOGGED]


class Refused(Exception):
    """A request that is answered with an error.

    code: code of the response and of the log line instead of the code of the error. headers: they
        replace the default headers of the same name.
    """

    def __init__(
        self, error: GatehouseError, *, code: str = "", headers: Iterable[asgi.Header] = ()
    ) -> None:
        super().__init__(error.code)
        self.error = error
        self.code = code
        self.headers = tuple(headers)


def openai_error(error: GatehouseError, code: str) -> bytes:
    """The error as in the OpenAI API, whose clients show only the message of such errors."""
    kind = "server_error" if error.status >= 500 else "invalid_request_error"
    fields = {"message": error.public, "type": kind, "param": None}
    return asgi.encode({"error": {**fields, "code": (code or error.code).lower()}})


async def _not_called(*_: object) -> Any:
    """`receive` and `send` of a request for which no application has been called."""
    raise AssertionError


@dataclass(slots=True)
class RequestContext:
    """A request, the state of the response and the fields of the log line.

    template: path template of the endpoint.
    settings: of the Core that is requested.
    receive, send: of the ASGI application.
    status: 0 until the response has started.
    verifications: (key ID, Core, code) of each verification that is not yet in the usage
        statistics.
    known_trace: trace context, once it has been determined.
    """

    dependencies: Dependencies
    scope: asgi.Scope
    template: str = ""
    settings: CoreSettings = DEFAULT_SETTINGS
    receive: asgi.Receive = _not_called
    send: asgi.Send = _not_called
    request_id: RequestId = field(default_factory=asgi.request_id)
    status: int = 0
    key_id: str | None = None
    code: str | None = None
    detail: str = ""
    verifications: list[tuple[str, str, str]] = field(default_factory=list)
    websocket: WebSocketUse | None = None
    known_trace: RequestTrace | None = None
    _values: dict[bytes, list[str]] | None = None

    @property
    def trace(self) -> RequestTrace:
        """Trace context of the request."""
        if self.known_trace is None:
            self.known_trace = self.dependencies.observer.tracer.begin(
                self.request_id, self.trace_parent
            )
        return self.known_trace

    @property
    def trace_parent(self) -> TraceParent | None:
        """Trace context that the client or a load balancer sent."""
        return parent_of(self.values(b"traceparent"), self.values(b"x-amzn-trace-id"))

    @property
    def fields(self) -> Sequence[asgi.Header]:
        fields: Sequence[asgi.Header] = self.scope["headers"]
        return fields

    @property
    def method(self) -> str:
        method: str = self.scope["method"]
        return method

    @property
    def is_head(self) -> bool:
        return self.method == "HEAD"

    @property
    def raw_path(self) -> bytes:
        raw_path: bytes = self.scope["raw_path"]
        return raw_path

    @property
    def peer(self) -> str:
        client = self.scope.get("client")
        return "" if client is None else str(client[0])

    def values(self, name: bytes) -> list[str]:
        """All values of a header, in order. `name`: header name in lowercase."""
        if self._values is None:
            self._values = {}
            for header, value in self.fields:
                self._values.setdefault(header, []).append(value.decode("latin-1"))
        return self._values.get(name, [])

    @property
    def client(self) -> str:
        """Client address, as reported by trusted proxies."""
        peer, addresses = self.peer, self.dependencies.addresses
        return (
            addresses.client(peer, self.values(b"x-forwarded-for"))
            if addresses.trusts(peer)
            else peer
        )

    async def json_body(self) -> bytes:
        """The JSON body. Raises UnsupportedMediaType, BodyTooLarge, and ClientGone if the client
        disconnected.
        """
        asgi.check_json(self.values(b"content-type"), lenient=True)
        return await asgi.read_body(self.scope, self.receive, self.dependencies.body_max_bytes)

    def verified(self, result: VerificationResult, core: str | None = None) -> None:
        """Records the result for the log line (with the ID of a revoked key), the metrics and the
        usage statistics.
        """
        self.code = result.code.value
        if result.record is not None and result.code is not Code.NOT_FOUND:
            self.key_id = result.record.id
        self.dependencies.observer.metrics.decision(result.code)
        key_id = "" if result.record is None else result.record.id
        self.verifications.append((key_id, core or "", result.code.value))

    def record(self, seconds: float) -> None:
        """Counts and logs the request after the response. seconds: duration."""
        self.record_usage()
        self.dependencies.observer.request(
            trace=self.trace,
            method=self.method,
            route=self.template or "(none)",
            path=logged_path(self.raw_path, self.dependencies.verification.finder.prefix),
            status=self.status,
            seconds=seconds,
            key_id=self.key_id,
            code=self.code,
            detail=self.detail,
            websocket=self.websocket,
        )

    def record_usage(self) -> None:
        """Adds the verifications to the usage statistics."""
        for verification in self.verifications:
            self.dependencies.usage.count(*verification)
        self.verifications = []

    def response(
        self,
        status: int,
        body: bytes = b"",
        *,
        content_type: bytes = asgi.JSON,
        headers: Iterable[asgi.Header] = (),
    ) -> asgi.Response:
        """A response with the request ID."""
        all_headers = response_headers(body, self.request_id, headers, content_type)
        return asgi.Response(status, all_headers, b"" if self.is_head else body)

    async def send_response(self, response: asgi.Response) -> None:
        self.status = response.status
        await asgi.send_response(self.send, response)

    async def fail(self, refused: Refused) -> None:
        """Sends a problem document."""
        error, code = refused.error, refused.code
        self.detail = self.detail or error.detail
        self.code = self.code or code or error.code
        names = {name for name, _ in refused.headers}
        defaults = [header for header in asgi.problem_headers(error) if header[0] not in names]
        headers = [*defaults, *refused.headers]
        if self.settings.error_format == "openai":
            body, content_type = openai_error(error, code), asgi.JSON
        else:
            body = asgi.problem(error, self.request_id, self.trace.trace_id, code=code)
            content_type = asgi.PROBLEM_JSON
        await self.send_response(
            self.response(error.status, body, content_type=content_type, headers=headers)
        )


#: Returns the response, or None if it has been sent.
Handler = Callable[[RequestContext], Awaitable[asgi.Response | None]]


@dataclass(slots=True)
class Route:
    """Handlers of a path by method, or one handler for any method. A GET handler also serves
    HEAD.
    """

    template: str
    methods: dict[str, Handler] = field(default_factory=dict)
    any_method: Handler | None = None

    def add(self, method: str, handler: Handler) -> None:
        self.methods[method] = handler
        if method == "GET":
            self.methods["HEAD"] = handler

    @property
    def allow(self) -> str:
        return ", ".join(sorted({*self.methods, "OPTIONS"}))


class GatewayApp:
    """ASGI application of the gateway.

    exact: raw path -> route.
    prefixes: raw path prefix -> route, tried in order.
    respond_now: requests to which the gateway can respond without waiting. The server tries them
        before the application.
    """

    def __init__(
        self,
        dependencies: Dependencies,
        exact: dict[bytes, Route],
        prefixes: dict[bytes, Route],
        respond_now: SynchronousRoutes,
    ) -> None:
        self._dependencies = dependencies
        self._exact = exact
        self._prefixes = tuple(prefixes.items())
        self.respond_now = respond_now

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        context = RequestContext(self._dependencies, scope, receive=receive, send=send)
        await run(context, time.perf_counter(), self._dispatch)

    async def _dispatch(self, context: RequestContext) -> asgi.Response | None:
        raw_path = context.raw_path
        route = self._exact.get(raw_path)
        if route is None:
            route = next(
                (route for prefix, route in self._prefixes if raw_path.startswith(prefix)), None
            )
        if route is None:
            raise NotFound
        context.template = route.template
        handler = route.any_method or route.methods.get(context.method)
        if handler is not None:
            return await handler(context)
        headers = [(b"allow", route.allow.encode())]
        if context.method == "OPTIONS":
            return context.response(204, headers=headers)
        raise Refused(MethodNotAllowed(f"Allowed methods: {route.allow}."), headers=headers)


async def run(context: RequestContext, started: float, handler: Handler) -> None:
    """Calls the handler of a request, sends the response or an error, and logs the request.
    started: value of `time.perf_counter()`.
    """
    try:
        with active_request(context.dependencies.observer.tracer, context.trace):
            response = await handler(context)
        if response is not None:
            await context.send_response(response)
    except Refused as exc:
        await context.fail(exc)
    except asgi.ClientGone:
        context.detail = "client disconnected"
        context.status = context.status or 499
    except GatehouseError as exc:
        if context.status:
            context.detail = f"response aborted: {exc.code} {exc.detail}"
            # the server closes the connection, so that the client detects the incomplete response
            raise
        await context.fail(Refused(exc))
    except Exception as exc:
        context.detail = f"{type(exc).__name__}"
        context.dependencies.observer.log.exception(
            "failure", request_id=context.request_id, where=asgi.origin_of(exc)
        )
        if context.status:
            raise
        error = GatehouseError("Internal error. Include the request ID when you contact support.")
        await context.fail(Refused(error))
    finally:
        context.record(time.perf_counter() - started)
