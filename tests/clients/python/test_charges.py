"""A request is charged once, or not at all: the balance after each, at a running gateway."""

import asyncio
from pathlib import Path

import httpx
import pytest
from gatehouse_client import AsyncGatewayClient, GatewayClient, asgi
from starlette.responses import Response

from tests.clients.python.services import FRAMEWORKS, ITEMS, MOUNTED, READ, SERVERS
from tests.clients.python.test_middleware import client_of, with_key
from tests.runtime.services.gateway.conftest import Gateway, Key, serving
from tests.runtime.services.gateway.test_key_lifecycle import key_with_credits, remaining_credits


@pytest.mark.parametrize("framework", FRAMEWORKS)
async def test_several_guards_charge_a_request_once(
    gateway: Gateway, framework: str, tmp_path: Path
) -> None:
    key = await key_with_credits(gateway, 6, scopes=[READ, ITEMS])
    # The application requires READ, and routes require their own scopes.
    server = SERVERS[framework](f"http://127.0.0.1:{gateway.port}", tmp_path, READ)
    async with server as port, client_of(port) as client:
        for method, path, statuses, balance in (
            ("GET", "/api/orders", {200}, 5),
            ("GET", "/api/items/a", {200}, 4),
            ("HEAD", "/api/items/a", {200, 405}, 3),
            ("GET", "/missing", {404}, 2),
            ("POST", "/api/orders", {403}, 1),  # the second guard denies what the first charged
            ("GET", "/api/items/a", {200}, 0),  # with the last credit
            ("GET", "/api/items/a", {402}, 0),
        ):
            reply = await client.request(method, path, headers=with_key(key))
            assert reply.status_code in statuses, (method, path)
            assert await remaining_credits(gateway, key) == balance, (method, path)


@pytest.mark.parametrize("framework", FRAMEWORKS)
async def test_route_has_a_cost_and_a_core(
    gateway: Gateway, framework: str, tmp_path: Path
) -> None:
    scopes = [READ, MOUNTED]
    key = await key_with_credits(gateway, 9, scopes=scopes, cores=["docs"])
    other = await key_with_credits(gateway, 9, scopes=scopes, cores=["other"])
    url = f"http://127.0.0.1:{gateway.port}"
    for app_scopes, balance in (([], 4), ([READ], 4)):
        await set_credits(gateway, key, 9)
        # The second application charges 1 before the route, which charges the rest.
        async with (
            SERVERS[framework](url, tmp_path, *app_scopes) as port,
            client_of(port) as client,
        ):
            reply = await client.get("/mounted/priced", headers=with_key(key))
            assert (reply.status_code, reply.text) == (200, "orders of team-a")
            assert await remaining_credits(gateway, key) == balance
            reply = await client.get("/mounted/priced", headers=with_key(key))
            assert (reply.status_code, reply.json()["code"]) == (402, "USAGE_EXCEEDED")
            reply = await client.get("/mounted/priced", headers=with_key(other))
            assert (reply.status_code, reply.json()["code"]) == (403, "FORBIDDEN")
    assert await remaining_credits(gateway, other) == 8  # of the second application


@pytest.mark.parametrize("framework", FRAMEWORKS)
async def test_each_key_of_a_request_is_charged(
    gateway: Gateway, framework: str, tmp_path: Path
) -> None:
    key = await key_with_credits(gateway, 9, scopes=[READ])
    partner = await key_with_credits(gateway, 9, scopes=[MOUNTED])
    server = SERVERS[framework](f"http://127.0.0.1:{gateway.port}", tmp_path, READ)
    async with server as port, client_of(port) as client:
        headers = {**with_key(key), "X-Partner-Key": partner.token}
        assert (await client.get("/mounted/partner", headers=headers)).status_code == 200
    assert await remaining_credits(gateway, key) == 8
    assert await remaining_credits(gateway, partner) == 8


async def set_credits(gateway: Gateway, key: Key, credits: int) -> None:
    await gateway.pool.execute(
        "UPDATE key_credit SET remaining = $1 WHERE family_id = $2", credits, key.id
    )


async def test_redirect_of_a_router_is_not_charged(gateway: Gateway, tmp_path: Path) -> None:
    key = await key_with_credits(gateway, 5, scopes=[READ])
    server = SERVERS["starlette"](f"http://127.0.0.1:{gateway.port}", tmp_path)
    async with server as port, client_of(port) as client:
        reply = await client.get("/api/orders/", headers=with_key(key), follow_redirects=True)
    assert (reply.status_code, len(reply.history)) == (200, 1)
    assert await remaining_credits(gateway, key) == 4


@pytest.mark.parametrize(("methods", "status"), [([], 200), (["GET"], 403)])
async def test_request_that_middleware_changes_is_decided_again(
    gateway: Gateway, methods: list[str], status: int
) -> None:
    key = await key_with_credits(gateway, 5, scopes=[READ], methods=methods)
    verifier = AsyncGatewayClient(f"http://127.0.0.1:{gateway.port}")
    inner = asgi.KeyMiddleware(Response(), verifier, [READ])

    async def as_delete(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await inner({**scope, "method": "DELETE"}, receive, send)

    transport = httpx.ASGITransport(asgi.KeyMiddleware(as_delete, verifier, [READ]))
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        assert (await client.get("/", headers=with_key(key))).status_code == status
    assert await remaining_credits(gateway, key) == 4


@pytest.mark.parametrize("fail_open", [False, True])
async def test_verification_with_a_lost_response_is_not_repeated(
    gateway: Gateway, fail_open: bool
) -> None:
    key = await key_with_credits(gateway, 5)

    async def lose(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forwards a request, waits until it is counted, and closes the connection."""
        request = await reader.readuntil(b"}")
        received, sender = await asyncio.open_connection("127.0.0.1", gateway.port)
        sender.write(request)
        await received.readuntil(b"}")
        sender.close()
        writer.close()

    async with serving(lose) as port:
        url = f"http://127.0.0.1:{port}"
        async with AsyncGatewayClient(url, fail_open=fail_open) as asynchronous:
            decisions = [await asynchronous.verify(key.token)]
        with GatewayClient(url, fail_open=fail_open) as verifier:
            decisions.append(await asyncio.to_thread(verifier.verify, key.token))
    assert [(item.valid, item.code) for item in decisions] == [(fail_open, "UNAVAILABLE")] * 2
    assert await remaining_credits(gateway, key) == 3
