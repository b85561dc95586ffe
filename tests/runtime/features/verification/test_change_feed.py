"""Key lookups and the change feed."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from gatehouse.core.errors import Unavailable
from gatehouse.core.keys import KeyId, KeyRecord, KeyState
from gatehouse.features.cores.repository import CoreRegistry
from gatehouse.features.verification import change_feed as feeds
from gatehouse.features.verification import repository
from gatehouse.features.verification.cache import KeyCache
from gatehouse.features.verification.repository import CreditRepository, KeyLoader
from gatehouse.platform.db.migrations import runner
from gatehouse.platform.db.pool import login
from gatehouse.platform.tracing.tracer import ActiveRequest, FinishedSpan, Tracer
from gatehouse.platform.web import request_ids

from sandbox.local import servers
from tests.runtime.conftest import Database, Rows, create_database, lock_waits, locked, opened
from tests.runtime.features.verification.conftest import change_feed, confirmed
from tests.runtime.logged_requests import LoggedRequest
from tests.runtime.rows import core_row, key_row
from tests.runtime.server_processes import postgres_pids, suspended


async def test_new_key_is_found_after_a_miss(rows: Any, worker: Any) -> None:
    key_id = KeyId("later0000000")
    assert await worker.keys.find(key_id) is None
    assert worker.cache.absent(key_id)
    await rows.add_key(key_id)
    seq = await rows.pool.fetchval("SELECT change_seq FROM api_key WHERE id = $1", key_id)
    await confirmed(rows, "worker-1", seq)
    assert await worker.keys.find(key_id) is not None


@pytest.mark.parametrize("copied", [False, True], ids=["", "tables copied without the sequence"])
async def test_confirmed_revocation_is_in_effect(
    database: Database, rows: Any, worker: Any, copied: bool
) -> None:
    key_id = KeyId(f"revoked0000{copied:d}")
    await rows.add_key(key_id)
    assert (await worker.keys.find(key_id)).state is KeyState.ACTIVE
    if copied:
        database.sql("ALTER SEQUENCE change_seq RESTART")
    await confirmed(rows, "worker-1", await rows.revoke(key_id))
    assert worker.cache.find(key_id).state is KeyState.REVOKED


async def test_many_changes_are_read_together(
    rows: Any, worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "POLL_MIN_S", 1.0)
    await rows.add_key("changes00000")
    reads = list[int]()
    monkeypatch.setattr(
        worker.changes, "imported_ids", SimpleNamespace(add=lambda _, id: reads.append(id))
    )
    for _ in range(60):
        seq = await rows.pool.fetchval(
            "UPDATE api_key SET name = name WHERE id = 'changes00000' RETURNING change_seq"
        )
    await confirmed(rows, "worker-1", seq)
    assert 0 < len(reads) < 10


async def test_concurrent_lookups_share_one_query(rows: Any) -> None:
    key_id = KeyId("herd00000000")
    await rows.add_key(key_id)
    queries: list[list[str]] = []

    class CountingPool:
        async def fetch(self, statement: str, ids: list[str]) -> Any:
            queries.append(ids)
            return await rows.pool.fetch(statement, ids)

    pool: Any = CountingPool()
    keys = KeyLoader(pool, KeyCache(10), lambda: 0)
    result = await asyncio.gather(*(keys.find(key_id) for _ in range(200)))
    assert ({each and each.id for each in result}, queries) == ({key_id}, [[key_id]])


async def test_cancelled_lookup_does_not_affect_others(rows: Any, worker: Any) -> None:
    key_id = KeyId("shared000000")
    await rows.add_key(key_id)
    cancelled = asyncio.create_task(worker.keys.find(key_id))
    waiting = asyncio.create_task(worker.keys.find(key_id))
    await asyncio.sleep(0)
    cancelled.cancel()
    assert (await waiting).id == key_id


MANY = 1500
CACHED, WATCHED, MISSING = (KeyId(name * 6) for name in ("ca", "wa", "mi"))


@pytest.mark.bound("verification.change_feed:CHANGES_MAX")
async def test_rows_are_read_in_proportion_to_the_keys_of_the_worker(
    rows: Any, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed: dict[KeyId, KeyRecord | None] = {}
    keys = KeyLoader(rows.pool, cache := KeyCache(10), lambda: 0)
    changes = change_feed(
        database.app,
        rows.pool,
        "own",
        keys,
        watched_keys=lambda: [WATCHED, MISSING],
        on_key_change=changed.__setitem__,
    )
    await rows.pool.execute(
        key_row("FROM generate_series(1, $1) AS n", id="'many' || lpad(n::text, 8, '0')"), MANY
    )
    for key_id in CACHED, WATCHED:
        await rows.add_key(key_id)
    await changes.start()
    statements: list[str] = []
    assert changes._connection is not None
    changes._connection.add_query_logger(lambda query: statements.append(query.query))

    async def change_all(state: str) -> list[str]:
        """Changes all keys in one transaction. Returns the statements that read the keys."""
        assert await keys.find(CACHED) is not None
        changed.clear()
        statements.clear()
        await rows.pool.execute("UPDATE api_key SET state = $1 WHERE state <> 'revoked'", state)
        last = await rows.pool.fetchval("SELECT max(change_seq) FROM api_key")
        await confirmed(rows, "own", last)
        return [
            statement.split()[2]
            for statement in statements
            if statement.startswith(("SELECT id, version,", "SELECT id, digest,"))
        ]

    assert await change_all("disabled") == ["version,", "version,", "digest,"]
    cached = cache.find(CACHED)
    assert cached is not None
    assert cached.state is KeyState.DISABLED
    assert len(cache) == 1
    assert set(changed) == {CACHED, WATCHED}
    monkeypatch.setattr(feeds, "CHANGES_MAX", MANY)
    assert await change_all("active") == ["digest,"]
    assert len(cache) == 0
    assert changed.keys() == {WATCHED, MISSING}
    assert changed[MISSING] is None
    watched = changed[WATCHED]
    assert watched is not None
    assert watched.state is KeyState.ACTIVE
    await changes.close()


async def test_load_during_which_the_cache_is_discarded_reads_the_key_again(rows: Any) -> None:
    key_id = KeyId("reload000000")
    await rows.add_key(key_id)

    class RevokingPool:
        queries = 0

        async def fetch(self, statement: str, ids: list[str]) -> Any:
            result = await rows.pool.fetch(statement, ids)
            self.queries += 1
            if self.queries == 1:
                await rows.revoke(key_id)
                cache.clear()
            return result

    cache = KeyCache(10)
    pool: Any = RevokingPool()
    record = await KeyLoader(pool, cache, lambda: 0).find(key_id)
    assert record is not None
    assert record.state is KeyState.REVOKED
    assert pool.queries == 2


async def test_stopped_worker_removes_its_row(rows: Any, database: Any) -> None:
    changes = change_feed(database.app, rows.pool, "short")
    assert changes.age_ms() > 60_000
    await changes.start()
    assert await rows.pool.fetchval("SELECT count(*) FROM gateway_worker WHERE id = 'short'") == 1
    await changes.close()
    assert await rows.pool.fetchval("SELECT count(*) FROM gateway_worker WHERE id = 'short'") == 0


async def test_lost_connection_is_replaced_and_catches_up(rows: Any, database: Any) -> None:
    errors: list[str] = []
    keys = KeyLoader(rows.pool, cache := KeyCache(10), lambda: 0)
    changes = change_feed(database.app, rows.pool, "cut", keys, on_interrupted=errors.append)
    await changes.start()
    key_id = KeyId("cutoff000000")
    await rows.add_key(key_id)
    cache.begin_load([key_id])
    cache.end_load(key_id, await KeyLoader(rows.pool, KeyCache(10), lambda: 0).find(key_id))
    database.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = "
        "'gatehouse gateway changes';"
    )
    seq = await rows.revoke(key_id)
    await confirmed(rows, "cut", seq)
    result = cache.find(key_id)
    await changes.close()
    assert result is not None
    assert result.state is KeyState.REVOKED


async def test_row_of_a_later_version_affects_only_its_key_or_core(rows: Any, worker: Any) -> None:
    known, later = KeyId("known0000000"), KeyId("future000000")
    for key_id in (known, later):
        await rows.add_key(key_id)
        assert (await worker.keys.find(key_id)).state is KeyState.ACTIVE
    core = core_row(name="$1", registered_by="'known0000000'", settings="$2::jsonb")
    await rows.pool.execute(core, "known", "{}")
    await rows.pool.execute(core, "future", '{"error_format": "future"}')
    await rows.pool.execute("UPDATE api_key SET limits = '[{}]' WHERE id = $1", later)
    await confirmed(rows, "worker-1", await rows.revoke(known))
    states = [(await worker.keys.find(key_id)).state for key_id in (known, later)]
    assert states == [KeyState.REVOKED, KeyState.DISABLED]
    instances = [worker.cores.instances(name)[0] for name in ("known", "future")]
    assert [instance.draining for instance in instances] == [False, True]


async def test_change_is_read_again_after_an_error(rows: Any, database: Any) -> None:
    errors, watched = list[str](), list[KeyId]()

    def fails_once(key_id: KeyId, _: KeyRecord | None) -> None:
        if not errors:
            raise ValueError

    callbacks: dict[str, Any] = {"on_key_change": fails_once, "on_interrupted": errors.append}
    changes = change_feed(
        database.app, rows.pool, "again", watched_keys=lambda: watched, **callbacks
    )
    await changes.start()
    watched.append(KeyId("repeat000000"))
    await rows.add_key(watched[0])
    await confirmed(rows, "again", await rows.revoke(watched[0]))
    await changes.close()
    assert errors == ["ValueError"]


async def test_changes_of_a_restored_database_are_read(
    postgres_server: servers.Postgres, migrated_database: Database
) -> None:
    lost, restored = (create_database(postgres_server, migrated_database.name) for _ in range(2))
    kept_id, lost_id, cache = KeyId("kept00000000"), KeyId("lost00000000"), KeyCache(10)
    async with opened(restored.app) as pool:
        await Rows(pool).add_key(kept_id)
    async with opened(lost.app) as pool:
        for key_id in (kept_id, lost_id):
            await Rows(pool).add_key(key_id)
        keys = KeyLoader(pool, cache, lambda: 0)
        changes = change_feed(lost.app, pool, "own", keys)
        await changes.start()
        assert None not in [await keys.find(key_id) for key_id in (kept_id, lost_id)]
        await keys.close()
    postgres_server.sql(
        f"ALTER DATABASE {lost.name} ALLOW_CONNECTIONS false;"  # noqa: S608 - fixed names
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        f"WHERE datname = '{lost.name}';"
        f"ALTER DATABASE {lost.name} RENAME TO {lost.name}_lost;"
        f"ALTER DATABASE {restored.name} RENAME TO {lost.name};"
    )
    async with opened(lost.app) as pool:
        seq = await Rows(pool).revoke(kept_id)
        await confirmed(Rows(pool), "own", seq)
    await changes.close()
    assert len(cache) == 0


@pytest.mark.parametrize(
    ("away_s", "expected"),
    [(1, "ended"), (120, "live"), (1200, "ended")],
    ids=["other workers read the registry", "outage", "longer than the setting"],
)
async def test_leases_are_extended_by_an_outage(
    rows: Any, database: Database, away_s: int, expected: str
) -> None:
    await rows.add_key("agent0000000")
    database.sql("DELETE FROM core; DELETE FROM gateway_worker;")
    ends = {"live": away_s - 1, "ended": away_s + 1, "draining": away_s - 1, "recent": -50}
    for name, ended_s in ends.items():
        ended_at, draining = f"now() - interval '{ended_s} s'", str(name == "draining")
        core = core_row(name="$2", expires_at=ended_at, lease_s="60", draining=draining)
        await rows.pool.execute(core, "agent0000000", name)
    await rows.pool.execute(
        "INSERT INTO gateway_worker (id, confirmed_seq, seen_at) "
        "VALUES ('other', 0, now() - make_interval(secs => $1))",
        float(away_s),
    )
    cores = CoreRegistry(rows.pool)
    changes = change_feed(database.app, rows.pool, "first", cores=cores, outage_max_s=900.0)
    await changes.start()
    await changes.close()
    live = {name for name in ends for core in cores.instances(name) if core.is_live(cores.now())}
    assert live == {"recent", *({"live"} if expected == "live" else ())}
    versions = [cores.instances(name)[0].version for name in ends]
    again = change_feed(database.app, rows.pool, "second", cores=cores, outage_max_s=900.0)
    await again.start()
    await again.close()
    assert [cores.instances(name)[0].version for name in ends] == versions


async def test_start_without_schema_names_migrate(empty_database: Any) -> None:
    changes = change_feed(empty_database.app, None, "none")
    with pytest.raises(Unavailable, match="has no schema: run `gatehouse migrate` first"):
        await changes.start()


@pytest.mark.bound(
    "verification.repository:LOAD_TIMEOUT_S",
    "verification.repository:SPEND_TIMEOUT_S",
    "verification.change_feed:POLL_TIMEOUT_S",
)
async def test_hanging_database_is_unavailable() -> None:
    """Uses a separate server. The suspended server neither responds nor closes connections."""
    with servers.postgres() as server:
        app = login(server.app_url, "url")

        await runner.migrate(login(server.owner_url, "url"))
        async with opened(app) as pool:
            keys = KeyLoader(pool, KeyCache(10), lambda: 0)
            changes = change_feed(app, pool, "hung", keys)
            await changes.start()
            with suspended(*postgres_pids(server)):
                with pytest.raises(Unavailable, match="Key records are temporarily unavailable"):
                    await keys.find(KeyId("hung00000000"))
                assert changes.age_ms() > 1000
                with pytest.raises(Unavailable, match="Credits are temporarily unavailable"):
                    await CreditRepository(pool).spend(["hung00000000"], 1)
            await changes.close()


async def test_lookups_that_wait_for_a_hanging_database_end_together(
    rows: Any, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository, "LOAD_TIMEOUT_S", 0.2)
    keys, begun = KeyLoader(rows.pool, KeyCache(10), lambda: 0), list[object]()
    monkeypatch.setattr(KeyCache, "begin_load", lambda self, key_ids: begun.append(key_ids))
    number = repository.BATCH_SIZE * 10
    async with locked(database, "api_key"), asyncio.timeout(60):
        lookups = [keys.find(KeyId(f"{index:012d}")) for index in range(number)]
        results = await asyncio.gather(*lookups, return_exceptions=True)
    assert [type(result) for result in results] == [Unavailable] * number
    assert len(begun) <= repository.IN_FLIGHT_MAX


@pytest.mark.bound("verification.repository:IN_FLIGHT_MAX")
async def test_number_of_concurrent_lookups_is_bounded(
    rows: Any, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository, "LOAD_TIMEOUT_S", 60.0)
    keys, lookups = KeyLoader(rows.pool, KeyCache(10), lambda: 0), []
    async with locked(database, "api_key"), asyncio.timeout(60):
        for number in range(1, repository.IN_FLIGHT_MAX + 2):
            lookups.append(asyncio.create_task(keys.find(KeyId(f"{number:012d}"))))
            while await lock_waits(rows.pool) < min(number, repository.IN_FLIGHT_MAX):
                await asyncio.sleep(0.005)
        assert len(keys.keys._queue) == 1
    assert await asyncio.gather(*lookups) == [None] * len(lookups)


@pytest.mark.bound("verification.repository:BATCH_SIZE")
async def test_number_of_keys_in_a_lookup_is_bounded(
    database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository, "BATCH_SIZE", 2)
    spans: list[FinishedSpan] = []
    tracer = Tracer(spans.append, 100.0)
    async with opened(database.app) as pool:
        keys = KeyLoader(pool, KeyCache(10), lambda: 0)
        ActiveRequest(tracer, LoggedRequest(tracer.begin(request_ids.request_id(), None)))
        results = await asyncio.gather(*(keys.find(KeyId(f"{number:012d}")) for number in range(5)))
    assert results == [None] * 5
    statements = [str(span.attributes["db.query.text"]) for span in spans]
    assert sum(statement.startswith("SELECT id, digest, ") for statement in statements) == 3
