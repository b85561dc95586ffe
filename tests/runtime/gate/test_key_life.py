"""What a running gate makes of the life of keys: where from, how often, for how much, and how long."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from gatehouse.core.apikey import build, build_marked
from gatehouse.flows.actor import Actor
from gatehouse.flows.purge import purge
from gatehouse.flows.revoke import Effective
from gatehouse.flows.rotate import Turn, end_grace, rotate
from gatehouse.flows.step import Desk
from gatehouse.migrations import runner
from gatehouse.store import postgres_engine
from gatehouse.store.clock import SystemClock
from gatehouse.store.postgres_keystore import PostgresKeyStore
from gatehouse.store.redis_limits import RedisLimits
from gatehouse.store.redis_login import redis_login
from gatehouse.types import KeyEnvironment, KeyId, RequestId

from tests.runtime.gate.conftest import PEPPER, Gate, Start

OPERATOR = Actor(type="bootstrap", id="bootstrap", request_id=RequestId("req_test"), source_address="192.0.2.1")
TWO = {"name": "requests", "quota": 2, "window_s": 3600, "burst": 2}


async def purse(gate: Any, key: Any, remaining: int, amount: int | None = None, every: str | None = None) -> None:
    await gate.pool.execute("INSERT INTO key_credit VALUES ($1, $2, $3, $4, now())", key.id, remaining, amount, every)


async def left(gate: Any, key: Any) -> int:
    return int(await gate.pool.fetchval("SELECT remaining FROM key_credit WHERE lineage_id = $1", key.id))


@pytest.fixture
async def desk(database: Any) -> AsyncIterator[Desk]:
    """Management beside the gate, as the console has it."""
    engine = postgres_engine.build(database.app, pool_max=4, application="tests")
    yield Desk(store=PostgresKeyStore(engine, staleness_s=3.0), clock=SystemClock(), bound_s=3.0)
    await engine.dispose()


@pytest.fixture
async def empty_gate(empty_database: Any, redis_url: str, start: Start) -> AsyncIterator[Gate]:
    """A gate on a database without any key."""
    await runner.migrate(empty_database.owner)
    empty_database.sql("DELETE FROM api_key")
    _, port, log = start(empty_database.app_url, redis_url)
    async with asyncpg.create_pool(empty_database.app_url, min_size=1, max_size=2) as pool:
        yield Gate(port, 0, pool, log)


@pytest.mark.promise("TR-10")
async def test_an_address_outside_the_list_is_forbidden(gate: Any) -> None:
    inside = await gate.mint(addresses=["127.0.0.0/8", "2001:db8::/48"])
    outside = await gate.mint(addresses=["192.0.2.0/24"])
    assert (await gate.verify(inside.token)).json["code"] == "VALID"
    assert (await gate.verify(inside.token, address="2001:db8:0:9::1")).json["code"] == "VALID"
    assert (await gate.verify(inside.token, address="198.51.100.1")).json["code"] == "FORBIDDEN"
    assert (await gate.ask("GET", "/v1/keys/verify", f"X-API-Key: {outside.token}")).status == 403


@pytest.mark.promise("TR-10")
async def test_a_proxy_is_believed_only_when_it_is_declared(database: Any, redis_url: str, start: Start) -> None:
    _, port, log = start(database.app_url, redis_url, GATEHOUSE_TRUSTED_PROXIES="127.0.0.0/8")
    async with asyncpg.create_pool(database.app_url, min_size=1, max_size=2) as pool:
        gate = Gate(port, 0, pool, log)
        key = await gate.mint(addresses=["192.0.2.0/24"])
        for forwarded, status in (("192.0.2.9", 200), ("198.51.100.1", 403), ("192.0.2.9, 198.51.100.1", 403)):
            headers = (f"X-API-Key: {key.token}", f"X-Forwarded-For: {forwarded}")
            assert (await gate.ask("GET", "/v1/keys/verify", *headers)).status == status, forwarded


async def test_an_undeclared_proxy_can_claim_nothing(gate: Any) -> None:
    key = await gate.mint(addresses=["192.0.2.0/24"])
    reply = await gate.ask("GET", "/v1/keys/verify", f"X-API-Key: {key.token}", "X-Forwarded-For: 192.0.2.9")
    assert reply.status == 403


async def test_a_method_that_is_not_on_the_list_is_forbidden(gate: Any, core: Any) -> None:
    key = await gate.mint(methods=["GET"])
    assert (await gate.verify(key.token, method="GET")).json["code"] == "VALID"
    assert (await gate.verify(key.token, method="POST")).json["code"] == "FORBIDDEN"
    await gate.register(core.url, "methods")
    bearer = f"Authorization: Bearer {key.token}"
    assert (await gate.ask("GET", "/cores/methods/files", bearer)).status == 200
    assert (await gate.ask("POST", "/cores/methods/files", bearer, body=b"x")).status == 403


async def test_a_role_opens_what_it_grants(gate: Any) -> None:
    key = await gate.mint(scopes=[], roles=["reader"])
    answer = (await gate.verify(key.token, scopes=["cores:read"])).json
    assert (answer["code"], answer["scopes"]) == ("VALID", ["cores:read"])


@pytest.mark.promise("TR-09")
async def test_credits_are_exact_under_concurrency(gate: Any) -> None:
    key = await gate.mint(has_credits=True)
    await purse(gate, key, 20)
    replies = await asyncio.gather(*(gate.verify(key.token, cost=1) for _ in range(48)))
    codes = [reply.json["code"] for reply in replies]
    assert (codes.count("VALID"), codes.count("USAGE_EXCEEDED"), await left(gate, key)) == (20, 28, 0)
    refused = await gate.ask("GET", "/v1/keys/verify", f"X-API-Key: {key.token}")
    assert refused.status == 402


async def test_a_call_that_is_rate_limited_spends_no_credits_and_one_without_credits_uses_no_limit(gate: Any) -> None:
    limited = await gate.mint(has_credits=True, limits=[TWO])
    await purse(gate, limited, 50)  # more than all at once: credits that are about to be given back are missing until then
    codes = [reply.json["code"] for reply in await asyncio.gather(*(gate.verify(limited.token) for _ in range(12)))]
    assert (codes.count("VALID"), codes.count("RATE_LIMITED"), await left(gate, limited)) == (2, 10, 48)
    poor = await gate.mint(has_credits=True, limits=[TWO])
    await purse(gate, poor, 1)
    answer = (await gate.verify(poor.token, cost=2)).json
    assert (answer["code"], answer["credits"]) == ("USAGE_EXCEEDED", {"remaining": 1, "exceeded": True, "refills_at": None})
    assert answer["limits"][0]["remaining"] == 2


async def test_cost_zero_looks_at_credits_and_spends_none(gate: Any) -> None:
    key = await gate.mint(has_credits=True)
    await purse(gate, key, 3)
    assert (await gate.verify(key.token, cost=0)).json["credits"]["remaining"] == 3
    assert await left(gate, key) == 3


async def test_a_purse_is_refilled_at_the_begin_of_its_period_and_does_not_add_up(gate: Any) -> None:
    key = await gate.mint(has_credits=True)
    await purse(gate, key, 0, 5, "day")
    refused = (await gate.verify(key.token)).json
    assert (refused["code"], refused["credits"]["refills_at"][10:]) == ("USAGE_EXCEEDED", "T00:00:00.000Z")
    await gate.pool.execute("UPDATE key_credit SET refilled_at = now() - interval '3 days' WHERE lineage_id = $1", key.id)
    assert (await gate.verify(key.token)).json["credits"]["remaining"] == 4
    assert (await gate.verify(key.token)).json["credits"]["remaining"] == 3


async def test_a_limit_may_cost_more_than_one_and_be_asked_at_another_cost(gate: Any) -> None:
    ten = {"name": "units", "quota": 10, "window_s": 3600, "burst": 10, "cost": 3}
    key = await gate.mint(limits=[ten, TWO])
    first = (await gate.verify(key.token)).json["limits"]
    assert [limit["remaining"] for limit in first] == [7, 1]
    second = (await gate.verify(key.token, limits=[{"name": "units", "cost": 0}])).json["limits"]
    assert [limit["remaining"] for limit in second] == [7, 0]
    third = (await gate.verify(key.token, limits=[{"name": "units", "cost": 1}])).json
    assert (third["code"], [limit["remaining"] for limit in third["limits"]]) == ("RATE_LIMITED", [7, 0])


async def test_a_limit_of_the_question_is_counted_beside_those_of_the_key(gate: Any) -> None:
    key = await gate.mint()
    brought = {"name": "per_file", "quota": 1, "window_s": 3600}
    codes = [(await gate.verify(key.token, limits=[brought])).json["code"] for _ in range(2)]
    assert codes == ["VALID", "RATE_LIMITED"]
    assert (await gate.verify(key.token)).json["code"] == "VALID"


@pytest.mark.parametrize(
    ("limits", "location"),
    [
        ([{"name": "A", "quota": 1, "window_s": 1}], "body.limits[0].name"),
        ([{"name": "a", "quota": 0, "window_s": 1}], "body.limits[0].quota"),
        ([{"name": "a", "quota": 1, "window_s": 0}], "body.limits[0].window_s"),
        ([{"name": "a", "quota": 1}], "body.limits[0]"),
        ([{"name": "a", "quota": 1, "window_s": 1, "burst": 2}], "body.limits[0].burst"),
        ([{"name": "a", "quota": 1, "window_s": 1, "cost": -1}], "body.limits[0].cost"),
        ([{"name": "a", "quota": 1, "window_s": 1}] * 2, "body.limits"),
        ([{"name": f"a{number}", "quota": 1, "window_s": 1} for number in range(11)], "body.limits"),
        ([{"name": "unknown"}], "body.limits.unknown"),
        ([{"name": "requests", "quota": 10**6, "window_s": 1}], "body.limits.requests"),
    ],
)
async def test_a_limit_that_cannot_be_counted_is_an_error_and_no_bypass(gate: Any, limits: Any, location: str) -> None:
    key = await gate.mint()
    reply = await gate.verify(key.token, limits=limits)
    assert (reply.status, reply.json["errors"][0]["location"]) == (400, location)


@pytest.mark.promise("TR-07")
async def test_a_batch_is_answered_one_by_one_in_its_order(gate: Any) -> None:
    good, disabled = await gate.mint(limits=[TWO]), await gate.mint(state="disabled")
    keys = [{"token": good.token}, {"token": "nonsense"}, {"token": disabled.token}, {"token": good.token}, {"token": good.token}]
    reply = await gate.ask("POST", "/v1/keys/verify-batch", body=json.dumps({"keys": keys}).encode())
    assert reply.status == 200
    codes = [answer["code"] for answer in reply.json["results"]]
    assert codes == ["VALID", "NOT_FOUND", "DISABLED", "VALID", "RATE_LIMITED"]


async def test_a_limit_that_cannot_be_counted_refuses_the_batch_before_anything_is_charged(gate: Any) -> None:
    key = await gate.mint(limits=[TWO])
    keys = [{"token": key.token}, {"token": key.token, "limits": [{"name": "absent"}]}]
    reply = await gate.ask("POST", "/v1/keys/verify-batch", body=json.dumps({"keys": keys}).encode())
    assert (reply.status, reply.json["errors"][0]["location"]) == (400, "body.keys[1].limits.absent")
    assert (await gate.verify(key.token)).json["limits"][0]["remaining"] == 1


@pytest.mark.parametrize("count", [0, 101])
async def test_a_batch_is_bounded(gate: Any, count: int) -> None:
    reply = await gate.ask("POST", "/v1/keys/verify-batch", body=json.dumps({"keys": [{"token": "x"}] * count}).encode())
    assert (reply.status, reply.json["errors"][0]["location"]) == (400, "body.keys")


async def test_a_wrong_question_in_a_batch_is_named(gate: Any) -> None:
    keys = [{"token": "x"}, {"token": "x", "cost": -1}]
    reply = await gate.ask("POST", "/v1/keys/verify-batch", body=json.dumps({"keys": keys}).encode())
    assert reply.json["errors"][0]["location"] == "body.keys[1].cost"


@pytest.mark.promise("TR-11")
async def test_whoever_holds_a_key_may_end_it_and_the_trail_tells(gate: Any) -> None:
    key = await gate.mint()
    body = json.dumps({"token": key.token, "reason": "pasted into a chat"}).encode()
    reply = await gate.ask("POST", "/v1/keys/revoke-self", body=body)
    assert (reply.status, reply.json["key_id"], reply.json["effective"]) == (200, key.id, "everywhere")
    assert (await gate.verify(key.token)).json["code"] == "NOT_FOUND"
    again = await gate.ask("POST", "/v1/keys/revoke-self", body=body)
    assert (again.status, again.json["code"]) == (401, "unauthorized")
    events = await gate.pool.fetch("SELECT action, actor_id, details::text FROM audit_event WHERE target_id = $1", key.id)
    assert [tuple(event)[:2] for event in events] == [("key.self-revoke", key.id)]
    assert key.token not in events[0]["details"]


async def test_a_self_revocation_says_within_bound_while_a_live_gate_has_not_confirmed_it(gate: Any) -> None:
    key = await gate.mint()
    await gate.pool.execute(
        "INSERT INTO gate_worker (id, confirmed_seq, seen_at) VALUES ('silent', 0, now() + interval '1 minute')"
    )
    try:
        reply = await gate.ask("POST", "/v1/keys/revoke-self", body=json.dumps({"token": key.token}).encode())
    finally:
        await gate.pool.execute("DELETE FROM gate_worker WHERE id = 'silent'")
    assert (reply.status, reply.json["effective"]) == (200, "within_bound")


async def test_a_token_that_proves_nothing_ends_nothing(gate: Any) -> None:
    key = await gate.mint()
    forged = build_marked("gtk", KeyEnvironment.TEST, b"", secrets.token_bytes(32), pepper=gate.pepper, generation=1)
    for token in ("nonsense", forged.text if forged else "", key.token[:-1] + "x"):
        reply = await gate.ask("POST", "/v1/keys/revoke-self", body=json.dumps({"token": token}).encode())
        assert reply.status == 401
    assert (await gate.verify(key.token)).json["code"] == "VALID"


async def test_well_formed_guesses_cost_no_look_up(empty_gate: Any) -> None:
    gate = empty_gate
    key = await gate.mint()
    assert (await gate.verify(key.token)).json["code"] == "VALID"
    before = await lookups(gate)
    guesses = [build("gtk", KeyEnvironment.TEST, secrets.token_bytes(9), secrets.token_bytes(32)).text for _ in range(50)]
    codes = {(await gate.verify(guess)).json["code"] for guess in guesses}
    assert (codes, await lookups(gate) - before) == ({"NOT_FOUND"}, 0)


async def test_a_key_from_before_the_mark_is_found(empty_gate: Any) -> None:
    gate = empty_gate
    old = build("gtk", KeyEnvironment.TEST, secrets.token_bytes(9), secrets.token_bytes(32))
    await gate.mint(id=old.id, digest=gate.pepper.digest(old.text, 1), id_generation=0)
    await confirmed(gate.pool)
    assert (await gate.verify(old.text)).json["code"] == "VALID"


@pytest.mark.promise("CG-15", "TR-08")
async def test_a_rotation_under_load_fails_no_call_and_ends_the_old_token_for_good(gate: Any, desk: Desk) -> None:
    key = await gate.mint(limits=[{"name": "requests", "quota": 10**6, "window_s": 1, "burst": 10**6}])
    tokens, ended = [key.token], False
    wrong: list[str] = []
    done = asyncio.Event()

    async def client() -> None:
        while not done.is_set():
            token, was_ended = tokens[-1], ended
            code = (await gate.verify(token)).json["code"]
            if code != "VALID":
                wrong.append(code)
            if was_ended and (await gate.verify(key.token)).json["code"] == "VALID":
                wrong.append("resurrected")

    clients = [asyncio.create_task(client()) for _ in range(4)]
    turned = await rotate(
        KeyId(key.id),
        Turn(grace_s=3600),
        OPERATOR,
        desk=desk,
        pepper=gate.pepper,
        prefix="gtk",
        random_bytes=secrets.token_bytes,
    )
    assert turned.effective is Effective.EVERYWHERE
    tokens.append(turned.token)
    assert (await gate.verify(key.token)).json["code"] == "VALID"
    await asyncio.gather(*(gate.verify(turned.token) for _ in range(10)))
    closed = await end_grace(KeyId(key.id), "", OPERATOR, desk=desk)
    assert closed.effective is Effective.EVERYWHERE
    ended = True
    await asyncio.gather(*(gate.verify(turned.token) for _ in range(10)))
    done.set()
    await asyncio.gather(*clients)
    assert wrong == []
    assert (await gate.verify(key.token)).json["code"] == "EXPIRED"


async def test_two_generations_share_one_allowance(gate: Any, desk: Desk) -> None:
    key = await gate.mint(limits=[TWO])
    turned = await rotate(
        KeyId(key.id), Turn(), OPERATOR, desk=desk, pepper=gate.pepper, prefix="gtk", random_bytes=secrets.token_bytes
    )
    codes = [(await gate.verify(token)).json["code"] for token in (key.token, turned.token, key.token, turned.token)]
    assert codes == ["VALID", "VALID", "RATE_LIMITED", "RATE_LIMITED"]


@pytest.mark.promise("CG-08")
async def test_a_purge_under_load_ends_the_key_and_its_counters_everywhere(gate: Any, desk: Desk, redis_url: str) -> None:
    key = await gate.mint(limits=[TWO], name="f0rget-me")
    await gate.verify(key.token)
    await gate.pool.execute(
        "UPDATE api_key SET state = 'deleted', deleted_at = now(), deleted_by = 'test', state_before = 'active' WHERE id = $1",
        key.id,
    )
    codes: list[str] = []
    done = asyncio.Event()

    async def client() -> None:
        while not done.is_set():
            codes.append((await gate.verify(key.token)).json["code"])

    counters = RedisLimits(redis_login(redis_url, "url", ""), timeout_s=1, on_error="refuse")
    clients = [asyncio.create_task(client()) for _ in range(3)]
    gone = await purge(KeyId(key.id), key.id, "", OPERATOR, desk=desk, counters=counters)
    after = [(await gate.verify(key.token)).json for _ in range(5)]
    done.set()
    await asyncio.gather(*clients)
    assert (gone.effective, gone.counters_removed) == (Effective.EVERYWHERE, True)
    assert {answer["code"] for answer in after} == {"NOT_FOUND"}
    assert "f0rget-me" not in json.dumps(after)


@pytest.mark.promise("TR-04")
async def test_a_pepper_is_rotated_without_a_failed_call(empty_database: Any, redis_url: str, start: Start) -> None:
    """An old gate and a new one serve side by side; keys move only when both can read the new generation."""
    old, new = PEPPER, bytes(range(32, 64))
    both = {"1": base64.b64encode(old).decode(), "2": base64.b64encode(new).decode()}
    rolled = json.dumps({"current": 2, "generations": both})
    await runner.migrate(empty_database.owner)
    first, first_port, first_log = start(empty_database.app_url, redis_url)
    _, second_port, second_log = start(empty_database.app_url, redis_url, GATEHOUSE_PEPPER=rolled)
    async with asyncpg.create_pool(empty_database.app_url, min_size=1, max_size=2) as pool:
        before, after = Gate(first_port, 0, pool, first_log), Gate(second_port, 0, pool, second_log)
        key = await before.mint()
        for _ in range(2):
            assert [(await gate.verify(key.token)).json["code"] for gate in (before, after)] == ["VALID", "VALID"]
        assert await generation(pool, key.id) == 1
        first.stop()
        await pool.execute("DELETE FROM gate_worker WHERE NOT 2 = ANY (generations)")
        async with asyncio.timeout(20):
            while await generation(pool, key.id) != 2:
                assert (await after.verify(key.token)).json["code"] == "VALID"
        assert (await after.verify(key.token)).json["code"] == "VALID"
        rewraps = await pool.fetchval("SELECT count(*) FROM audit_event WHERE action = 'pepper.rewrap'")
        assert rewraps >= 1


async def generation(pool: Any, key_id: str) -> int:
    return int(await pool.fetchval("SELECT pepper_generation FROM api_key WHERE id = $1", key_id))


async def confirmed(pool: Any) -> None:
    """Returns once every worker has seen the newest change."""
    async with asyncio.timeout(5):
        newest = await pool.fetchval("SELECT max(change_seq) FROM api_key")
        while (await pool.fetchval("SELECT min(confirmed_seq) FROM gate_worker")) < newest:
            await asyncio.sleep(0.005)


async def lookups(gate: Any) -> int:
    await gate.pool.execute("SELECT pg_stat_force_next_flush()")
    return int(
        await gate.pool.fetchval(
            "SELECT coalesce(sum(calls), 0) FROM (SELECT idx_scan AS calls FROM pg_stat_user_indexes"
            " WHERE indexrelname = 'api_key_pkey') AS reads"
        )
    )
