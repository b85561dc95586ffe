"""Services with the middleware of the Python client, at a running gateway."""

import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets
from fastapi import FastAPI, Security, WebSocket
from gatehouse_client import AsyncGatewayClient, GatewayClient, asgi, wsgi
from gatehouse_client.django import RequireKey as DjangoKey
from gatehouse_client.fastapi import RequireKey
from gatehouse_client.flask import RequireKey as FlaskKey
from gatehouse_client.middleware import DECISION
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute

from sandbox.ports import PLAIN_HTTP
from tests.clients.python.services import (
    FRAMEWORKS,
    SERVERS,
    fastapi_server,
    fastapi_service,
    on_uvicorn,
    starlette_server,
)
from tests.runtime.services.gateway.conftest import Gateway, Key, limit

#: Sends a request to a service.
Send = Callable[..., Any]


def client_of(port: int) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60, verify=PLAIN_HTTP)


@pytest.fixture(params=FRAMEWORKS)
async def send(
    request: pytest.FixtureRequest, gateway: Gateway, tmp_path: Path
) -> AsyncIterator[Send]:
    server = SERVERS[request.param](f"http://127.0.0.1:{gateway.port}", tmp_path)
    async with server as port, client_of(port) as client:
        yield client.request


def with_key(key: Key) -> dict[str, str]:
    return {"Authorization": f"Bearer {key.token}"}


async def test_allowed_request_has_the_customer_and_the_limits(
    gateway: Gateway, send: Send
) -> None:
    key = await gateway.create_key(scopes=["orders:read"], customer_id="shop", limits=[limit(5)])
    reply = await send("GET", "/api/orders", headers={"X-API-Key": key.token})
    assert (reply.status_code, reply.text) == (200, "orders of shop")
    assert reply.headers["ratelimit"].startswith('"requests";r=4;t=')
    assert reply.headers["ratelimit-policy"] == '"requests";q=5;w=3600'


async def test_denied_request_has_a_problem_document(gateway: Gateway, send: Send) -> None:
    key = await gateway.create_key(scopes=["orders:read"], limits=[limit(1)])
    missing = await send("GET", "/api/orders")
    assert missing.status_code == 401
    assert missing.headers["www-authenticate"] == 'Bearer realm="gatehouse"'
    unknown = await send("GET", "/api/orders", headers={"Authorization": "bearer nonsense"})
    assert unknown.headers["www-authenticate"].endswith('error="invalid_token"')
    scope = await send("POST", "/api/orders", headers=with_key(key))
    assert (scope.status_code, scope.json()["code"]) == (403, "INSUFFICIENT_PERMISSIONS")
    assert (await send("GET", "/api/orders", headers=with_key(key))).status_code == 200
    limited = await send("GET", "/api/orders", headers=with_key(key))
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
            reply = await send("GET", "/api/orders", headers=headers)
        assert (reply.status_code, reply.json()["code"]) == (400, "bad_request")
        assert key.token not in reply.text + caplog.text
    same = await send("GET", "/api/orders", headers={**with_key(key), "X-API-Key": key.token})
    assert same.status_code == 200


async def test_route_reads_the_key_from_its_header(gateway: Gateway, send: Send) -> None:
    key = await gateway.create_key(scopes=["mounted:read"])
    others = {"Authorization": "Bearer of a user", "X-API-Key": "other"}
    reply = await send("GET", "/mounted/partner", headers={**others, "X-Partner-Key": key.token})
    assert (reply.status_code, reply.text) == (200, "orders of team-a")
    missing = await send("GET", "/mounted/partner", headers=with_key(key))
    assert (missing.status_code, missing.headers["content-type"]) == (
        401,
        "application/problem+json",
    )
    assert "`X-Partner-Key: <key>`" in missing.json()["detail"]
    assert "X-API-Key" not in missing.text


async def test_path_without_scopes_needs_no_key(send: Send) -> None:
    reply = await send("GET", "/health")
    assert (reply.status_code, reply.text) == (200, "orders of None")
    assert "ratelimit" not in reply.headers


@pytest.mark.parametrize("server", [starlette_server, fastapi_server])
async def test_service_without_a_gateway_denies(
    closed_port: int, server: Callable[..., Any], tmp_path: Path
) -> None:
    url = f"http://127.0.0.1:{closed_port}"
    async with server(url, tmp_path) as port, client_of(port) as client:
        reply = await client.get("/api/orders", headers={"X-API-Key": "gtk_test_x"})
    assert (reply.status_code, reply.json()["code"]) == (503, "UNAVAILABLE")
    assert reply.headers["retry-after"] == "1"


