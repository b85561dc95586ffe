"""Cores with a host name, a path, or the client's Host."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.runtime.services.gateway.conftest import Core, Gateway, Reply
from tests.runtime.services.gateway.test_core_settings import basic
from tests.runtime.services.gateway.test_transparent_proxy import Application, core, key
from tools.attack.cases import AMBIGUOUS_PATHS

__all__ = ["core", "key"]


HOST = "docs.cores.test"


async def get(gateway: Gateway, key: Any, path: str, *headers: str, host: str = HOST) -> Reply:
    return await gateway.get(path, key.header, *headers, host=host)


def without_ids(reply: Reply) -> tuple[int, dict[str, Any]]:
    ids = ("request_id", "trace_id")
    return reply.status, {name: value for name, value in reply.json.items() if name not in ids}


@pytest.mark.parametrize("host", [HOST, "Docs.CORES.test:8080", f"{HOST}.:80"])
async def test_core_is_reached_by_its_host_name(
    gateway: Gateway, core: Core, key: Any, host: str
) -> None:
    for _ in range(3):  # then the request is forwarded without a task
        assert (await get(gateway, key, "/a%2Fb?c=d", host=host)).status == 200
        line, headers, _ = core.last
        assert line == "GET /a%2Fb?c=d HTTP/1.1"
        assert headers["host"] == f"127.0.0.1:{core.port}"
        assert headers["x-forwarded-host"] == HOST
        assert headers["forwarded"] == f'for="127.0.0.1";proto=http;host="{HOST}"'
        assert "x-forwarded-prefix" not in headers
    (logged, *_) = await gateway.lines_with(path=f"//{HOST}/a%2Fb", key_id=key.id)
    assert logged["route"] == "/cores/{name}/{path}"


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/keys/verify", "/v1/keys/revoke-self", "/v1/cores/docs", "/healthz", "/readyz"),
        *("/metrics", "/openapi.json", "/cores/other/x", "/cores/docs/x"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "OPTIONS"])
async def test_no_endpoint_of_the_gateway_has_the_host_of_a_core(
    gateway: Gateway, core: Core, key: Any, path: str, method: str
) -> None:
    body = b'{"token": "%b"}' % key.token.encode()
    denied = await gateway.request(method, path, body=body, host=HOST)
    assert (denied.status, core.requests) == (401, [])
    sent = await gateway.request(method, path, key.header, body=body, host=HOST)
    assert (sent.status, core.last[0]) == (200, f"{method} {path} HTTP/1.1")


@pytest.mark.parametrize("name", ["unknown", "a.docs", "docs.docs", "docs_"])
async def test_unknown_host_is_denied_like_an_unknown_path(
    gateway: Gateway, core: Core, key: Any, name: str
) -> None:
    by_host = await get(gateway, key, "/x", host=f"{name}.cores.test")
    by_path = await get(gateway, key, f"/cores/{name}/x", host="gateway.test")
    assert without_ids(by_host) == without_ids(by_path)
    assert (by_host.status, core.requests) == (404, [])
    assert (await gateway.get("/x", host=f"{name}.cores.test")).status == 401


@pytest.mark.parametrize("host", ["cores.test", "xcores.test", "docs.cores.test.example", "[::1]"])
async def test_other_hosts_reach_the_gateway(gateway: Gateway, key: Any, host: str) -> None:
    assert (await gateway.get("/healthz", host=host)).status == 200
    assert (await get(gateway, key, "/x", host=host)).status == 404


async def test_key_of_another_core_is_denied(gateway: Gateway, core: Core, key: Any) -> None:
    other = await gateway.create_key(cores=["other"])
    assert (await get(gateway, other, "/x")).status == 403
    assert core.requests == []


@pytest.mark.parametrize(
    ("target", "host", "path"),
    [
        (f"http://{HOST}:80/x", HOST, "/x"),
        (f"http://{HOST}/cores/other/x", "gateway.test", "/cores/other/x"),
        ("http://gateway.test/cores/docs/x", HOST, "/x"),
    ],
)
async def test_host_of_an_absolute_target_is_used(
    gateway: Gateway, core: Core, key: Any, target: str, host: str, path: str
) -> None:
    """RFC 9112, section 3.2.2."""
    assert (await get(gateway, key, target, host=host)).status == 200
    assert core.last[0] == f"GET {path} HTTP/1.1"


async def test_pages_of_another_core_cannot_use_a_password(
    gateway: Gateway, core: Application
) -> None:
    async with gateway.core(core.url, basic_auth=True) as key:
        login = basic(key.token)
        for origin, status in ((f"http://{HOST}", 200), ("http://other.cores.test", 403)):
            reply = await gateway.request(
                "POST", "/x", login, f"Origin: {origin}", body=b"", host=HOST
            )
            assert reply.status == status


@asynccontextmanager
async def registered(
    gateway: Gateway, core: Core, path: str, **settings: Any
) -> AsyncIterator[Any]:
    async with gateway.core(f"{core.url}{path}", **settings) as key:
        url = await gateway.pool.fetchval(
            "SELECT url FROM core WHERE name = 'docs' AND NOT draining"
        )
        assert url == f"{core.url}{path.rstrip('/')}"
        yield key


@pytest.mark.parametrize(
    ("strip_prefix", "host", "prefix", "received", "forwarded_prefix"),
    [
        (True, "gateway.test", "/cores/docs", "/app/v2", "/cores/docs"),
        (False, "gateway.test", "/cores/docs", "/app/v2/cores/docs", None),
        (True, HOST, "", "/app/v2", None),
        (False, HOST, "", "/app/v2", None),
    ],
)
async def test_requests_are_sent_below_the_path_of_the_url(
    gateway: Gateway,
    core: Any,
    strip_prefix: bool,
    host: str,
    prefix: str,
    received: str,
    forwarded_prefix: str | None,
) -> None:
    core.prefix = received
    async with registered(gateway, core, "/app/v2/", strip_prefix=strip_prefix) as key:
        for _ in range(3):
            reply = await get(gateway, key, f"{prefix}/login?a=b", host=host)
            line, headers, _ = core.last
            assert line == f"GET {received}/login?a=b HTTP/1.1"
            assert headers.get("x-forwarded-prefix") == forwarded_prefix
            assert reply.header("location") == f"{prefix}/home?from=login"
            assert reply.header("set-cookie") == f"session=1; Path={prefix or '/'}"
        root = prefix if prefix and not strip_prefix else f"{prefix}/"
        await get(gateway, key, root, host=host)
        assert core.last[0] == f"GET {received}{'/' if root.endswith('/') else ''} HTTP/1.1"


async def test_no_request_leaves_the_path_of_the_url(gateway: Gateway, core: Core) -> None:
    async with registered(gateway, core, "/app/v2") as key:
        for raw in AMBIGUOUS_PATHS:
            path = raw.decode("latin-1").removeprefix("/cores/docs")
            await get(gateway, key, f"/cores/docs{path}", host="gateway.test")
            await get(gateway, key, path or "/")
        for target in ("*", f"http://{HOST}", f"http://{HOST}?a"):
            await gateway.request("OPTIONS", target, key.header, host=HOST)
        for destination in (
            *(
                "/x",
                "/app/v2/x",
                f"{core.url}/x",
                f"{core.url}/app/v2/x",
                "http://elsewhere.test/x",
            ),
            *("/cores/docs/../x", "/cores/docs/%2e%2e/x", "/cores/docs/..%2fx", "/cores/docs-2/x"),
        ):
            reply = await gateway.request(
                "MOVE", "/cores/docs/a", key.header, f"Destination: {destination}"
            )
            assert reply.status == 400
        assert all(line.split()[1].startswith("/app/v2/") for line, _, _ in core.requests)
        header = "Destination: http://docs.cores.test/b"
        await gateway.request("COPY", "/a", key.header, header, host=HOST)
        assert core.last[1]["destination"] == f"{core.url}/app/v2/b"
        await get(gateway, key, "/cores/docs/x", "Destination: Berlin", host="gateway.test")
        assert core.last[1]["destination"] == "Berlin"


@pytest.mark.parametrize("host", ["any.example:8080", f"{HOST}:8080"])
async def test_core_receives_the_host_of_the_client(gateway: Gateway, core: Any, host: str) -> None:
    prefix = "" if host.startswith(HOST) else "/cores/docs"
    async with registered(gateway, core, "", forward_host=True) as key:
        for _ in range(3):
            await get(gateway, key, f"{prefix}/x", host=host)
            headers = core.last[1]
            assert (headers["host"], headers["x-forwarded-host"]) == (host, host)
        core.own_url = f"http://{host}"
        reply = await get(gateway, key, f"{prefix}/login", host=host)
        assert reply.header("location") == f"{prefix}/home?from=login"
