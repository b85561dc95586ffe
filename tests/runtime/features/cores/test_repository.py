"""The Cores in the memory of a gateway worker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from gatehouse.core.actor import Actor
from gatehouse.core.audit_events import AuditAction
from gatehouse.core.clock import Clock
from gatehouse.core.cores import ECHO, IMPORTED_INSTANCE, CoreName, CoreRecord, CoreSettings
from gatehouse.core.errors import (
    BadRequest,
    CoreNotRegistered,
    GatehouseError,
    NotFound,
    Unavailable,
)
from gatehouse.core.keys import Key, KeyEnvironment, KeyId
from gatehouse.core.tokens.token import Pepper
from gatehouse.features.cores.repository import COLUMNS, ENDED_S, CoreRegistry, core_record
from gatehouse.features.cores.schemas import LeaseRequest
from gatehouse.features.cores.service import RegistrationService, live_instances
from gatehouse.features.keys.repository import KeyRepository
from gatehouse.features.transfer.repository import ImportRepository
from gatehouse.platform.db.pool import Connection, Pool
from gatehouse.platform.resolver import SystemResolver

from tests.runtime.conftest import Database, Rows, lock_waits
from tests.runtime.core_records import instance
from tests.runtime.key_records import RECORD
from tests.runtime.rows import core_row

NOW = 1_800_000_000.0


def test_ended_cores_are_removed_in_turn_as_others_change() -> None:
    pool: Any = None
    clock = [NOW]
    cores = CoreRegistry(pool, now=lambda: clock[0])

    def change(name: str, expires_at: float) -> CoreRecord:
        fields = {"name": CoreName(name), "expires_at": expires_at}
        record = msgspec.structs.replace(instance("a"), **fields)
        cores.change(record)
        return record

    long = change("long", NOW + 7 * 86_400)
    for number in range(1000):
        change(f"short{number}", NOW + 10)
    assert len(cores) == 1001
    clock[0] += 10 + ENDED_S + 1
    for _ in range(502):
        live = change("live", clock[0] + 60)
    assert [cores.instances(name) for name in ("long", "live")] == [(long,), (live,)]
    assert len(cores) == 2
    change("live", clock[0] - ENDED_S - 1)
    assert "live" not in cores


def test_few_ended_instances_are_kept() -> None:
    pool: Any = None
    clock = [NOW]
    cores = CoreRegistry(pool, now=lambda: clock[0])
    for number in range(1, 1001):
        clock[0] += 10
        settings = {"settings": CoreSettings(idle_timeout_s=number), "expires_at": clock[0] + 5}
        cores.change(msgspec.structs.replace(instance(f"i{number}"), **settings))
    clock[0] += 10
    assert cores.settings("docs").idle_timeout_s == 1000
    assert len(cores.instances("docs")) < 100


async def test_instances_share_their_settings_in_memory(module_pool: Pool, rows: Rows) -> None:
    await rows.add_key("sharing00001")
    read = await module_pool.fetch(
        core_row(
            f"FROM generate_series(1, 2) AS n RETURNING {COLUMNS}",
            instance_id="'i' || n",
            registered_by="'sharing00001'",
            settings="""'{"remove_headers": ["x-a"]}'""",
        )
    )
    first, second = (core_record(row).settings for row in read)
    assert first.remove_headers == ("x-a",)
    assert first is second


class CountingPool(Pool):
    rows = 1_000_000

    @asynccontextmanager
    async def transaction(self, **options: Any) -> AsyncIterator[Connection]:
        async with super().transaction(**options) as connection:
            yield connection
            self.rows = await connection.fetchval(
                "SELECT pg_stat_get_xact_tuples_returned(table_) + "
                "pg_stat_get_xact_tuples_fetched(table_) "
                "FROM (SELECT 'core'::regclass) AS t (table_)"
            )


async def test_registration_reads_few_instances_of_other_keys(
    database: Database, rows: Rows
) -> None:
    for number in range(10):
        await rows.add_key(f"agent{number:07d}")
    database.sql(
        core_row(
            "FROM generate_series(1, 10000) AS n; ANALYZE core;",
            **{"name": "'core' || n % 100", "instance_id": "'i' || n", "draining": "true"},
            registered_by="'agent000000' || n % 10",
        )
    )
    pool = CountingPool(database.app, application="tests", size_max=1)
    agent, now = Actor("key", "agent0000000"), Clock().now()
    event = agent.event(AuditAction.CORE_REGISTER, target_id="few", at=now, details={})
    record = msgspec.structs.replace(
        instance("a"), name=CoreName("few"), registered_by=KeyId(agent.id), expires_at=now + 60
    )
    await CoreRegistry(pool).register(record, now=now, event=event)
    await pool.close()
    await rows.pool.execute("DELETE FROM core")
    assert pool.rows < 1000 + 100  # those of the key


async def test_renewal_that_has_waited_shortens_no_lease(module_pool: Pool, rows: Rows) -> None:
    await rows.add_key("renewing0001")
    cores, agent, now = CoreRegistry(module_pool), Actor("key", "renewing0001"), Clock().now()
    event = agent.event(AuditAction.CORE_REGISTER, target_id="late", at=now, details={})
    fields = {"name": CoreName("late"), "registered_by": KeyId(agent.id), "expires_at": now + 60}
    record = msgspec.structs.replace(instance("a"), **fields)
    lease = await cores.register(record, now=now, event=event)
    key, sent_at = KeyId(agent.id), now - 30
    renewed = await cores.renew(
        "late", lease.lease_id, now=sent_at, lease_s=60, url="", key=key, event=None
    )
    assert renewed is not None
    assert renewed.expires_at >= lease.expires_at
    await module_pool.execute("DELETE FROM core")


@pytest.mark.parametrize(
    ("key_id", "locks", "changes"),
    [
        ("import000001", core_row(), "SELECT $1::text"),
        (
            "import000002",
            "SELECT FROM api_key WHERE id = $1 FOR UPDATE",
            "UPDATE api_key SET state = 'disabled' WHERE id = $1",
        ),
    ],
)
async def test_import_waits_for_registrations_and_changes_of_keys(
    module_pool: Pool, rows: Rows, key_id: str, locks: str, changes: str
) -> None:
    await module_pool.execute("DELETE FROM core")
    await rows.add_key(key_id)
    imports = ImportRepository(module_pool, KeyRepository(module_pool, staleness_s=3))
    event = Actor("system", "a").event(AuditAction.CORE_IMPORT, target_id="a", at=NOW, details={})
    record = msgspec.structs.replace(
        instance(IMPORTED_INSTANCE), registered_by=KeyId(key_id), expires_at=NOW + 60
    )
    fields = msgspec.structs.asdict(RECORD) | {"id": KeyId(f"new{key_id[3:]}")}
    new = Key(**fields, created_at=NOW, created_by="a")
    async with module_pool.transaction() as connection, asyncio.timeout(60):
        await connection.execute(locks, key_id)
        write = asyncio.create_task(imports.write([new, record], event, {}, {}))
        while not await lock_waits(module_pool):
            await asyncio.sleep(0.001)
        await connection.execute(changes, key_id)
    assert await write == 1  # the key


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({}, None),
        ({"pepper_generation": 2}, CoreNotRegistered),
        ({"environment": KeyEnvironment.LIVE}, NotFound),
        ({"expires_at": NOW}, CoreNotRegistered),
        ({"draining": True}, CoreNotRegistered),
    ],
)
def test_instance_that_can_receive_requests_is_live(
    fields: dict[str, Any], error: type[GatehouseError] | None
) -> None:
    record = msgspec.structs.replace(instance("a"), **fields)
    parts: Any = KeyEnvironment.TEST, Pepper({1: bytes(32)}, 1)
    if error is None:
        assert live_instances([record], *parts, now=NOW) == [record]
        return
    with pytest.raises(error):
        live_instances([record], *parts, now=NOW)


@pytest.mark.parametrize("name", ["", "Docs", "-docs", "a" * 41, "docs/x", ECHO])
async def test_invalid_or_own_name_is_not_registered(name: str) -> None:
    parts: Any = None
    service = RegistrationService(parts, parts, Clock(), parts, KeyEnvironment.TEST, ())
    with pytest.raises(BadRequest):
        await service.register(Actor("key", "a"), name, LeaseRequest(url="https://core.test"))


async def test_name_that_cannot_be_looked_up_is_unavailable() -> None:

    class Resolver(SystemResolver):
        async def addresses(
            self, host: str, port: int, subject: str = ""
        ) -> tuple[str, ...] | None:
            return None

    class Cores:
        def instances(self, _: str) -> list[CoreRecord]:
            return [msgspec.structs.replace(instance("a"), url="https://silent.test", expires_at=9)]

        async def renew(self, *_: Any, **changes: Any) -> CoreRecord:
            assert changes["event"] is None
            return self.instances("")[0]

    parts: Any = Cores()
    service = RegistrationService(parts, Resolver(), Clock(), parts, KeyEnvironment.TEST, ())
    agent, request = Actor("key", "a"), LeaseRequest(url="https://silent.test")
    with pytest.raises(Unavailable, match="cannot be looked up"):
        await service.register(agent, "docs", request)
    (current,) = parts.instances("")
    request = LeaseRequest(url="HTTPS://silent.test:443/")
    lease = await service.renew(agent, "docs", current.lease_id, request)  # no lookup
    assert lease.url == current.url
