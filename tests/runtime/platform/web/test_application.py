"""Routing, error responses and the log of an application."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import unquote

import pytest
from gatehouse.core.clock import Clock
from gatehouse.core.errors import BodyTooLarge, Unavailable
from gatehouse.core.http.addresses import ClientAddresses
from gatehouse.platform.observability import Observer, Stream
from gatehouse.platform.web import request as http_request
from gatehouse.platform.web.application import Application, Routes
from gatehouse.platform.web.request import AsgiRequest, Reply, Request, Service

from tests.runtime.console_client import LogRecorder

TEMPLATES = {
    "/": ("GET", "HEAD"),
    "/v1/sessions/{session}": ("DELETE", "GET", "HEAD"),
    "/v1/sessions/current": ("GET", "HEAD"),
    "/v1/keys/{id}": ("GET", "HEAD"),
    "/v1/keys/{id}/revoke": ("POST",),
    "/s/{link}/items/{item}": ("POST",),
    "/unavailable": ("GET",),
    "/defect": ("GET",),
    "/stream": ("GET", "HEAD"),
}


async def parts() -> AsyncIterator[bytes]:
    yield b"first"
    await asyncio.sleep(0)  # the disconnect is received
    yield b"second"


async def respond(request: Request) -> Reply:
    request.add_header(b"etag", '"1"')
    if request.template == "/unavailable":
        raise Unavailable("The database is unavailable.", detail="for the log")
    if request.template == "/defect":
        raise ValueError("gtk_test_canary")
    if request.template == "/stream":
        return request.streamed(parts())
    return request.response(200, str(dict(request.path_parameters)).encode())


class Client:
    def __init__(self) -> None:
        self.log = LogRecorder()
        observer = Observer("console", "info", "test", Stream(self.log))
        headers = [(b"cache-control", b"no-store"), (b"x-frame-options", b"DENY")]
        addresses = ClientAddresses(())
        self.routes = Routes(
            Service(
                observer=observer, addresses=addresses, clock=Clock(), docs_url="", headers=headers
            )
        )
        for template, methods in TEMPLATES.items():
            self.routes.add(template, respond, *methods)
        self.app = Application(observer, routes=self.routes)

    async def send(self, method: str, path: str, event: str = "") -> tuple[int, Any, bytes]:
        """Status, headers and body. event: what the application receives after the request."""
        scope = {
            "type": "http",
            "method": method,
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [],
            "client": ("192.0.2.7", 4711),
        }
        sent, events = list[Any](), ["http.request", *filter(None, [event])]

        async def receive() -> dict[str, Any]:
            if not events:
                await asyncio.Event().wait()
            return {"type": events.pop(0)}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        content = b"".join(message.get("body", b"") for message in sent[1:])
        return (sent[0]["status"], dict(sent[0]["headers"]), content) if sent else (0, {}, b"")


@pytest.mark.parametrize(
    ("method", "path", "template", "parameters"),
    [
        ("GET", "/", "/", {}),
        ("GET", "/v1/sessions/current", "/v1/sessions/current", {}),
        ("DELETE", "/v1/sessions/current", "/v1/sessions/{session}", {"session": "current"}),
        ("GET", "/v1/sessions/{session}", "/v1/sessions/{session}", {"session": "{session}"}),
        ("POST", "/v1/keys/a%20c/revoke", "/v1/keys/{id}/revoke", {"id": "a c"}),
        ("POST", "/s/a/items/7", "/s/{link}/items/{item}", {"link": "a", "item": "7"}),
    ],
)
async def test_route_is_found_by_path_and_method(
    method: str, path: str, template: str, parameters: dict[str, str]
) -> None:
    client = Client()
    status, headers, body = await client.send(method, path)
    assert (status, body, headers[b"etag"]) == (200, str(parameters).encode(), b'"1"')
    (line,) = client.log.entries
    assert (line["route"], line["path"], line["status"]) == (template, template, 200)


@pytest.mark.parametrize(
    "path", ["", "/v1", "/v1/keys/", "/v1/keys/a/", "/v1/keys/a/b/revoke", "/v1//a", "//", "/%761"]
)
async def test_unknown_path_is_not_found(path: str) -> None:
    client = Client()
    assert (await client.send("GET", path))[0] == 404
    assert client.log.entries[0]["route"] == "(none)"


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/sessions/current", b"DELETE, GET, HEAD, OPTIONS"),
        ("/v1/keys/a", b"GET, HEAD, OPTIONS"),
        ("/v1/keys/a/revoke", b"OPTIONS, POST"),
    ],
)
async def test_other_method_is_405_with_the_allowed_methods(path: str, allowed: bytes) -> None:
    client = Client()
    for method, expected in (("PUT", 405), ("OPTIONS", 204)):
        status, headers, _ = await client.send(method, path)
        assert (status, headers[b"allow"]) == (expected, allowed)
    assert "{" in client.log.entries[0]["route"] or "current" in path


async def test_head_has_the_length_and_no_body() -> None:
    get, head = [await Client().send(method, "/v1/keys/a") for method in ("GET", "HEAD")]
    assert (head[0], head[1][b"content-length"], head[2]) == (200, str(len(get[2])).encode(), b"")
    assert (await Client().send("HEAD", "/stream"))[2] == b""


@pytest.mark.parametrize(
    ("path", "status", "detail"),
    [("/unavailable", 503, "for the log"), ("/defect", 500, "ValueError at test_application.py")],
)
async def test_error_is_a_problem_document(path: str, status: int, detail: str) -> None:
    client = Client()
    sent, headers, body = await client.send("GET", path)
    assert (sent, headers[b"content-type"]) == (status, b"application/problem+json")
    assert headers[b"x-frame-options"] == b"DENY"
    assert b"etag" not in headers
    assert headers[b"x-request-id"] in body
    assert b"canary" not in body + client.log.getvalue()
    assert client.log.entries[-1]["detail"].startswith(detail)


class Body:
    """A request with a body of 10 bytes in each part."""

    def __init__(self, parts: int, *headers: tuple[bytes, bytes]) -> None:
        self.parts, self.received = parts, 0
        path = {"path": "/", "raw_path": b"/", "query_string": b""}
        scope = {"type": "http", "method": "POST", **path, "headers": list(headers)}
        send: Any = None
        service = Client().routes.service
        self.request = AsgiRequest(service, scope, self.receive, send)

    async def receive(self) -> dict[str, Any]:
        self.received += 1
        assert self.received < 100
        return {"type": "http.request", "body": bytes(10), "more_body": self.received < self.parts}


@pytest.mark.parametrize(("parts", "read"), [(2, 2), (99, 3)])
async def test_rest_of_a_body_is_read_up_to_a_limit(
    monkeypatch: pytest.MonkeyPatch, parts: int, read: int
) -> None:
    monkeypatch.setattr(http_request, "DISCARDED_BYTES_MAX", 25)
    body = Body(parts)
    await body.request.discard()
    assert body.received == read


@pytest.mark.parametrize(("length", "read"), [(b"26", 0), (b"25", 3), (b"", 3)])
async def test_large_body_is_rejected_before_it_is_read(length: bytes, read: int) -> None:
    body = Body(99, *([(b"content-length", length)] if length else []))
    with pytest.raises(BodyTooLarge):
        await body.request.read_body(25)
    assert body.received == read


async def test_body_of_the_largest_size_is_read() -> None:
    assert await Body(3, (b"content-length", b"30")).request.read_body(30) == bytes(30)
