"""No text of the Python client contains a credential or the content of a secret.

Every parameter of every public method, of both forms of every client, receives a canary, and every
request fails in every way. New methods and parameters are found by introspection.
"""

import asyncio
import inspect
import json
import logging
import pickle
import socket
import socketserver
import traceback
import typing
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import gatehouse_client
import httpx
import pytest
from gatehouse.services.console.routes import ENDPOINTS
from gatehouse_client import BadRequest, Retries, models, transport
from gatehouse_client.response import SECRET_FIELDS, Response
from gatehouse_client.signing import SignedAuth, sign

from tests.certificates import server_context
from tests.http_servers import running

CANARY = "gtk_admin_0canary0canary0canary0canary"
ONCE = Retries(attempts=1)
#: Text that no header, no JSON or no URL can contain.
MALFORMED = {
    "line": f"{CANARY}\nx",
    "space": f"a {CANARY}",
    "umlaut": f"ü{CANARY}",
    "surrogate": f"\udc80{CANARY}",
    "nul": f"\0{CANARY}",
}
#: Parameters of methods and fields of requests that contain no secret. A server may repeat them.
PUBLIC = frozenset(
    (
        *("response", "method", "path", "query", "version", "core", "cost", "address", "scopes"),
        "limit",
        *("id", "plan", "description"),
        *("reason", "key_id", "secret_id", "name", "customer_id", "cores", "methods", "addresses"),
        *(
            "public_key",
            "tags",
            "metadata",
            "notes",
            "contact",
            "environment",
            "every",
            "media_type",
        ),
        *("expires_at", "ttl_s", "credits", "delivery", "uses", "recipients", "sender", "label"),
        *("headers", "body_sha256"),
    )
)


NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class Hostile(socketserver.StreamRequestHandler):
    """Reads a request and responds with what it contains."""

    def handle(self) -> None:
        with suppress(OSError):
            self.connection.settimeout(5)
            if self.rfile.peek()[:1] == b"\x16":  # type: ignore[attr-defined]  # a TLS handshake
                self.wfile.write(b"HTTP/1.1 400 x\r\n\r\n")
                return
            head, size = b"", 0
            while (line := self.rfile.readline()) not in (b"\r\n", b""):
                head += line
                if line.lower().startswith(b"content-length:"):
                    size = int(line.split(b":")[1])
            body = self.rfile.read(size)
            self.wfile.write(self.respond(head + body, body))

    def respond(self, request: bytes, body: bytes) -> bytes:
        raise NotImplementedError


def texts(request: bytes, body: bytes) -> str:
    """The request as it was sent, and the strings in it."""
    with suppress(ValueError):
        body = json.dumps(json.loads(body), ensure_ascii=False).encode()
    return (request + body).decode("utf-8", "replace")


def http(status: str, content: bytes, *headers: str) -> bytes:
    lines = (f"HTTP/1.1 {status}", f"content-length: {len(content)}", "connection: close", *headers)
    return "\r\n".join(lines).encode("utf-8", "replace") + b"\r\n\r\n" + content


def problem(request: bytes, body: bytes) -> bytes:
    text = texts(request, body)
    error = {"location": text, "message": text, "fix": text}
    document = {"code": text, "detail": text, "request_id": text, "errors": [error]}
    return http("500 x", json.dumps(document).encode())


def one_line(request: bytes) -> str:
    return request.decode("utf-8", "replace").replace("\r\n", " ")


