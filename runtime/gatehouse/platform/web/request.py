"""One request: what the client sent, the state of the response, and the fields of the log line."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from types import MappingProxyType
from urllib.parse import unquote

from starlette.requests import ClientDisconnect, cookie_parser
from starlette.types import Message, Receive, Scope, Send

from gatehouse.core.actor import Actor, RequestId, Session
from gatehouse.core.clock import Clock
from gatehouse.core.errors import BadRequest, GatehouseError, HeadersTooLarge
from gatehouse.core.http.addresses import ClientAddresses
from gatehouse.core.roles import Role
from gatehouse.core.tokens.token import Pepper
from gatehouse.platform.header_limits import BYTES_MAX, FIELDS_MAX, NOT_COUNTED
from gatehouse.platform.metrics import StreamUse
from gatehouse.platform.observability import Observer
from gatehouse.platform.proxy_headers import PEER
from gatehouse.platform.tracing.context import RequestTrace, TraceParent, parent_of
from gatehouse.platform.web import problems, request_ids, responses
from gatehouse.platform.web.fields import Cursors
from gatehouse.platform.web.validation import parameters

#: A complete response or one in parts.
Reply = responses.Response | responses.StreamedResponse

#: Status in the log line of a request whose client disconnected before the response.
CLIENT_GONE = 499

#: Number of bytes that are read of a body after its request was rejected, and the time in seconds
#: until the client sends more. Envoy closes the connection if the body was not read, and a client
#: that still sends might not read the response.
DISCARDED_BYTES_MAX = 256 * 1024 * 1024
DISCARD_PAUSE_S = 1.0

#: Length of the longest registered method. Longer methods are not logged, because they could
#: contain a secret. Source: IANA, "Hypertext Transfer Protocol (HTTP) Method Registry".
_METHOD_CHARS_MAX = len("UPDATEREDIRECTREF")


class Refused(Exception):
    """A request that is answered with an error.

    code: code of the response and of the log line instead of the code of the error. headers: they
        replace the default headers of the same name.
    """

    def __init__(
        self, error: GatehouseError, *, code: str = "", headers: Iterable[responses.Header] = ()
    ) -> None:
        super().__init__(error.code)
        self.error = error
        self.code = code
        self.headers = tuple(headers)


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller.

    roles: current roles of the credential.
    log_id: identifier in request logs.
    proven_at: Unix seconds of the last authentication.
    owner: label under which the caller owns secrets. A key and its rotations have the same label.
    session: browser session of the request. None if the request contains the credential.
    code: of a sign-in link, with which the request starts a session.
    creator: ID of a key. The request can read and change only what a key of its family has created.
        None: no such limitation.
    """

    actor: Actor
    roles: frozenset[Role]
    log_id: str
    proven_at: float
    owner: str
    session: Session | None = None
    code: str = field(default="", repr=False)
    creator: str | None = None


@dataclass(frozen=True, kw_only=True)
class Service:
    """What all requests of a service share.

    addresses: determines the client address behind trusted proxies.
    headers: headers of every response, unless the response has headers of the same name.
    cursor_key: session key, which signs page cursors. None for a service without lists.
    worker_digits: end of the IDs of requests.
    docs_url: see `problem_type`.
    """

    observer: Observer
    addresses: ClientAddresses
    clock: Clock
    docs_url: str
    headers: Sequence[responses.Header] = responses.NO_STORE
    cursor_key: Pepper | None = None
    worker_digits: str = ""

    def request(self, scope: Scope, receive: Receive, send: Send) -> "AsgiRequest":
        return AsgiRequest(self, scope, receive, send)

    def error_response(self, request: "Request", refused: Refused) -> responses.Response:
        error = refused.error
        required = responses.missing(problems.problem_headers(error), refused.headers)
        return request.response(
            error.status,
            problems.problem(
                *(error, request.request_id, request.trace.trace_id),
                docs_url=self.docs_url,
                code=refused.code,
            ),
            content_type=problems.PROBLEM_JSON,
            headers=[*required, *refused.headers],
        )


