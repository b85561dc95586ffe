"""Stores registered Cores in PostgreSQL, keeps the in-memory table of a gateway worker, and lists
Cores for the console.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import islice
from typing import Any

import msgspec

from gatehouse.core.audit_events import AuditEvent
from gatehouse.core.clock import to_datetime
from gatehouse.core.cores import (
    DEFAULT_SETTINGS,
    ENDED_OF_CORE_S,
    IMPORTED_INSTANCE,
    INSTANCES_MAX,
    REGISTERED_MAX,
    CoreName,
    CoreRecord,
    CoreSettings,
)
from gatehouse.core.errors import Conflict, CoreDrained
from gatehouse.core.keys import KeyId
from gatehouse.features.cores.reports import LIFETIME_S, Reports, WorkerReport
from gatehouse.platform.audit_log import append
from gatehouse.platform.db.pool import Connection, Pool, Row
from gatehouse.platform.db.statements import Conditions, RowMapping, count

_CORE = RowMapping(CoreRecord)

#: Columns that a registration writes.
LEASE = RowMapping(CoreRecord, skip={"draining", "version"})

#: Columns that `core_record` reads.
COLUMNS = _CORE.select

WRITE_TIMEOUT_S = 5.0

#: Time for which the database and the gateway workers keep an instance that has ended.
ENDED_S = 3600.0

#: Number of instances that a worker checks at each change.
_CHECKED = 8

# A change of a key locks the rows of the key and then takes the lock of the change trigger. Changes
# of Cores take the locks in the same order, so that they cannot deadlock. The second lock also
# makes the checks below exact.
LOCK_KEYS = (
    "SELECT family_id FROM api_key WHERE id = ANY ($1) AND state = 'active' ORDER BY id "
    "FOR KEY SHARE"
)
LOCK_CHANGES = "SELECT pg_advisory_xact_lock(7126501)"

# The rows of a Core are compared with the family, because a family can have thousands of keys.
_OF_FAMILY = "EXISTS (SELECT FROM api_key WHERE id = registered_by AND family_id = $1)"

_LIVE = "name = $2 AND NOT draining AND expires_at > $3"

_HAS_OTHER_OWNER = f"SELECT EXISTS (SELECT FROM core WHERE {_LIVE} AND NOT {_OF_FAMILY})"

_COUNT_OTHERS = f"SELECT count(*) FROM core WHERE {_LIVE} AND instance_id <> $1"

_COUNT_REGISTERED = (
    "SELECT count(*) FROM core WHERE (name, instance_id) <> ($2, $3) "
    "AND registered_by IN (SELECT id FROM api_key WHERE family_id = $1)"
)

_REMOVE_ENDED = (
    "DELETE FROM core WHERE expires_at < $1 "
    f"OR (expires_at < $2 AND name = $3 AND instance_id <> '{IMPORTED_INSTANCE}')"
)

# Two instances cannot have the same URL: the server behind the URL accepts only the secret of its
# last registration.
_REPLACE = (
    "UPDATE core SET draining = true, expires_at = LEAST(expires_at, $3) "
    f"WHERE {_LIVE} AND instance_id <> $1 AND (url = $4 OR instance_id = '{IMPORTED_INSTANCE}') "
    f"RETURNING {COLUMNS}"
)

# Ended instances keep their settings: a Core can have four times as many of them.
_SET_SETTINGS = (
    f"UPDATE core SET settings = $4 WHERE {_LIVE} AND instance_id <> $1 AND settings <> $4 "
    f"RETURNING {COLUMNS}"
)

_HAVE_SETTINGS = f"SELECT EXISTS (SELECT FROM core WHERE {_LIVE} AND settings = $1)"

_REGISTER = (
    f"{LEASE.insert('core')} ON CONFLICT (name, instance_id) DO UPDATE "
    "SET draining = false, "
    f"{', '.join(f'{column} = excluded.{column}' for column in LEASE.columns)} RETURNING {COLUMNS}"
)

_LEASE_OF_FAMILY = f"name = $2 AND lease_id = $3 AND {_OF_FAMILY}"

# A lease that has expired is not renewed: another key may have registered the name since then. A
# renewal that has waited for the database begins with its write, so that it shortens no lease.
_RENEW = (
    "UPDATE core SET url = CASE WHEN $5 = '' THEN url ELSE $5 END, "
    "registered_by = $4, lease_s = coalesce($6, lease_s), "
    "expires_at = GREATEST($7, clock_timestamp()) + make_interval(secs => coalesce($6, lease_s)) "
    "WHERE "
    f"{_LEASE_OF_FAMILY} AND NOT draining AND expires_at > $8 RETURNING {COLUMNS}"
)

_IS_DRAINED = f"SELECT EXISTS (SELECT FROM core WHERE {_LEASE_OF_FAMILY} AND draining)"

_DRAIN = (
    "UPDATE core SET expires_at = CASE WHEN draining THEN LEAST(expires_at, $4) ELSE $4 END, "
    f"draining = true WHERE {_LEASE_OF_FAMILY} RETURNING {COLUMNS}"
)

# WebSockets stay open for some time after the end of a lease.
_END = (
    "UPDATE core SET draining = true, expires_at = CASE WHEN expires_at > now() THEN $3 ELSE "
    "expires_at END WHERE name = $1 AND ($2::text IS NULL OR instance_id = $2) AND NOT draining "
    f"AND expires_at > now() - interval '{ENDED_OF_CORE_S} s' RETURNING registered_by, instance_id"
)
# The row of a worker is written by its change feed (verification/change_feed.py), and deleted when
# the worker stops.
_WRITE_REPORTS = (
    "UPDATE gateway_worker SET core_reports = $2, core_reports_at = now() WHERE id = $1"
)

#: Extends the leases that were live when a gateway worker last read the registry, if none has read
#: it for some seconds: agents could not renew them. Changes no lease again that was just extended.
EXTEND_LEASES = (
    "UPDATE core SET expires_at = clock_timestamp() + make_interval(secs => lease_s) FROM (SELECT "
    "max(seen_at) AS read_at FROM gateway_worker) AS last WHERE NOT draining AND expires_at > "
    "read_at AND expires_at < clock_timestamp() + make_interval(secs => lease_s / 2.0) AND "
    "clock_timestamp() - read_at BETWEEN make_interval(secs => $1) AND make_interval(secs => $2)"
)

_NAMES = "SELECT DISTINCT name FROM core WHERE strpos(name, $1) > 0 ORDER BY name LIMIT $2"
_OF_NAME = f"SELECT {COLUMNS} FROM core WHERE name = $1 ORDER BY draining, expires_at DESC LIMIT 1"

_REPORTS = (
    "SELECT core_reports FROM gateway_worker "
    "WHERE core_reports_at > now() - make_interval(secs => $1)"
)


def core_record(row: Row) -> CoreRecord:
    """Decodes a row. An instance whose settings only a later version knows receives no requests."""
    try:
        return _CORE.read(row)
    except msgspec.ValidationError:
        return _CORE.read({**row, "settings": "{}", "draining": True})


class CoreRegistry:
    """Instances of Cores that are known to a gateway worker. Reads are served from memory, which
    the change feed keeps current.

    Writes raise Unavailable, after which the agent retries.
    """

    def __init__(self, pool: Pool, now: Callable[[], float] = time.time) -> None:
        self._pool = pool
        #: The time until which leases are judged. It does not pass while the registry cannot be
        #: read, because agents cannot renew their leases then.
        self.now = now
        #: Instances by name and ID, in the order of their last change.
        self._cores: dict[str, dict[str, CoreRecord]] = {}
        #: Cores of the gateway itself, which are in no table.
        self._own: dict[str, CoreRecord] = {}
        #: Called after a change.
        self.on_change: Callable[[], None] = lambda: None
        self._changes = self._changes_of_all = 0
        #: Number of changes at the last change of a Core, by name.
        self._versions: dict[str, int] = {}
        #: Names and instance IDs, in the order in which they are checked for their end.
        self._to_check: OrderedDict[tuple[str, str], None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._cores)

    def __contains__(self, name: str) -> bool:
        return name in self._cores

    def __iter__(self) -> Iterator[str]:
        """The names of the Cores, and of those of the gateway itself."""
        return iter((*self._cores, *self._own))

    def serve(self, record: CoreRecord) -> None:
        """Adds a Core of the gateway itself. It takes precedence over registrations of its name, is
        not counted, and has no usage.
        """
        self._own[record.name] = record
        self._changed(record.name)

    def _changed(self, name: str) -> None:
        self._changes += 1
        self._versions[name] = self._changes

    def version(self, name: str) -> int:
        """A number that changes with the instances of a Core."""
        return self._versions.get(name, self._changes_of_all)

    def instances(self, name: str) -> tuple[CoreRecord, ...]:
        """The instances of a Core, including ended instances. Empty if the Core is unknown."""
        if name in self._own:
            return (self._own[name],)
        return tuple(self._cores.get(name, {}).values())

    def settings(self, name: str) -> CoreSettings:
        now, last = self.now(), None
        for core in reversed(self._cores.get(name, {}).values()):
            if core.is_live(now):
                return core.settings
            last = last or core.settings
        return last or DEFAULT_SETTINGS

    def find(self, name: str, instance_id: str) -> CoreRecord | None:
        return self._cores.get(name, {}).get(instance_id)

    def change(self, record: CoreRecord) -> None:
        """Applies a committed row, unless a newer version is known. Removes this instance and some
        others if they ended long ago.
        """
        instances = self._cores.setdefault(record.name, {})
        current, changed = instances.get(record.instance_id), (record.name, record.instance_id)
        if current is not None and record.version < current.version:
            return
        instances.pop(record.instance_id, None)
        instances[record.instance_id] = record
        self._to_check[changed] = None
        self._changed(record.name)
        now = self.now()
        for name, instance_id in {changed, *islice(self._to_check, _CHECKED)}:
            self._to_check.move_to_end((name, instance_id))  # so that all are checked
            instances = self._cores[name]
            core, is_last = instances[instance_id], instance_id == next(reversed(instances))
            if core.expires_at < now - (ENDED_S if is_last else ENDED_OF_CORE_S):
                del instances[instance_id], self._to_check[name, instance_id]
                self._changed(name)
                if not instances:
                    del self._cores[name], self._versions[name]
        self.on_change()

    def empty(self) -> CoreRegistry:
        return CoreRegistry(self._pool, self.now)

    def replace(self, other: CoreRegistry) -> None:
        self._cores, self._to_check = other._cores, other._to_check
        self._changes += 1
        self._changes_of_all = self._changes
        self._versions = dict.fromkeys((*self._cores, *self._own), self._changes)
        self.on_change()

    async def register(self, record: CoreRecord, *, now: float, event: AuditEvent) -> CoreRecord:
        """Registers an instance under a new lease. Ends an earlier registration of the instance or
        its URL. The settings apply to all live instances of the Core.

        Raises Conflict if a key of another family has a live lease on the name, or if the Core or
        the key has too many instances.
        """
        at = to_datetime(min(now, self.now()))
        async with self._changing(record.registered_by) as (connection, family):
            if await connection.fetchval(_HAS_OTHER_OWNER, family, record.name, at):
                raise Conflict(
                    f"Another key has a live lease on the name {record.name}; choose another name, "
                    "or wait until the lease expires.",
                    retry_after_s=record.lease_s,
                )
            ended = (to_datetime(now - ENDED_S), to_datetime(now - ENDED_OF_CORE_S))
            await connection.execute(_REMOVE_ENDED, *ended, record.name)
            registered = (family, record.name, record.instance_id)
            if await connection.fetchval(_COUNT_REGISTERED, *registered) >= REGISTERED_MAX:
                raise Conflict(
                    f"The key has registered {REGISTERED_MAX} instances. Use one of their IDs, or "
                    "wait until an hour after the lease of one of them has ended.",
                    retry_after_s=int(ENDED_S),
                )
            changed = await connection.fetch(
                _REPLACE, record.instance_id, record.name, at, record.url
            )
            if (
                await connection.fetchval(_COUNT_OTHERS, record.instance_id, record.name, at)
                >= INSTANCES_MAX
            ):
                raise Conflict(
                    f"The Core {record.name} has {INSTANCES_MAX} instances; drain an instance "
                    f"first."
                )
            values = LEASE.values(record)
            settings = values[LEASE.columns.index("settings")]
            if await connection.fetchval(_HAVE_SETTINGS, settings, record.name, at):
                details = {**event.details, "settings": "unchanged"}
                event = msgspec.structs.replace(event, details=details)
            changed += await connection.fetch(
                _SET_SETTINGS, record.instance_id, record.name, at, settings
            )
            changed.append(await connection.fetchrow(_REGISTER, *values))
            await append(connection, event)
        for row in changed:
            self.change(core_record(row))
        return core_record(changed[-1])

    async def renew(
        self,
        name: str,
        lease_id: str,
        *,
        now: float,
        lease_s: int | None,
        url: str,
        key: KeyId,
        event: AuditEvent | None,
    ) -> CoreRecord | None:
        """Extends a lease. None if the family of the key does not have this lease. `lease_s`: the
        new duration, or None for the current duration. `url`: the new URL, or an empty string for
        the current URL. Raises CoreDrained.

        `event` is None for a heartbeat, which only extends the lease.
        """
        async with self._changing(key) as (connection, family):
            lease, values = (family, name, lease_id), (key, url, lease_s, to_datetime(now))
            latest = to_datetime(self.now())  # after the wait for other changes
            row = await connection.fetchrow(_RENEW, *lease, *values, latest)
            if row is None:
                if await connection.fetchval(_IS_DRAINED, *lease):
                    raise CoreDrained
                return None
            if event is not None:
                await append(connection, event)
        return self._applied(row)

    async def drain(
        self, name: str, lease_id: str, *, until: float, key: KeyId, event: AuditEvent
    ) -> bool:
        """Marks an instance as draining. Returns False if the family of the key does not have this
        lease on the name.
        """
        async with self._changing(key) as (connection, family):
            row = await connection.fetchrow(_DRAIN, family, name, lease_id, to_datetime(until))
            if row is None:
                return False
            await append(connection, event)
        self._applied(row)
        return True

    @asynccontextmanager
    async def _changing(self, key: KeyId) -> AsyncIterator[tuple[Connection, str]]:
        """A transaction that locks the key and all changes of Cores, and the family of the key.
        Raises Conflict if the key is no longer active: the request may have waited for its body.
        """
        async with self._pool.transaction(deadline_s=WRITE_TIMEOUT_S) as connection:
            family: str | None = await connection.fetchval(LOCK_KEYS, [key])
            if family is None:
                raise Conflict("The key is no longer active.")
            await connection.execute(LOCK_CHANGES)
            yield connection, family

    def _applied(self, row: Any) -> CoreRecord:
        record = core_record(row)
        self.change(record)
        return record


class CoreRepository:
    """Reads Cores and ends registrations for the management API, and stores reports."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def page(
        self, *, after: tuple[CoreName, str] | None, size: int
    ) -> tuple[tuple[CoreRecord, ...], tuple[CoreName, str] | None]:
        """Instances, ordered by name and instance ID, and the name and instance ID of the last one,
        or None on the last page. Raises Unavailable."""
        where = Conditions()
        if after is not None:
            where.add("(name, instance_id) > ({}, {})", *after)
        select = f"SELECT {COLUMNS} FROM core"
        rows, last = await where.page(self._pool, select, "name, instance_id", size)
        cores = tuple(map(core_record, rows))
        return cores, (cores[-1].name, cores[-1].instance_id) if last else None

    async def count(self, most: int) -> int:
        """Number of instances, at most `most`."""
        return await count(self._pool, "core", Conditions(), "name", most)

    async def names(self, part: str, size: int) -> list[str]:
        """Names of Cores that contain a text."""
        rows = await self._pool.fetch(_NAMES, part.lower(), size)
        return [row["name"] for row in rows]

    async def settings(self, name: str) -> CoreSettings:
        row = await self._pool.fetchrow(_OF_NAME, name)
        return DEFAULT_SETTINGS if row is None else core_record(row).settings

    async def reports(self) -> Reports:
        """The reports of the gateway workers about instances. Raises Unavailable."""
        rows = await self._pool.fetch(_REPORTS, LIFETIME_S)
        # In a thread, because there can be thousands.
        return await asyncio.to_thread(Reports, [row["core_reports"] for row in rows])

    async def write_reports(self, worker_id: str, report: WorkerReport) -> None:
        """Replaces the report of a gateway worker about instances. Raises Unavailable."""
        encoded = msgspec.json.encode(report).decode()
        await self._pool.execute(_WRITE_REPORTS, worker_id, encoded, timeout_s=WRITE_TIMEOUT_S)

    async def end(
        self, name: CoreName, instance_id: str | None, *, until: float, event: AuditEvent
    ) -> bool:
        """Marks one instance or all instances of a Core as draining, also those whose lease has
        ended. Returns False if there is none. Raises Unavailable.
        """
        async with self._pool.transaction(deadline_s=WRITE_TIMEOUT_S) as connection:
            await connection.execute(LOCK_CHANGES)
            rows = await connection.fetch(_END, name, instance_id, to_datetime(until))
            if not rows:
                return False
            details = {
                "instance_ids": sorted(row["instance_id"] for row in rows),
                "registered_by": sorted({row["registered_by"] for row in rows}),
            }
            await append(connection, msgspec.structs.replace(event, details=details))
        return True