ANSWERS = {
    "problem": problem,
    "problem 400": lambda request, body: problem(request, body).replace(b"500", b"400", 1),
    "problem 401": lambda request, body: problem(request, body).replace(b"500", b"401", 1),
    "redirect": lambda request, body: http(
        "302 x", b"", f"location: http://127.0.0.1:1/{one_line(request)}"
    ),
    "html": lambda request, body: http("200 OK", b"<html>" + request),
    "status line": lambda request, body: request,
    "reason": lambda request, body: http(f"407 {one_line(request)}", b""),
    "header": lambda request, body: http("200 OK", b"", f"{one_line(request)}"),
    "enumeration": lambda request, body: http(
        "200 OK", json.dumps({"id": [texts(request, body)], "key": texts(request, body)}).encode()
    ),
    "truncated": lambda request, body: http("200 OK", request)[:-3],
    "compressed": lambda request, body: http("200 OK", request, "content-encoding: gzip"),
}


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The URL of a service for every way to fail."""
    with ExitStack() as stack:
        found = {}
        for name, answer in ANSWERS.items():
            handler = type("Handler", (Hostile,), {"respond": staticmethod(answer)})
            found[name] = stack.enter_context(running(Server(("127.0.0.1", 0), handler)))
        silent, closed = socket.create_server(("127.0.0.1", 0)), socket.socket()
        stack.enter_context(silent)
        stack.enter_context(closed)
        closed.bind(("127.0.0.1", 0))
        secured = Server(("127.0.0.1", 0), type("Handler", (Hostile,), {"respond": problem}))
        context = server_context(tmp_path_factory.mktemp("tls"), "other.test")
        secured.socket = context.wrap_socket(secured.socket, server_side=True)
        found["certificate"] = stack.enter_context(running(secured)).replace("http:", "https:")
        found["no TLS"] = found["html"].replace("http:", "https:")
        found["silent"] = f"http://127.0.0.1:{silent.getsockname()[1]}"
        found["refused"] = f"http://127.0.0.1:{closed.getsockname()[1]}"
        yield found


#: The clients, and what a client needs.
CLIENTS = [
    kind
    for kind in map(gatehouse_client.__dict__.get, gatehouse_client.__all__)
    if isinstance(kind, type) and issubclass(kind, transport.Base)
]


@dataclass(frozen=True)
class Case:
    """A canary in one parameter of a method. place: the name of the field or of the parameter."""

    kind: type
    method: str
    place: str
    arguments: dict[str, Any]

    @property
    def is_secret(self) -> bool:
        return self.place not in PUBLIC

    @property
    def id(self) -> str:
        return f"{self.kind.__name__}.{self.method}({self.place})"


def methods(kind: type) -> list[str]:
    members = inspect.getmembers(kind, inspect.isfunction)
    return [
        name for name, _ in members if not name.startswith("_") and name not in ("close", "aclose")
    ]


def valid(annotation: Any) -> Any:
    """A value of a type."""
    options = [each for each in typing.get_args(annotation) if each is not type(None)]
    if typing.is_typeddict(annotation):
        hints = typing.get_type_hints(annotation)
        return {name: valid(hints[name]) for name in annotation.__required_keys__}
    match typing.get_origin(annotation) or annotation:
        case origin if origin in (typing.NotRequired, typing.Union) or "Union" in str(origin):
            return valid(options[0])
        case typing.Literal:
            return options[0]
        case origin if origin in (list, Iterable):
            return []
        case origin if origin is dict:
            return {}
        case origin if origin is type:
            return models.KeyView
        case origin if origin is int:
            return 1
    return "a"


def placed(name: str, annotation: Any, text: str) -> Iterator[tuple[str, Any]]:
    """The value of a parameter with text in one of its places, and the name of that place."""
    options = [each for each in typing.get_args(annotation) if each is not type(None)]
    origin = typing.get_origin(annotation) or annotation
    if typing.is_typeddict(annotation):
        for field, kind in typing.get_type_hints(annotation).items():
            for place, value in placed(field, kind, text):
                yield place, {**valid(annotation), field: value}
    elif origin is str:
        yield name, f"/v1/{text}" if name == "path" else text
    elif origin in (list, Iterable):
        for place, value in placed(name, options[0], text):
            yield place, [value]
    elif origin is dict and name == "request":  # any fields
        yield from ((field, {"inner": [{field: text}]}) for field in sorted(SECRET_FIELDS))
    elif origin is dict:
        yield name, {"a": text}
    elif options and origin not in (typing.Literal, type):
        for option in options:
            yield from placed(name, option, text)


def cases(text: str) -> Iterator[Case]:
    for kind in CLIENTS:
        for method in methods(kind):
            function = getattr(kind, method)
            hints = typing.get_type_hints(function)
            parameters = list(inspect.signature(function).parameters.values())[1:]
            named = {each.name: hints[each.name] for each in parameters if each.kind in NAMED}
            if names := {each.name for each in parameters} - named.keys():
                (shape,) = typing.get_args(hints[names.pop()])[:1] or (None,)
                is_typed = typing.is_typeddict(shape)
                named |= typing.get_type_hints(shape) if is_typed else {"query": str}
            required = {
                each.name: "POST" if each.name == "method" else valid(hints[each.name])
                for each in parameters
                if each.default is each.empty and each.kind in NAMED
            }
            for name, hint in named.items():
                for place, value in placed(name, hint, text):
                    yield Case(kind, method, place, {**required, name: value})


class Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Without the heads of responses: httpcore records them at the level debug, and httpx
        records the phrase of the status.
        """
        if record.name.startswith("httpcore") or "HTTP/1.1 407 " in record.getMessage():
            return
        self.texts.append(f"{record.getMessage()} {record.args!r}")


