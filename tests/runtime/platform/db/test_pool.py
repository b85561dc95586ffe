"""Connection pool: errors, and conditions."""

import asyncio
import time
from dataclasses import replace

import pytest
from gatehouse.core.clock import Clock
from gatehouse.core.errors import Unavailable
from gatehouse.platform.db import pool as pool_module
from gatehouse.platform.db.pool import DatabaseProbe, Pool, login
from gatehouse.platform.db.statements import Conditions

from tests.runtime.conftest import Database, opened
from tests.runtime.server_processes import suspended

CANARY = "canary-value"


async def test_error_of_a_statement_hides_its_values(database: Database) -> None:
    async with opened(database.app) as pool:
        with pytest.raises(Unavailable) as error:
            await pool.fetch("SELECT $1::text::integer", CANARY)
    assert CANARY not in f"{error.value.public} {error.value.detail}"


async def test_unreachable_server_is_named_without_the_password() -> None:
    pool = Pool(
        login("postgresql://someone:secret@127.0.0.1:1/none", "url"),
        application="tests",
        size_max=1,
    )
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1 as someone") as error:
        await pool.open()
    with pytest.raises(Unavailable):
        await DatabaseProbe(pool).check()
    assert "secret" not in str(error.value)


async def test_clock_of_a_process_follows_the_clock_of_the_server(database: Database) -> None:
    clock = Clock()
    clock.follow(time.time() - 3600, clock.monotonic())
    pool = Pool(database.app, application="tests", size_max=1, clock=clock)
    await pool.open()
    assert clock.now() == pytest.approx(time.time(), abs=600)
    await pool.close()


async def test_slow_statement_is_cancelled(database: Database) -> None:
    async with opened(replace(database.app, statement_s=1)) as pool:
        with pytest.raises(Unavailable):
            await pool.fetchval("SELECT pg_sleep(600)")
        assert await pool.fetchval("SELECT 1") == 1


async def test_change_of_a_stopped_process_ends(database: Database) -> None:
    changed = []

    async def change(pool: Pool, *others: Pool) -> None:
        async with pool.transaction() as connection:
            await connection.execute("SELECT pg_advisory_xact_lock(1)")
            for other in others:
                await change(other)
            await connection.execute("SELECT 1")
        changed.append(pool)

    stopped = replace(database.app, statement_s=2)
    async with (
        opened(stopped) as first,
        opened(database.app) as second,
        first.transaction(readonly=True) as reading,
    ):
        with pytest.raises(Unavailable):
            await change(first, second)
        assert changed == [second]
        assert await reading.fetchval("SELECT 1") == 1


async def test_transaction_ends_at_its_deadline(database: Database) -> None:

    async def sleep(pool: Pool) -> None:
        async with pool.transaction(deadline_s=0.3) as connection:
            while True:
                await connection.execute("SELECT pg_sleep(0.1)")

    async with opened(database.app) as pool, asyncio.timeout(60):
        with pytest.raises(Unavailable):
            await sleep(pool)
        async with pool.transaction(deadline_s=60) as connection:
            assert await connection.fetchval("SELECT 1") == 1


async def test_connection_to_a_read_only_server_is_replaced(database: Database) -> None:
    setting = f"ALTER DATABASE {database.name} SET default_transaction_read_only"
    async with opened(database.app, size_max=1) as pool:
        database.sql(f"{setting} = on")
        assert await pool.fetchval("SELECT 1") == 1
        database.sql(f"{setting} = off")
        with pytest.raises(Unavailable):
            await pool.execute("DELETE FROM log_level")
        assert await pool.execute("DELETE FROM log_level") == 0


async def test_silent_server_is_unavailable(silent_port: int) -> None:
    access = login(f"postgresql://app@127.0.0.1:{silent_port}/gatehouse?sslmode=disable", "url")
    pool = Pool(replace(access, connect_s=0.2), application="tests", size_max=1)
    with pytest.raises(Unavailable, match="cannot connect to PostgreSQL"):
        await pool.open()


async def test_exhausted_pool_is_unavailable(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "ACQUIRE_TIMEOUT_S", 0.05)
    pool = Pool(database.app, application="tests", size_max=1)
    async with pool.connection(timeout_s=20):  # opens the connection
        with pytest.raises(Unavailable):
            await pool.fetchval("SELECT 1")
    async with pool.connection(timeout_s=20) as connection:
        assert await connection.fetchval("SELECT 1") == 1
    await pool.close()


async def test_wait_ends_while_the_server_hangs(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "RELEASE_TIMEOUT_S", 0.1)
    async with opened(replace(database.app, statement_s=600), size_max=1) as pool:
        pid = await pool.fetchval("SELECT pg_backend_pid()")
        with suspended(pid):
            async with asyncio.timeout(60):
                with pytest.raises(Unavailable):
                    await pool.fetchval("SELECT 1", timeout_s=0.1)
                assert await pool.fetchval("SELECT 2") == 2
        assert await pool.fetchval("SELECT 1") == 1


async def test_exception_rolls_a_transaction_back(database: Database) -> None:
    async def insert_and_fail(pool: Pool) -> None:
        async with pool.transaction() as connection:
            await connection.execute(
                "INSERT INTO key_activity (key_id, last_used_at) VALUES ('x', now())"
            )
            raise ZeroDivisionError

    async with opened(database.app) as pool:
        with pytest.raises(ZeroDivisionError):
            await insert_and_fail(pool)
        assert await pool.fetchval("SELECT count(*) FROM key_activity WHERE key_id = 'x'") == 0


async def test_readiness_requires_the_schema(database: Database, empty_database: Database) -> None:
    async with opened(database.app) as pool:
        await DatabaseProbe(pool).check()
        plan = await pool.fetch(f"EXPLAIN {pool_module.READY}")
        assert "Nested Loop" not in str(plan)  # which would read each event if no gateway runs
    async with opened(empty_database.owner) as pool:
        with pytest.raises(Unavailable):
            await DatabaseProbe(pool).check()


def test_conditions_bind_values() -> None:
    where = Conditions()
    assert str(where) == ""
    where.add_equal(owner="' OR true --", name=None)
    where.add("created_at >= {} AND created_at < {}", 1, 2)
    assert str(where) == " WHERE owner = $1 AND created_at >= $2 AND created_at < $3"
    assert where.bind(10) == "$4"
    assert where.values == ["' OR true --", 1, 2, 10]


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("usage_count", "width_s = 60 AND starts_at"),
        ("delivery", "finished_at"),
        ("sharing_event", "recorded_at"),
        ("idempotent_request", "expires_at"),
    ],
)
async def test_expired_rows_are_found_by_an_index(
    database: Database, table: str, column: str
) -> None:
    async with opened(database.app) as pool, pool.connection() as connection:
        await connection.execute("SET enable_seqscan = off")
        plan = await connection.fetch(f"EXPLAIN SELECT FROM {table} WHERE {column} < now()")
    assert "Seq Scan" not in "".join(row[0] for row in plan)