@pytest.mark.parametrize("framework", ["starlette", "fastapi"])
async def test_websocket_needs_a_key(gateway: Gateway, framework: str) -> None:
    async def feed(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(websocket.scope[DECISION].customer_id)
        await websocket.close()

    key = await gateway.create_key(customer_id="shop", limits=[limit(5)])
    verifier = AsyncGatewayClient(f"http://127.0.0.1:{gateway.port}")
    app: Any = asgi.KeyMiddleware(Starlette(routes=[WebSocketRoute("/feed", feed)]), verifier)
    if framework == "fastapi":
        require_key, app = RequireKey(verifier), FastAPI()
        require_key.install(app)
        app.websocket("/feed", dependencies=[Security(require_key)])(feed)
    async with on_uvicorn(app) as port:
        url = f"ws://127.0.0.1:{port}/feed"
        async with websockets.connect(url, additional_headers=with_key(key)) as connection:
            assert await connection.recv() == "shop"
            assert connection.response is not None
            assert connection.response.headers["ratelimit"].startswith('"requests";r=4;t=')
        with pytest.raises(websockets.InvalidStatus) as denied:
            await websockets.connect(url)
        assert denied.value.response.status_code == 401
        assert denied.value.response.headers["www-authenticate"] == 'Bearer realm="gatehouse"'


@pytest.mark.parametrize(
    "scopes", [lambda _method, _path: ["orders:read"], "orders:read", [["orders:read"]], None]
)
def test_scopes_are_a_list(scopes: Any) -> None:
    url = "http://127.0.0.1:1"
    gateway, asynchronous = GatewayClient(url), AsyncGatewayClient(url)
    for guard in (
        lambda: asgi.KeyMiddleware(Starlette(), asynchronous, scopes),
        lambda: wsgi.KeyMiddleware(lambda *_: [], gateway, scopes),
        lambda: FlaskKey(gateway)(scopes),
        lambda: DjangoKey(gateway)(scopes),
    ):
        with pytest.raises(TypeError, match="guard each route"):
            guard()


@pytest.mark.parametrize(
    "options",
    [
        *({"cost": -1}, {"cost": 1.5}, {"cost": True}, {"costs": 1}),
        *({"core": ""}, {"core": ["docs"]}, {"key_header": "X Key"}, {"key_header": ""}),
    ],
)
def test_options_are_checked_when_a_guard_is_created(options: Any) -> None:
    url = "http://127.0.0.1:1"
    gateway, asynchronous = GatewayClient(url), AsyncGatewayClient(url)
    for guard in (
        lambda: asgi.KeyMiddleware(Starlette(), asynchronous, **options),
        lambda: wsgi.KeyMiddleware(lambda *_: [], gateway, **options),
        lambda: FlaskKey(gateway)(**options),
        lambda: DjangoKey(gateway)(**options),
        lambda: RequireKey(asynchronous, **options),
    ):
        with pytest.raises(TypeError, match=next(iter(options))):
            guard()


@pytest.mark.parametrize("framework", ["starlette", "fastapi"])
async def test_browsers_can_read_denials_behind_cors_middleware(
    gateway: Gateway, framework: str, tmp_path: Path
) -> None:
    """CORS middleware answers preflights, which have no key, and is the outermost."""
    url = f"http://127.0.0.1:{gateway.port}"
    cors: dict[str, Any] = {"allow_origins": ["https://shop.test"], "allow_headers": ["X-API-Key"]}
    if framework == "fastapi":
        app: Any = fastapi_service(url, tmp_path)
        app.add_middleware(CORSMiddleware, **cors)
    else:
        app = Starlette(
            routes=[Route("/api/orders", lambda _: Response())],
            middleware=[
                Middleware(CORSMiddleware, **cors),
                Middleware(asgi.KeyMiddleware, gateway=AsyncGatewayClient(url)),
            ],
        )
    async with on_uvicorn(app) as port, client_of(port) as client:
        origin = {"Origin": "https://shop.test"}
        preflight = await client.options(
            "/api/orders", headers={**origin, "Access-Control-Request-Method": "GET"}
        )
        denied = await client.get("/api/orders", headers=origin)
    assert (preflight.status_code, denied.status_code) == (200, 401)
    for reply in (preflight, denied):
        assert reply.headers["access-control-allow-origin"] == "https://shop.test"


@pytest.mark.parametrize("framework", ["flask", "django"])
async def test_preflight_of_a_guarded_view_needs_no_key(
    gateway: Gateway, framework: str, tmp_path: Path
) -> None:
    """CORS extensions of Flask and middleware of Django add their headers to its response."""
    server = SERVERS[framework](f"http://127.0.0.1:{gateway.port}", tmp_path)
    async with server as port, client_of(port) as client:
        assert (await client.options("/api/orders")).status_code == 200


def test_openapi_document_has_the_security_scheme_and_denials(tmp_path: Path) -> None:
    app = fastapi_service("http://127.0.0.1:1", tmp_path)
    partner = RequireKey(AsyncGatewayClient("http://127.0.0.1:1"), key_header="X-Partner-Key")
    app.get("/partner", responses={429: {"description": "own"}})(
        lambda key=Security(partner): None  # noqa: B008
    )
    app.openapi()
    document = app.openapi()
    schemes = document["components"]["securitySchemes"]
    assert (schemes["ApiKey"]["type"], schemes["ApiKey"]["scheme"]) == ("http", "bearer")
    assert schemes["ApiKey_X-Partner-Key"]["in"] == "header"
    operation = document["paths"]["/api/orders"]["get"]
    assert operation["security"] == [{"ApiKey": ["orders:read"]}]
    assert {"400", "401", "402", "403", "429", "503"} <= {*operation["responses"]}
    assert document["paths"]["/partner"]["get"]["responses"]["429"]["description"] == "own"
    health = document["paths"]["/health"]["get"]
    assert "security" not in health
    assert {*health["responses"]} == {"200"}
    OpenAPIV31SpecValidator(document).validate()