@contextmanager
def recorded() -> Iterator[Records]:
    handler, root = Records(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield handler
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def texts_of(error: BaseException) -> Iterator[str]:
    """Every text of an error, and of all errors that led to it, also those that are suppressed."""
    yield "".join(traceback.format_exception(error))
    chain: list[BaseException | None] = [error]
    while chain:
        each = chain.pop()
        if each is not None:
            yield f"{each} {each!r} {each.args!r} {vars(each)!r}"
            with suppress(TypeError):
                yield repr(pickle.dumps(each))
            chain += [each.__cause__, each.__context__]


def create(kind: type, url: str, token: str = "t", timeout_s: float = 5.0) -> Any:  # noqa: S107
    arguments = [token] if "token" in inspect.signature(kind).parameters else []
    return kind(url, *arguments, retries=ONCE, timeout_s=timeout_s)


def call(runner: asyncio.Runner, client: Any, case: Case) -> list[str]:
    """The texts of a call."""

    async def finish(value: Any) -> Any:
        return [item async for item in value] if inspect.isasyncgen(value) else await value

    with recorded() as records:
        found = []
        try:
            value = getattr(client, case.method)(**case.arguments)
            if inspect.isasyncgen(value) or inspect.isawaitable(value):
                value = runner.run(finish(value))
            elif inspect.isgenerator(value):
                value = list(value)
            found.append(repr(value))
        except Exception as exc:
            found += texts_of(exc)
        found.append(repr(client))
    if case.is_secret:  # httpx records URLs
        found += records.texts
    return found


@contextmanager
def calls(*arguments: Any) -> Iterator[Callable[[Case], list[str]]]:
    """Calls of clients that are created once with the arguments of `create`: each that verifies
    certificates reads them for 40 ms.
    """
    clients = {kind: create(kind, *arguments) for kind in CLIENTS}
    with asyncio.Runner() as runner:
        yield lambda case: call(runner, clients[case.kind], case)
        for client in clients.values():
            if hasattr(client, "aclose"):
                runner.run(client.aclose())
            else:
                client.close()


def repeated(case: Case, way: str) -> bool:
    """A server repeats a text that is not secret."""
    return not case.is_secret and way not in ("refused", "silent", "certificate", "no TLS")


def test_introspection_finds_the_methods_and_their_secrets() -> None:
    found = list(cases(CANARY))
    assert len({(case.kind, case.method) for case in found}) > 30
    for kind, place in (("Gateway", "token"), ("Console", "passphrase"), ("Sharing", "link")):
        both = {case.kind.__name__ for case in found if case.place == place and kind in case.id}
        assert both == {f"{kind}Client", f"Async{kind}Client"}


def test_secret_fields_are_those_of_the_services() -> None:
    declared = frozenset[str]().union(*(each.secret_fields for each in ENDPOINTS))
    assert {"text", "passphrase"} <= declared <= SECRET_FIELDS


@pytest.mark.parametrize("way", [*ANSWERS, "certificate", "no TLS", "silent", "refused"])
def test_no_text_contains_a_canary(urls: dict[str, str], way: str) -> None:
    tested = [case for case in cases(CANARY) if not repeated(case, way)]
    assert len(tested) > 20
    with calls(urls[way], "t", 0.05 if way == "silent" else 5.0) as texts:
        for case in tested:
            assert not [text for text in texts(case) if CANARY in text], case.id


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED)
def test_malformed_text_is_not_repeated(urls: dict[str, str], text: str) -> None:
    with calls(urls["problem"]) as texts:
        for case in cases(text):
            if case.is_secret or text == MALFORMED["surrogate"]:
                assert not [each for each in texts(case) if CANARY in each], case.id


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize(
    "url",
    [
        CANARY,
        f"http://user:{CANARY}@127.0.0.1",
        f"http://127.0.0.1/s/{'a' * 22}#{CANARY}",
        f"http://127.0.0.1?token={CANARY}",
        f"http://127.0.0.1:{CANARY}",
        f"http://[{CANARY}",
        f"http://\udc80{CANARY}",
        "",
        None,
    ],
)
def test_url_with_a_credential_is_refused_by_its_name(kind: type, url: str) -> None:
    with pytest.raises(BadRequest, match="The URL of the") as raised:
        create(kind, url)
    assert not [text for text in texts_of(raised.value) if CANARY in text]