class Request(ABC):
    """A request of a service.

    raw_path: the percent-encoded path. query_string: as received, without the question mark.
    fields: names in lowercase and values of the headers, in order. first_values: the first value of
        each header, by name.
    peer: address of the connection to the proxy, or to Lambda.
    template: path template of the endpoint; empty until it is known.
    path_parameters: decoded parameters of the path, by name.
    status: 0 until the response has started.
    key_id, code, detail: fields of the log line.
    core_seconds: time for which a Core was responsible; None if the service itself produced the
        response.
    caller: None until the request is authenticated.
    content: the JSON body after it has been read.
    response_headers: headers of every response, also of an error.
    is_refused: the response is that to an error.
    """

    # Attributes of the class are the initial values, which saves most of the time of `__init__`.
    template = ""
    path_parameters: Mapping[str, str] = MappingProxyType({})
    status = 0
    key_id: str | None = None
    code: str | None = None
    detail = ""
    core_seconds: float | None = None
    stream_use: StreamUse | None = None
    caller: Caller | None = None
    content = b""
    response_headers: Sequence[responses.Header] = ()
    is_refused = False
    _added: tuple[responses.Header, ...] = ()
    _trace: RequestTrace | None = None
    _client: str | None = None

    def __init__(
        self,
        service: Service,
        method: str,
        raw_path: bytes,
        query_string: bytes,
        fields: Sequence[responses.Header],
        peer: str,
    ) -> None:
        self.service = service
        self.method = method
        self.raw_path = raw_path
        self.query_string = query_string
        self.fields = fields
        self.peer = peer
        self.request_id: RequestId = request_ids.request_id(service.worker_digits)
        self.first_values = dict(reversed(fields))

    @property
    def trace(self) -> RequestTrace:
        if self._trace is None:
            self._trace = self.service.observer.tracer.begin(self.request_id, self.trace_parent)
        return self._trace

    @property
    def trace_parent(self) -> TraceParent | None:
        """Trace context that the client or a load balancer sent."""
        return parent_of(self.values(b"traceparent"), self.values(b"x-amzn-trace-id"))

    @property
    def is_head(self) -> bool:
        return self.method == "HEAD"

    @property
    def query(self) -> list[tuple[str, str]]:
        """Decoded names and values of the query, in order. Raises BadRequest."""
        return parameters(self.query_string)

    @property
    def path(self) -> str:
        """The decoded path."""
        path = self.raw_path.decode("latin-1")
        return unquote(path) if "%" in path else path

    @property
    def client(self) -> str:
        """Address of the client, as reported by trusted proxies."""
        if self._client is None:
            forwarded = self.values(b"x-forwarded-for")
            self._client = self.service.addresses.client(self.peer, forwarded)
        return self._client

    @property
    def now(self) -> float:
        return self.service.clock.now()

    def values(self, name: bytes) -> list[str]:
        """All values of a header, in order. `name`: header name in lowercase."""
        value = self.first_values.get(name)
        if value is None:
            return []
        if len(self.first_values) == len(self.fields):
            return [value.decode("latin-1")]
        return [value.decode("latin-1") for field, value in self.fields if field == name]

    def has(self, name: bytes) -> bool:
        return name in self.first_values

    def header(self, name: bytes) -> str:
        """The first value of a header, or empty."""
        value: bytes = self.first_values.get(name, b"")
        return value.decode("latin-1")

    def cookie(self, name: str) -> str:
        """The last cookie of this name, or empty."""
        return cookie_parser("; ".join(self.values(b"cookie"))).get(name, "")

    def check_head(self) -> None:
        """Raises BadRequest and HeadersTooLarge for what Envoy accepts, some of it over HTTP/2."""
        if not (self.raw_path.isascii() and self.query_string.isascii()):
            raise BadRequest("The request target contains a non-ASCII byte; percent-encode it.")
        fields = self.fields
        if len(fields) <= FIELDS_MAX and sum(map(len, chain.from_iterable(fields))) <= BYTES_MAX:
            return
        fields = [field for field in fields if not field[0].startswith(NOT_COUNTED)]
        if len(fields) > FIELDS_MAX:
            raise HeadersTooLarge(f"The request has more than {FIELDS_MAX} header fields.")
        if sum(map(len, chain.from_iterable(fields))) > BYTES_MAX:
            raise HeadersTooLarge(f"The request headers are larger than {BYTES_MAX} bytes.")

    @abstractmethod
    async def read_body(self, bytes_max: int) -> bytes:
        """The body. Raises BodyTooLarge and ClientDisconnect."""

    @property
    def authenticated(self) -> Caller:
        """The caller of an endpoint that requires a credential."""
        assert self.caller is not None  # noqa: S101 - the pipeline authenticates before it calls a handler
        return self.caller

    @property
    def actor(self) -> Actor:
        return self.authenticated.actor

    def cursors(self, scope: str) -> Cursors:
        """Return the page cursors of a list. `scope`: identifies the list and the filter."""
        assert self.service.cursor_key is not None  # noqa: S101 - every service with lists has a key
        return Cursors(self.service.cursor_key, scope)

    def add_header(self, name: bytes, value: str) -> None:
        self._added = (*self._added, (name, value.encode("latin-1")))

    def set_cookie(
        self,
        name: str,
        value: str,
        *,
        max_age_s: int | None = None,
        secure: bool = True,
        same_site: str = "strict",
        path: str = "/",
    ) -> None:
        """Sets a cookie of this host that scripts cannot read. `max_age_s`: None for a cookie that
        ends with the browser session.
        """
        age = "" if max_age_s is None else f"; Max-Age={max_age_s}"
        end = "; Secure" if secure else ""
        self.add_header(
            b"set-cookie", f"{name}={value}; HttpOnly{age}; Path={path}; SameSite={same_site}{end}"
        )

    def response(
        self,
        status: int,
        body: bytes = b"",
        *,
        content_type: bytes = responses.JSON,
        headers: Iterable[responses.Header] = (),
    ) -> responses.Response:
        """A response with the headers of the service, the request ID, and the headers that the
        handler has added.
        """
        all_headers = responses.response_headers(
            body, content_type, self._own_headers(headers), self.service.headers
        )
        return responses.Response(status, all_headers, b"" if self.is_head else body)

    def streamed(
        self,
        parts: AsyncIterator[bytes],
        *,
        status: int = 200,
        headers: Iterable[responses.Header] = (),
    ) -> Reply:
        """Like `response`, with a body in parts."""
        own = self._own_headers(headers)
        all_headers = [*responses.missing(self.service.headers, own), *own]
        if self.is_head:
            return responses.Response(status, all_headers)
        return responses.StreamedResponse(status, all_headers, parts)

    def _own_headers(self, headers: Iterable[responses.Header]) -> list[responses.Header]:
        request_id = (b"x-request-id", self.request_id.encode())
        return [request_id, *headers, *self.response_headers, *self._added]

    def problem(self, refused: Refused) -> responses.Response:
        """The response to an error, which is also logged."""
        self.detail = self.detail or refused.error.detail
        self.code = self.code or refused.code or refused.error.code
        self._added = ()
        self.is_refused = True
        return self.service.error_response(self, refused)

    @property
    def route(self) -> str:
        """The path template in the log line and the metrics."""
        return self.template or "(none)"

    @property
    def logged_path(self) -> str:
        """The path in the log line. A path may contain a token, so this is the path template."""
        return self.route

    @property
    def logged_method(self) -> str:
        return self.method if len(self.method) <= _METHOD_CHARS_MAX else "other"

    def record(self, seconds: float) -> None:
        """Counts and logs the request after the response. seconds: duration."""
        self.service.observer.request(self, self.status or CLIENT_GONE, seconds)


