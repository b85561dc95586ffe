"""Key restrictions, credits, rotation, purge and pepper rotation at a running gateway."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
from gatehouse.core.keys import KeyEnvironment, KeyId
from gatehouse.core.lifecycle import Action
from gatehouse.core.roles import OWNERS
from gatehouse.core.tokens.token import build
from gatehouse.features.keys.service import KeyService
from gatehouse.features.verification.rate_limiters import RateLimits
from gatehouse.platform.db.migrations import runner
from gatehouse.platform.db.pool import Pool
from gatehouse.platform.redis.connection import Redis

from tests.runtime.services.gateway.conftest import (
    OPERATOR,
    Gateway,
    Start,
    key_service,
    limit,
    serving,
)
from tests.runtime.tokens import unknown_token

TWO = limit(2)


async def key_with_credits(gateway: Any, *credits: Any, **columns: Any) -> Any:
    key = await gateway.create_key(has_credits=True, **columns)
    values = [*credits, None, None][:3]
    await gateway.pool.execute(
        "INSERT INTO key_credit VALUES ($1, $2, $3, $4, now())", key.id, *values
    )
    return key


async def remaining_credits(gateway: Any, key: Any) -> int:
    return int(
        await gateway.pool.fetchval("SELECT remaining FROM key_credit WHERE family_id = $1", key.id)
    )


@pytest.fixture
def keys(module_pool: Pool) -> KeyService:
    return key_service(module_pool)


@pytest.fixture
async def empty_gateway(
    empty_database: Any, redis_url: str, start: Start
) -> AsyncIterator[Gateway]:
    await runner.migrate(empty_database.owner)
    empty_database.sql("DELETE FROM api_key")
    _, port, log = start(empty_database.app_url, redis_url)
    async with asyncpg.create_pool(empty_database.app_url, min_size=1, max_size=2) as pool:
        yield Gateway(port, 0, pool, log)


async def test_unlisted_address_is_forbidden(gateway: Any) -> None:
    inside = await gateway.create_key(addresses=["127.0.0.0/8", "2001:db8::/48"])
    outside = await gateway.create_key(addresses=["192.0.2.0/24"])
    assert await gateway.code(inside.token) == "VALID"
    assert await gateway.code(inside.token, address="2001:db8:0:9::1") == "VALID"
    assert await gateway.code(inside.token, address="198.51.100.1") == "FORBIDDEN"
    for untrusted in ((), ("X-Forwarded-For: 192.0.2.9",)):
        reply = await gateway.get("/v1/keys/verify", outside.header, *untrusted)
        assert reply.status == 403


async def test_only_last_address_of_trusted_proxy_is_believed(another: Any, core: Any) -> None:
    gateway = another(
        GATEHOUSE_TRUSTED_PROXIES="127.0.0.0/16", GATEHOUSE_OUTER_PROXIES="203.0.113.0/28"
    )
    key = await gateway.create_key(addresses=["192.0.2.0/24"])
    await gateway.register(core.url, "addresses")
    for forwarded, status in (
        ("192.0.2.9", 200),
        ("192.0.2.9, 203.0.113.15", 200),  # through an outer proxy
        ("192.0.2.9, 203.0.113.16", 403),
        ("198.51.100.1", 403),
        ("192.0.2.9, 198.51.100.1", 403),
        # Clients in the trusted block, in which the load balancer is, and next to it.
        *((f"192.0.2.9, 127.{host}", 403) for host in ("0.0.1", "0.77.9", "0.255.255", "1.0.0")),
    ):
        for path in ("/v1/keys/verify", "/cores/addresses/files"):
            reply = await gateway.get(path, key.header, f"X-Forwarded-For: {forwarded}")
            assert reply.status == status, (path, forwarded)


async def test_unlisted_method_is_forbidden(gateway: Any, core: Any) -> None:
    key = await gateway.create_key(methods=["GET"])
    assert await gateway.code(key.token, method="GET") == "VALID"
    assert await gateway.code(key.token, method="POST") == "FORBIDDEN"
    await gateway.register(core.url, "methods")
    for method, status in (("GET", 200), ("POST", 403)):
        reply = await gateway.request(method, "/cores/methods/files", key.bearer)
        assert reply.status == status


async def test_credits_are_exact_under_concurrency(gateway: Any) -> None:
    key = await key_with_credits(gateway, 20)
    codes = await asyncio.gather(*(gateway.code(key.token) for _ in range(48)))
    assert (codes.count("VALID"), codes.count("USAGE_EXCEEDED")) == (20, 28)
    assert await remaining_credits(gateway, key) == 0
    assert (await gateway.get("/v1/keys/verify", key.header)).status == 402


async def test_limits_and_credits_are_consumed_together(gateway: Any) -> None:
    # Enough for all requests, because credits are missing until they are refunded.
    limited = await key_with_credits(gateway, 50, limits=[TWO])
    codes = await asyncio.gather(*(gateway.code(limited.token) for _ in range(12)))
    assert (codes.count("VALID"), codes.count("RATE_LIMITED")) == (2, 10)
    assert await remaining_credits(gateway, limited) == 48
    poor = await key_with_credits(gateway, 1, limits=[TWO])
    result = (await gateway.verify(poor.token, cost=2)).json
    assert result["code"] == "USAGE_EXCEEDED"
    assert result["credits"] == {"remaining": 1, "exceeded": True, "refills_at": None}
    assert result["limits"][0]["remaining"] == 2


async def test_credits_are_refilled_per_period(gateway: Any) -> None:
    key = await key_with_credits(gateway, 0, 5, "day")
    denied = (await gateway.verify(key.token)).json
    assert denied["code"] == "USAGE_EXCEEDED"
    assert denied["credits"]["refills_at"].endswith("T00:00:00.000Z")
    await gateway.pool.execute(
        "UPDATE key_credit SET refilled_at = now() - interval '3 days' WHERE family_id = $1", key.id
    )
    for cost, remaining in ((1, 4), (1, 3), (0, 3)):
        reply = await gateway.verify(key.token, cost=cost)
        assert reply.json["credits"]["remaining"] == remaining
    assert await remaining_credits(gateway, key) == 3


@pytest.mark.parametrize("action", [Action.REVOKE, Action.DISABLE, Action.DELETE, None])
async def test_registration_ends_with_its_key(
    gateway: Any, core: Any, keys: KeyService, action: Action | None
) -> None:
    agent, _ = await gateway.register(core.url, name="ended")
    reader = await gateway.create_key()
    assert (await gateway.get("/cores/ended/x", reader.header)).status == 200
    if action is None:
        stolen = {"token": agent.token, "reason": "stolen"}
        assert (await gateway.post("/v1/keys/revoke-self", stolen)).status == 200
    else:
        await keys.act(KeyId(agent.id), action, "stolen", OPERATOR, OWNERS)
    async with asyncio.timeout(60):
        while (reply := await gateway.get("/cores/ended/x", reader.header)).status == 200:
            await asyncio.sleep(0.005)
    assert reply.outcome == (503, "core_not_registered")
    await gateway.register(core.url, name="ended")  # another key can take the name at once
    await gateway.drain("ended")


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/cores/unknown/x", "not_found"),
        ("/cores/No-Name/x", "not_found"),
        ("/cores/gone/x", "core_not_registered"),
        ("/cores/closed/x", "core_unreachable"),
    ],
)
async def test_request_that_reaches_no_core_uses_no_credits(
    gateway: Any, path: str, code: str, closed_port: int
) -> None:
    await gateway.register("http://127.0.0.1:9", name="gone")
    await gateway.drain("gone")
    await gateway.register(f"http://127.0.0.1:{closed_port}", name="closed")
    key = await key_with_credits(gateway, 10)
    async with asyncio.timeout(60):
        while (await gateway.get(path, key.header)).json["code"] != code:
            await asyncio.sleep(0.01)  # the registration reaches the gateway
        while await remaining_credits(gateway, key) != 10:
            await asyncio.sleep(0.005)
    await gateway.drain("closed")


@pytest.mark.parametrize(
    ("statement", "remaining"),
    [
        ("", 10),
        ("SELECT FROM key_credit FOR UPDATE", 10),
        ("UPDATE key_credit SET refilled_at = clock_timestamp()", 9),
    ],
)
async def test_client_that_leaves_before_its_core_is_connected_uses_no_credits(
    gateway: Gateway, statement: str, remaining: int
) -> None:
    is_connecting, ends = asyncio.Event(), asyncio.Event()

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)  # of a TLS handshake
        is_connecting.set()
        await ends.wait()
        writer.close()

    async with serving(receive) as port, gateway.core(f"https://127.0.0.1:{port}"):
        key = await key_with_credits(gateway, 10)
        head = f"GET /cores/docs/x HTTP/1.1\r\nHost: g\r\n{key.header}\r\n\r\n"
        async with gateway.pool.acquire() as other, other.transaction():
            async with gateway.connection(head.encode()):
                await is_connecting.wait()
                if statement:
                    await other.execute(statement)
                    ends.set()
                    while not await other.fetch("SELECT FROM pg_locks WHERE NOT granted"):
                        await asyncio.sleep(0.005)
            for _ in range(50):  # a refund that is cancelled ends
                await gateway.get("/healthz")
        ends.set()
        await gateway.lines_with(key_id=key.id)
        async with asyncio.timeout(60):
            while await remaining_credits(gateway, key) != remaining:
                await asyncio.sleep(0.005)


async def test_request_that_a_core_received_before_it_stopped_uses_credits(gateway: Any) -> None:

    async def stop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        server.close()
        writer.transport.abort()

    server = await asyncio.start_server(stop, "127.0.0.1", 0)
    await gateway.register(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", name="stops")
    key = await key_with_credits(gateway, 10)
    reply = await gateway.get("/cores/stops/x", key.header)
    assert reply.outcome == (502, "core_unreachable")
    await gateway.lines_with(key_id=key.id)
    for _ in range(50):  # a refund would have ended
        await gateway.get("/healthz")
    assert await remaining_credits(gateway, key) == 9


async def test_self_revocation_is_audited(gateway: Any) -> None:
    key = await gateway.create_key()
    body = {"token": key.token, "reason": "pasted into a chat"}
    reply = await gateway.post("/v1/keys/revoke-self", body)
    assert (reply.status, reply.json["key_id"], reply.json["effective"]) == (
        200,
        key.id,
        "everywhere",
    )
    assert await gateway.code(key.token) == "NOT_FOUND"
    again = await gateway.post("/v1/keys/revoke-self", body)
    assert again.outcome == (401, "unauthorized")
    events = await gateway.pool.fetch(
        "SELECT action, actor_id, details::text FROM audit_event WHERE target_id = $1", key.id
    )
    assert [tuple(event)[:2] for event in events] == [("key.self-revoke", key.id)]
    assert key.token not in events[0]["details"]


async def test_token_of_a_deleted_key_takes_no_locks(gateway: Any) -> None:
    deleted = {"state_before": "active", "deleted_at": datetime.now(UTC), "deleted_by": "test"}
    key = await gateway.create_key(state="deleted", **deleted)
    async with gateway.pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM api_key WHERE id = $1 FOR UPDATE", key.id)
        assert (await gateway.post("/v1/keys/revoke-self", {"token": key.token})).status == 401


async def test_wrong_token_revokes_nothing(gateway: Any) -> None:
    key = await gateway.create_key()
    forged = build(
        "gtk",
        KeyEnvironment.TEST,
        b"",
        secrets.token_bytes(32),
        pepper=gateway.pepper,
        generation=1,
    )
    for token in ("nonsense", forged.text, key.token[:-1] + ("x" if key.token[-1] != "x" else "y")):
        reply = await gateway.post("/v1/keys/revoke-self", {"token": token})
        assert reply.status == 401
    assert await gateway.code(key.token) == "VALID"


async def test_well_formed_guesses_cost_no_lookup(empty_gateway: Any) -> None:
    gateway = empty_gateway
    key = await gateway.create_key()
    assert await gateway.code(key.token) == "VALID"
    before = await count_lookups(gateway)
    codes = {await gateway.code(unknown_token().text) for _ in range(100)}
    assert codes == {"NOT_FOUND"}
    assert await count_lookups(gateway) - before < 50  # those of background jobs


async def test_rotation_under_load_fails_no_request(gateway: Any, keys: KeyService) -> None:
    key = await gateway.create_key(limits=[limit(10**6, 1)])
    tokens, ended = [key.token], False
    failures: list[str] = []
    done = asyncio.Event()

    async def client() -> None:
        while not done.is_set():
            token, was_ended = tokens[-1], ended
            code = await gateway.code(token)
            if code != "VALID":
                failures.append(code)
            if was_ended and await gateway.code(key.token) == "VALID":
                failures.append("resurrected")

    clients = [asyncio.create_task(client()) for _ in range(4)]
    rotated = await keys.rotate(KeyId(key.id), OPERATOR, roles=OWNERS, grace_s=3600)
    assert rotated.effective == "everywhere"
    tokens.append(rotated.issued["token"])
    assert await gateway.code(key.token) == "VALID"
    await asyncio.gather(*(gateway.verify(rotated.issued["token"]) for _ in range(10)))
    revoked = await keys.act(KeyId(key.id), Action.REVOKE, "", OPERATOR, OWNERS)
    assert revoked.effective == "everywhere"
    ended = True
    await asyncio.gather(*(gateway.verify(rotated.issued["token"]) for _ in range(10)))
    done.set()
    await asyncio.gather(*clients)
    assert failures == []
    assert await gateway.code(key.token) == "NOT_FOUND"


async def test_purge_under_load_is_in_effect_everywhere(
    gateway: Any, keys: KeyService, redis_url: str
) -> None:
    key = await gateway.create_key(limits=[TWO], name="f0rget-me")
    await gateway.verify(key.token)
    await gateway.pool.execute(
        "UPDATE api_key SET state = 'deleted', deleted_at = now(), deleted_by = 'test', "
        "state_before = 'active' WHERE id = $1",
        key.id,
    )
    codes: list[str] = []
    done = asyncio.Event()

    async def client() -> None:
        while not done.is_set():
            codes.append(await gateway.code(key.token))

    counters = RateLimits(Redis(redis_url, "url", timeout_s=10))
    clients = [asyncio.create_task(client()) for _ in range(3)]
    changed, counters_removed = await replace(keys, forget=counters.forget).purge(
        KeyId(key.id), key.id, "", OPERATOR, OWNERS
    )
    after = [(await gateway.verify(key.token)).json for _ in range(5)]
    done.set()
    await asyncio.gather(*clients)
    assert (changed.effective, counters_removed) == ("everywhere", True)
    assert {result["code"] for result in after} == {"NOT_FOUND"}
    assert "f0rget-me" not in json.dumps(after)


async def test_purge_of_a_rotated_key_does_not_renew_limits_of_its_successor(
    gateway: Any, keys: KeyService, redis_url: str
) -> None:
    key = await gateway.create_key(limits=[TWO])
    rotated = await keys.rotate(KeyId(key.id), OPERATOR, roles=OWNERS, grace_s=3600)
    for token in (key.token, rotated.issued["token"]):
        assert await gateway.code(token) == "VALID"
    await keys.act(KeyId(key.id), Action.REVOKE, "", OPERATOR, OWNERS)
    counters = RateLimits(Redis(redis_url, "url", timeout_s=10))
    _, counters_removed = await replace(keys, forget=counters.forget).purge(
        KeyId(key.id), key.id, "", OPERATOR, OWNERS
    )
    assert not counters_removed
    assert await gateway.code(rotated.issued["token"]) == "RATE_LIMITED"


async def count_lookups(gateway: Any) -> int:
    await gateway.pool.execute("SELECT pg_stat_force_next_flush()")
    return int(
        await gateway.pool.fetchval(
            "SELECT coalesce(sum(calls), 0) FROM (SELECT idx_scan AS calls FROM "
            "pg_stat_user_indexes WHERE indexrelname = 'api_key_pkey') AS reads"
        )
    )


@pytest.mark.parametrize("error_format", ["problem", "openai"])
@pytest.mark.parametrize("refill", [(1, "day"), ()], ids=["refill", "no refill"])
async def test_refusal_without_credits_says_when_they_are_refilled(
    gateway: Any, core: Any, error_format: str, refill: tuple[Any, ...]
) -> None:
    key = await key_with_credits(gateway, 0, *refill)
    verified = await gateway.verify(key.token)
    refills_at = verified.json["credits"]["refills_at"]
    async with gateway.core(core.url, error_format=error_format):
        replies = [
            await gateway.get(path, key.header)
            for path in ("/cores/docs/x", "/v1/keys/verify", "/v1/keys/authorize")
        ]
    for reply in replies:
        document = reply.json.get("error", reply.json)
        assert (reply.status, document["code"].upper()) == (402, "USAGE_EXCEEDED")
        assert document.get("refills_at") == refills_at
    for reply in (verified, *replies):
        assert reply.header("ratelimit") is None  # it would say that requests are allowed
        assert (reply.header("retry-after") is not None) is bool(refill)
        assert 0 < int(reply.header("retry-after") or 1) <= 86_400


async def test_missing_slash_of_a_core_is_a_redirect_without_charge(
    gateway: Any, core: Any
) -> None:
    key = await key_with_credits(gateway, 10)
    async with gateway.core(core.url):
        for target, location in (
            ("/cores/docs", "/cores/docs/"),
            ("/cores/docs?x=%2F/&y", "/cores/docs/?x=%2F/&y"),
        ):
            for method in ("GET", "HEAD"):
                reply = await gateway.request(method, target, key.header)
                assert (reply.status, reply.header("location")) == (308, location)
        assert core.requests == []
        assert await remaining_credits(gateway, key) == 10
        assert (await gateway.get("/cores/docs")).status == 401
        assert (await gateway.get("/cores/other", key.header)).status == 404
        assert (await gateway.request("POST", "/cores/docs", key.header, body=b"")).status == 200
        assert (await gateway.get("/", key.header, host="docs.cores.test")).status == 200
    async with gateway.core(core.url, strip_prefix=False):
        assert (await gateway.get("/cores/docs", key.header)).status == 200
        assert core.last[0] == "GET /cores/docs HTTP/1.1"