CREDENTIALS = [
    (kind, token)
    for kind in CLIENTS
    if (parameter := inspect.signature(kind).parameters.get("token"))
    for token in (*MALFORMED.values(), "", " \n", None, CANARY.encode())
    if token != parameter.default
]


@pytest.mark.parametrize(("kind", "token"), CREDENTIALS)
def test_malformed_token_is_refused_by_its_name(kind: type, token: Any) -> None:
    with pytest.raises(BadRequest, match=r"The token ") as raised:
        create(kind, "http://127.0.0.1:1", token)
    assert not [text for text in texts_of(raised.value) if CANARY in text]


@pytest.mark.parametrize("around", ["{}\n", "{}\r\n", " {} ", "\ufeff{}\r\n", "{}\t\n\n"])
def test_white_space_of_a_file_is_removed(around: str) -> None:
    sent: list[httpx.Request] = []

    def respond(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(500)

    text, mock = around.format(CANARY), httpx.MockTransport(respond)
    console = gatehouse_client.ConsoleClient("http://a", text, retries=ONCE, transport=mock)
    gateway = gatehouse_client.GatewayClient("http://a", text, retries=ONCE, transport=mock)
    sharing = gatehouse_client.SharingClient("http://a", retries=ONCE, transport=mock)
    gateway.verify(text)
    for send in (lambda: console.key("a"), lambda: sharing.open(text, text, text)):
        with pytest.raises(gatehouse_client.Unavailable):
            send()
    verified, read, opened = sent
    assert json.loads(verified.content)["token"] == CANARY
    for request in (verified, read):
        assert request.headers["authorization"] == f"Bearer {CANARY}"
    expected = {"link": CANARY, "claim": CANARY, "passphrase": text}
    assert json.loads(opened.content) == expected


@pytest.mark.parametrize(
    "proxy",
    [
        f"http://user:{CANARY}@127.0.0.1:x",
        f"ftp://user:{CANARY}@127.0.0.1:1",
        f"http://u:{CANARY}\udc80@h",
    ],
)
@pytest.mark.parametrize("kind", CLIENTS)
def test_invalid_proxy_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, kind: type, proxy: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy)
    with pytest.raises(BadRequest, match="HTTP_PROXY") as raised:
        create(kind, "http://console.test")
    assert not [text for text in texts_of(raised.value) if CANARY in text]


@pytest.mark.parametrize("way", ["reason", "header", "status line", "problem", "refused", "silent"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_proxy_that_fails_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, urls: dict[str, str], way: str, scheme: str
) -> None:
    address = urls[way].removeprefix("http://")
    monkeypatch.setenv(f"{scheme}_proxy", f"http://user:{CANARY}@{address}")
    timeout_s = 0.05 if way == "silent" else 5.0
    with calls(f"{scheme}://console.test", CANARY, timeout_s) as texts:
        for case in cases(CANARY):
            if case.place == "token" or (case.method, case.place) == ("key", "key_id"):
                harmless = Case(case.kind, case.method, "", {**case.arguments, case.place: "a"})
                assert not [text for text in texts(harmless) if CANARY in text], case.id


def test_representation_of_a_response_has_no_secret() -> None:
    kinds = [each for each in vars(models).values() if isinstance(each, type)]
    responses = [each for each in kinds if issubclass(each, Response) and each is not Response]
    assert len(responses) > 10
    for kind in responses:
        fields = {name: CANARY for name in kind.__struct_fields__ if name in SECRET_FIELDS}
        others = {name: None for name in kind.__struct_fields__ if name not in fields}
        assert CANARY not in repr(kind(**fields, **others))


@pytest.mark.parametrize("name", ["token", "private_key", "url", "nonce", "method"])
@pytest.mark.parametrize("text", [CANARY, *MALFORMED.values()])
def test_signature_that_is_not_possible_repeats_nothing(name: str, text: str) -> None:
    arguments: dict[str, Any] = {"method": "GET", "url": "http://a", "token": "t", name: text}
    arguments.setdefault("private_key", "p")
    with pytest.raises(ValueError, match=r".") as raised:
        sign(**arguments)
    assert not [each for each in texts_of(raised.value) if CANARY in each]


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED)
def test_signed_request_with_a_malformed_token_repeats_nothing(text: str) -> None:
    auth = SignedAuth(text, text)
    mock = httpx.MockTransport(lambda _: httpx.Response(200))
    with httpx.Client(transport=mock) as client, pytest.raises(BadRequest) as raised:
        client.get("http://a", auth=auth)
    assert not [each for each in [*texts_of(raised.value), repr(auth)] if CANARY in each]
