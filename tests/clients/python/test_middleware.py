"""Services with the middleware of the Python client, at a running gateway."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

import django
import httpx
import pytest
import uvicorn
import websockets
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path
from fastapi import FastAPI, Security
from fastapi.responses import PlainTextResponse
from flask import Flask
from flask import request as flask_request
from gatehouse_client import AsyncGatewayClient, GatewayClient, Verification, asgi, wsgi
from gatehouse_client.fastapi import RequireKey
from gatehouse_client.middleware import DECISION
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from tests.runtime.services.gateway.conftest import Gateway, Key, limit

#: Sends a request to a service.
Send = Callable[..., Any]


def scopes_of(method: str, path: str) -> list[str] | None:
    """The health check needs no key."""
    return None if path == "/health" else [f"orders:{'read' if method == 'GET' else 'write'}"]


def starlette_app(url: str) -> Any:
    async def orders(request: Request) -> Response:
        decision: Verification | None = request.scope.get(DECISION)
        return Response(f"orders of {decision and decision.owner}")

    routes = [Route(name, orders, methods=["GET", "POST"]) for name in ("/orders", "/health")]
    app = Starlette(routes=routes)
    app.add_middleware(asgi.KeyMiddleware, gateway=AsyncGatewayClient(url), scopes=scopes_of)
    return httpx.ASGITransport(app)


def fastapi_app(url: str) -> Any:
    return httpx.ASGITransport(fastapi_service(url))


def fastapi_service(url: str) -> FastAPI:
    require_key, app = RequireKey(AsyncGatewayClient(url)), FastAPI()
    require_key.install(app)

    @app.get("/orders")
    async def orders(
        key: Annotated[Verification, Security(require_key, scopes=["orders:read"])],
    ) -> PlainTextResponse:
        return PlainTextResponse(f"orders of {key.owner}")

    @app.post("/orders")
    async def create(
        key: Annotated[Verification, Security(require_key, scopes=["orders:write"])],
    ) -> str:
        return f"orders of {key.owner}"

    @app.get("/health")
    async def health() -> PlainTextResponse:
        return PlainTextResponse("orders of None")

    return app


def flask_app(url: str) -> Any:
    app = Flask("orders")

    @app.route("/orders", methods=["GET", "POST"])
    @app.route("/health")
    def orders() -> str:
        decision = flask_request.environ.get(DECISION)
        return f"orders of {decision and decision.owner}"

    app.wsgi_app = wsgi.KeyMiddleware(app.wsgi_app, GatewayClient(url), scopes_of)  # type: ignore[method-assign]
    return httpx.WSGITransport(app)


def _orders(request: HttpRequest) -> HttpResponse:
    decision = request.META.get(DECISION)
    return HttpResponse(f"orders of {decision and decision.owner}", content_type="text/plain")


urlpatterns = [path("orders", _orders), path("health", _orders)]


def django_app(url: str) -> Any:
    if not settings.configured:
        settings.configure(
            ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="x", MIDDLEWARE=[]
        )
        django.setup()
    app = wsgi.KeyMiddleware(get_wsgi_application(), GatewayClient(url), scopes_of)
    return httpx.WSGITransport(app)


@pytest.fixture(
    params=[starlette_app, fastapi_app, flask_app, django_app],
    ids=["starlette", "fastapi", "flask", "django"],
)
async def send(request: pytest.FixtureRequest, gateway: Gateway) -> AsyncIterator[Send]:
    transport = request.param(f"http://127.0.0.1:{gateway.port}")
    if isinstance(transport, httpx.ASGITransport):
        async with httpx.AsyncClient(transport=transport, base_url="http://orders") as client:
            yield client.request
        return

    async def call(*arguments: Any, **options: Any) -> httpx.Response:
        with httpx.Client(transport=transport, base_url="http://orders") as client:
            return client.request(*arguments, **options)

    yield call


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[int]:
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        task = asyncio.create_task(server.serve([listener]))
        yield listener.getsockname()[1]
        server.should_exit = True
        await task


def with_key(key: Key) -> dict[str, str]:
    return {"Authorization": f"Bearer {key.token}"}


async def test_allowed_request_has_the_owner_and_the_limits(gateway: Gateway, send: Send) -> None:
    key = await gateway.create_key(scopes=["orders:read"], owner="shop", limits=[limit(5)])
    reply = await send("GET", "/orders", headers={"X-API-Key": key.token})
    assert (reply.status_code, reply.text) == (200, "orders of shop")
    assert reply.headers["ratelimit"].startswith('"requests";r=4;t=')
    assert reply.headers["ratelimit-policy"] == '"requests";q=5;w=3600'


async def test_denied_request_has_a_problem_document(gateway: Gateway, send: Send) -> None:
    key = await gateway.create_key(scopes=["orders:read"], limits=[limit(1)])
    missing = await send("GET", "/orders")
    assert missing.status_code == 401
    assert missing.headers["www-authenticate"] == 'Bearer realm="gatehouse"'
    unknown = await send("GET", "/orders", headers={"Authorization": "bearer nonsense"})
    assert unknown.headers["www-authenticate"].endswith('error="invalid_token"')
    scope = await send("POST", "/orders", headers=with_key(key))
    assert (scope.status_code, scope.json()["code"]) == (403, "INSUFFICIENT_PERMISSIONS")
    assert (await send("GET", "/orders", headers=with_key(key))).status_code == 200
    limited = await send("GET", "/orders", headers=with_key(key))
    assert (limited.status_code, limited.json()["code"]) == (429, "RATE_LIMITED")
    assert int(limited.headers["retry-after"]) > 0
    assert '"requests";r=0' in limited.headers["ratelimit"]
    for reply in (missing, unknown, scope, limited):
        assert reply.headers["content-type"] == "application/problem+json"
        document = reply.json()
        assert document["status"] == reply.status_code
        assert document["type"] == f"urn:gatehouse:problem:{document['code'].lower()}"


async def test_ambiguous_and_malformed_keys_are_rejected(
    gateway: Gateway, send: Send, caplog: pytest.LogCaptureFixture
) -> None:
    key = await gateway.create_key(scopes=["orders:read"])
    for headers in (
        {**with_key(key), "X-API-Key": "other"},
        {"X-API-Key": f"{key.token}, other"},
        {"X-API-Key": "x" * 10_000},
    ):
        with caplog.at_level(logging.DEBUG):
            reply = await send("GET", "/orders", headers=headers)
        assert (reply.status_code, reply.json()["code"]) == (400, "bad_request")
        assert key.token not in reply.text + caplog.text
    same = await send("GET", "/orders", headers={**with_key(key), "X-API-Key": key.token})
    assert same.status_code == 200


async def test_path_without_scopes_needs_no_key(send: Send) -> None:
    reply = await send("GET", "/health")
    assert (reply.status_code, reply.text) == (200, "orders of None")
    assert "ratelimit" not in reply.headers


@pytest.mark.parametrize("app", [starlette_app, fastapi_app])
async def test_service_without_a_gateway_denies(
    closed_port: int, app: Callable[[str], httpx.ASGITransport]
) -> None:
    transport = app(f"http://127.0.0.1:{closed_port}")
    async with httpx.AsyncClient(transport=transport, base_url="http://orders") as client:
        reply = await client.get("/orders", headers={"X-API-Key": "gtk_test_x"})
    assert (reply.status_code, reply.json()["code"]) == (503, "UNAVAILABLE")
    assert reply.headers["retry-after"] == "1"


async def test_websocket_needs_a_key(gateway: Gateway) -> None:
    async def feed(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(websocket.scope[DECISION].owner)
        await websocket.close()

    key = await gateway.create_key(owner="shop", limits=[limit(5)])
    verifier = AsyncGatewayClient(f"http://127.0.0.1:{gateway.port}")
    app = asgi.KeyMiddleware(Starlette(routes=[WebSocketRoute("/feed", feed)]), verifier)
    async with served(app) as port:
        url = f"ws://127.0.0.1:{port}/feed"
        async with websockets.connect(url, additional_headers=with_key(key)) as connection:
            assert await connection.recv() == "shop"
            assert connection.response is not None
            assert connection.response.headers["ratelimit"].startswith('"requests";r=4;t=')
        with pytest.raises(websockets.InvalidStatus) as denied:
            await websockets.connect(url)
        assert denied.value.response.status_code == 401
        assert denied.value.response.headers["www-authenticate"] == 'Bearer realm="gatehouse"'


def test_openapi_document_has_the_security_scheme() -> None:
    document = fastapi_service("http://127.0.0.1:1").openapi()
    schemes = document["components"]["securitySchemes"]
    assert schemes["ApiKey"]["type"] == "http"
    assert schemes["ApiKey"]["scheme"] == "bearer"
    assert document["paths"]["/orders"]["get"]["security"] == [{"ApiKey": ["orders:read"]}]
    assert "security" not in document["paths"]["/health"]["get"]
