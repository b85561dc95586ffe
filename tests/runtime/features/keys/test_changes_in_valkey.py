"""Announcements of changes in Valkey, with a real server."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from gatehouse.core.actor import Actor, RequestId
from gatehouse.core.audit_events import AuditAction, AuditEvent, Details
from gatehouse.core.clock import Clock
from gatehouse.core.errors import Forbidden, Unavailable
from gatehouse.core.keys import Key, KeyId, KeyState, RateLimit
from gatehouse.core.roles import OWNERS, Role
from gatehouse.core.tokens.sealing import seal
from gatehouse.core.tokens.token import Pepper
from gatehouse.features.keys import changes_in_valkey as module
from gatehouse.features.keys import service
from gatehouse.features.keys.changes_in_valkey import NAME, PURPOSE, Announcement, Announcements
from gatehouse.features.keys.repository import KeyRepository
from gatehouse.features.keys.service import KeyService
from gatehouse.platform.redis.connection import Redis

from tests.runtime.conftest import Database, Rows, locked, opened
from tests.runtime.key_records import RECORD
from tests.runtime.silent_servers import silent_server

PEPPER = Pepper({1: bytes(32), 2: b"2" * 32}, 2)
Process = Callable[..., Announcements]


def revocation(key_id: str = RECORD.id, reason: str = "leaked") -> AuditEvent:
    actor = Actor("person", "ada", RequestId("req_1"), "192.0.2.1")
    action, details = AuditAction.KEY_REVOKE, Details(reason=reason)
    return actor.event(action, target_id=key_id, at=1_900_000_000.5, details=details)


def random_bytes(number: int) -> bytes:
    return b"r" * number


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = Redis(redis_url, "url", timeout_s=5)
    await client.call(client.client.delete(NAME))
    yield client
    await client.close()


@pytest.fixture
def process(redis: Redis) -> Process:
    """The announcements of another process, and those that it has received (`received`)."""

    def create(pepper: Pepper = PEPPER) -> Announcements:
        received: list[Announcement] = []
        return Announcements(redis, pepper, Clock(), 900, received.append)

    return create


def received(announcements: Announcements) -> list[Announcement]:
    target: Any = announcements.on_announced
    result: list[Announcement] = target.__self__
    return result


def revoked(announcements: Announcements) -> set[str]:
    events = [each.revocation for each in received(announcements)]
    return {event.target_id for event in events if event is not None}


async def test_revocation_is_received_by_every_process(process: Process) -> None:
    console, gateway, later = process(), process(), process(Pepper({1: bytes(32)}, 1))
    await gateway.read()
    assert await console.announce_revocation(revocation()) == "announced"
    for reader in (gateway, later):
        await reader.read()
        assert revoked(reader) == {RECORD.id}
        assert received(reader)[0].revocation == revocation()
    await gateway.read()
    assert len(received(gateway)) == 2, "one for each pepper generation, and each only once"


async def test_change_is_announced_only_if_it_is_not_confirmed(process: Process) -> None:
    console, gateway = process(), process()
    fields: dict[str, Any] = {"created_at": 1.0, "created_by": "test", "version": 7}
    key = msgspec.convert({**msgspec.structs.asdict(RECORD), **fields}, Key)
    assert await console.announce(key, "everywhere") == "everywhere"
    await gateway.read()
    assert received(gateway) == []
    assert await console.announce(key, "within_outage_bound") == "within_bound"
    await gateway.read()
    expected = msgspec.structs.replace(RECORD, version=7)
    assert {each.record for each in received(gateway)} == {expected}


async def test_without_valkey_the_bound_is_that_of_an_outage(closed_port: int) -> None:
    redis = Redis(f"redis://127.0.0.1:{closed_port}", "url", timeout_s=1)
    announcements = Announcements(redis, PEPPER, Clock(), 900)
    fields: dict[str, Any] = {"created_at": 1.0, "created_by": "test"}
    key = msgspec.convert({**msgspec.structs.asdict(RECORD), **fields}, Key)
    assert await announcements.announce(key, "within_outage_bound") == "within_outage_bound"
    with pytest.raises(Unavailable):
        await announcements.announce_revocation(revocation())
    with pytest.raises(Unavailable):
        await announcements.read()
    assert announcements.age_ms() > 1_000_000


@pytest.mark.bound("keys.changes_in_valkey:CALL_TIMEOUT_S")
async def test_silent_valkey_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CALL_TIMEOUT_S", 0.05)
    with silent_server() as port:
        redis = Redis(f"redis://127.0.0.1:{port}", "url", timeout_s=60)
        with pytest.raises(Unavailable):
            await Announcements(redis, PEPPER, Clock(), 900).read()


async def test_forged_and_outdated_announcements_are_ignored(
    process: Process, redis: Redis
) -> None:
    now = Clock().now()
    ended = msgspec.msgpack.encode(Announcement(now - 1, revocation=revocation()))
    valid = msgspec.msgpack.encode(Announcement(now + 60, revocation=revocation()))
    genuine = seal(valid, PURPOSE, PEPPER, 2, random_bytes)
    members = [
        *(b"", b"junk", valid, genuine[:-1] + bytes([genuine[-1] ^ 1]), genuine[12:]),
        seal(ended, PURPOSE, PEPPER, 2, random_bytes),
        seal(valid, "replay:other purpose", PEPPER, 2, random_bytes),
        seal(valid, PURPOSE, Pepper({2: b"3" * 32}, 2), 2, random_bytes),
        seal(b"\x93not an announcement", PURPOSE, PEPPER, 2, random_bytes),
    ]
    await redis.call(redis.client.zadd(NAME, dict.fromkeys(members, now + 60)))
    gateway = process()
    await gateway.read()
    assert received(gateway) == []
    assert gateway.age_ms() < 60_000
    await redis.call(redis.client.zadd(NAME, {genuine: now + 60}))
    await gateway.read()
    assert revoked(gateway) == {RECORD.id}


async def test_lost_announcements_are_added_again(process: Process, redis: Redis) -> None:
    console, gateway, later = process(), process(), process()
    await console.announce_revocation(revocation())
    await gateway.read()
    await redis.call(redis.client.delete(NAME))
    await gateway.read()
    await later.read()
    assert revoked(later) == {RECORD.id}


@pytest.mark.bound("keys.changes_in_valkey:ANNOUNCEMENTS_MAX")
async def test_number_of_announcements_is_bounded(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANNOUNCEMENTS_MAX", 4)
    console, gateway = process(), process()
    for key_id in ("a" * 12, "b" * 12):
        await console.announce_revocation(revocation(key_id))
    with pytest.raises(Unavailable):
        await console.announce_revocation(revocation("c" * 12))
    await gateway.read()
    monkeypatch.setattr(module, "ANNOUNCEMENTS_MAX", 3)
    with pytest.raises(Unavailable):
        await gateway.read()


async def test_announced_revocations_are_written_once(process: Process, rows: Rows) -> None:
    active, deleted, missing = (KeyId(name * 3) for name in ("acti", "dele", "miss"))
    for key_id in (active, deleted):
        await rows.add_key(key_id)
    await rows.pool.execute(
        "UPDATE api_key SET state = 'deleted', state_before = 'active', deleted_at = now(), "
        "deleted_by = 'test' WHERE id = $1",
        deleted,
    )
    repository = KeyRepository(rows.pool, staleness_s=3)
    processes = [process(), process()]
    for key_id in (active, deleted, missing):
        await processes[0].announce_revocation(revocation(key_id))
    for each in (*processes, *processes):
        await each.read()
        await each.commit(repository)
    key = await repository.get(active)
    assert key is not None
    expected = (KeyState.REVOKED, "person:ada", "leaked", 1_900_000_000.5)
    assert (key.state, key.revoked_by, key.revoke_reason, key.revoked_at) == expected
    events = await rows.pool.fetch(
        "SELECT target_id, action, actor_id, request_id FROM audit_event "
        "WHERE target_id = ANY ($1)",
        [active, deleted, missing],
    )
    assert [tuple(event) for event in events] == [(active, "key.revoke", "ada", "req_1")]


@pytest.mark.bound("keys.repository:REVOKE_TIMEOUT_S")
async def test_commit_does_not_wait_for_a_locked_table(
    process: Process, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REVOKE_TIMEOUT_S", 0.2)
    console = process()
    await console.announce_revocation(revocation())
    async with opened(database.app) as pool, locked(database, "api_key"):
        with pytest.raises(Unavailable):
            await console.commit(KeyRepository(pool, staleness_s=3))


@pytest.mark.bound("keys.repository:REVOKE_TIMEOUT_S")
async def test_owner_can_revoke_without_the_database(
    process: Process, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator cannot, because the scopes of the key are not known."""
    monkeypatch.setattr(service, "REVOKE_TIMEOUT_S", 0.2)
    console, gateway, actor = process(), process(), Actor("person", "ada")
    async with opened(database.app) as pool, locked(database, "api_key"):
        keys = KeyService(
            KeyRepository(pool, staleness_s=3),
            *(Clock(), PEPPER, "gtk", 3.0, RECORD.environment, RateLimit("requests", 1, 1, 1)),
            announcements=console,
        )
        with pytest.raises(Forbidden):
            await keys.revoke(RECORD.id, "", actor, frozenset({Role.OPERATOR}))
        await gateway.read()
        assert revoked(gateway) == set()
        assert await keys.revoke(RECORD.id, "", actor, OWNERS) == (None, "announced")
        await gateway.read()
        assert revoked(gateway) == {RECORD.id}
        with pytest.raises(Unavailable):
            await replace(keys, announcements=None).revoke(RECORD.id, "", actor, OWNERS)