class AsgiRequest(Request):
    """A request that an ASGI server has received."""

    _is_sent = False
    _is_received = False

    def __init__(self, service: Service, scope: Scope, receive: Receive, send: Send) -> None:
        head = scope["method"], scope["raw_path"], scope["query_string"], scope["headers"]
        client = scope.get("client")  # None for a Unix socket, to which only Envoy connects
        super().__init__(service, *head, "" if client is None else str(client[0]))
        if client is None:
            self.peer = self.header(PEER).partition(" ")[0]
        self.scope = scope
        self._next_message, self._send = receive, send

    async def _receive_part(self) -> Message:
        message = await self._next_message()
        self._is_received = not message.get("more_body")
        return message

    async def discard(self) -> None:
        """Reads the rest of the body, up to a limit."""
        if self._is_received or self.has(b"expect"):
            return
        size, more = 0, True
        with suppress(TimeoutError):
            while more and size < DISCARDED_BYTES_MAX:
                async with asyncio.timeout(DISCARD_PAUSE_S):
                    message = await self._receive_part()
                size += len(message.get("body", b""))
                more = bool(message.get("more_body"))

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """The body in parts. Raises ClientDisconnect."""
        while not self._is_received:
            message = await self._receive_part()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            if message.get("body"):
                yield message["body"]

    async def read_body(self, bytes_max: int) -> bytes:
        """The body. Raises BodyTooLarge and ClientDisconnect."""
        size, declared = 0, self.header(b"content-length")
        if declared.isdigit() and int(declared) > bytes_max:
            raise problems.too_large_error(bytes_max)
        parts = list[bytes]()
        async for part in self.stream():
            parts.append(part)
            size += len(part)
            if size > bytes_max:
                raise problems.too_large_error(bytes_max)
        return b"".join(parts)

    async def _send_part(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self._is_sent = not message.get("more_body")
        await self._send(message)

    async def send_response(self, response: Reply) -> None:
        if self.is_refused:
            await self.discard()
        await response(self.scope, self._next_message, self._send_part)
        if not self._is_sent:
            self.detail = "client disconnected"
