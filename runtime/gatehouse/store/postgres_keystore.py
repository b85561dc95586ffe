"""Management of keys in PostgreSQL: every write and its audit row in one transaction; the gate's fast read path is elsewhere."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gatehouse.core.auditchain import as_datetime, as_seconds
from gatehouse.errors import Conflict, Unavailable
from gatehouse.store.ports import Page, StoredKey
from gatehouse.store.postgres_audit import append
from gatehouse.store.postgres_engine import connected, transaction
from gatehouse.store.postgres_tables import api_key, gate_worker
from gatehouse.types import AuditEvent, KeyEnvironment, KeyId, KeyRecord, KeyState, Limit

CONFIRMED_CHANNEL = "gatehouse_confirmed"
#: A notification may be lost with its connection; the table is looked at this often besides.
_CONFIRM_POLL_S = 0.25
EXPIRED = "expired"


class PostgresKeyStore:
    """`ports.KeyStore` on the table `api_key`."""

    def __init__(self, engine: AsyncEngine, *, staleness_s: float) -> None:
        """`staleness_s`: how old a gate worker's picture may get before it refuses by itself (GATEHOUSE_STALENESS_MS_MAX)."""
        self._engine = engine
        self._live_s = 2 * staleness_s

    async def add(self, key: StoredKey, event: AuditEvent) -> None:
        """Raises Conflict when the id exists, Unavailable."""
        try:
            async with transaction(self._engine) as connection:
                await connection.execute(insert(api_key).values(**_values(key)))
                await append(connection, event)
        except Unavailable as exc:
            if isinstance(exc.__cause__, IntegrityError):
                raise Conflict("There is a key with this id already") from exc
            raise

    async def get(self, key_id: KeyId) -> StoredKey | None:
        async with connected(self._engine) as connection:
            row = (await connection.execute(select(api_key).where(api_key.c.id == key_id))).one_or_none()
        return None if row is None else _stored(row)

    async def page(self, *, after: KeyId | None, size: int, owner: str | None, state: str | None) -> Page:
        """Keys by ascending id. `state`: one of KeyState, or `expired` (active, but past its date; `active` leaves those out)."""
        query = select(api_key).order_by(api_key.c.id).limit(size + 1)
        if after is not None:
            query = query.where(api_key.c.id > after)
        if owner is not None:
            query = query.where(api_key.c.owner == owner)
        if state is not None:
            query = query.where(*_in_state(state))
        async with connected(self._engine) as connection:
            keys = [_stored(row) for row in await connection.execute(query)]
        return Page(keys=tuple(keys[:size]), next_after=keys[size - 1].record.id if len(keys) > size else None)

    async def revoke(self, key_id: KeyId, *, at: float, by: str, reason: str, event: AuditEvent) -> tuple[StoredKey, int] | None:
        """The revoked key and its change number; None when unknown. A key that is revoked already stays as it is: no new row."""
        change = (
            update(api_key)
            .where(api_key.c.id == key_id, api_key.c.state != KeyState.REVOKED.value)
            .values(state=KeyState.REVOKED.value, revoked_at=as_datetime(at), revoked_by=by, revoke_reason=reason)
            .returning(api_key)
        )
        async with transaction(self._engine) as connection:
            row = (await connection.execute(change)).one_or_none()
            if row is not None:
                await append(connection, event)
            else:
                row = (await connection.execute(select(api_key).where(api_key.c.id == key_id))).one_or_none()
        return None if row is None else (_stored(row), row.change_seq)

    async def confirmed_everywhere(self, change_seq: int, *, timeout_s: float) -> bool:
        """True once no live gate worker lags behind the change. Never raises: whoever cannot look cannot confirm."""
        news = asyncio.Event()

        def heard(*_: object) -> None:
            news.set()

        try:
            # Timeout: the caller's. Failure side: closed, the answer is then "not yet everywhere".
            async with asyncio.timeout(timeout_s), connected(self._engine) as connection:
                driver: Any = (await connection.get_raw_connection()).driver_connection
                await driver.add_listener(CONFIRMED_CHANNEL, heard)
                try:
                    return await self._until_confirmed(connection, change_seq, news)
                finally:
                    await driver.remove_listener(CONFIRMED_CHANNEL, heard)
        except (TimeoutError, Unavailable):
            return False

    async def _until_confirmed(self, connection: AsyncConnection, change_seq: int, news: asyncio.Event) -> bool:
        live_since = func.now() - timedelta(seconds=self._live_s)
        lagging = select(func.count()).select_from(gate_worker)
        lagging = lagging.where(gate_worker.c.seen_at > live_since, gate_worker.c.confirmed_seq < change_seq)
        while True:
            news.clear()
            count = (await connection.execute(lagging)).scalar_one()
            await connection.commit()  # now() and the snapshot belong to a transaction: the next look needs a new one
            if count == 0:
                return True
            try:
                await asyncio.wait_for(news.wait(), _CONFIRM_POLL_S)
            except TimeoutError:
                continue


def _in_state(state: str) -> list[ColumnElement[bool]]:
    expired = api_key.c.expires_at <= func.now()
    if state == EXPIRED:
        return [api_key.c.state == KeyState.ACTIVE.value, expired]
    if state == KeyState.ACTIVE.value:
        return [api_key.c.state == state, (api_key.c.expires_at.is_(None)) | (~expired)]
    return [api_key.c.state == state]


def _values(key: StoredKey) -> dict[str, Any]:
    record = key.record
    return {
        "id": record.id,
        "digest": record.digest,
        "pepper_generation": record.pepper_generation,
        "environment": record.environment.value,
        "state": record.state.value,
        "name": record.name,
        "owner": record.owner,
        "scopes": list(record.scopes),
        "cores": list(record.cores),
        "limits": [
            {"name": limit.name, "quota": limit.quota, "window_s": limit.window_s, "burst": limit.burst}
            for limit in record.limits
        ],
        "expires_at": None if record.expires_at is None else as_datetime(record.expires_at),
        "created_at": as_datetime(key.created_at),
        "created_by": key.created_by,
    }


def _stored(row: Row[Any]) -> StoredKey:
    record = KeyRecord(
        id=KeyId(row.id),
        digest=bytes(row.digest),
        pepper_generation=row.pepper_generation,
        environment=KeyEnvironment(row.environment),
        state=KeyState(row.state),
        name=row.name,
        owner=row.owner,
        scopes=tuple(row.scopes),
        cores=tuple(row.cores),
        limits=tuple(Limit(**limit) for limit in row.limits),
        expires_at=None if row.expires_at is None else as_seconds(row.expires_at),
        version=row.version,
    )
    return StoredKey(
        record=record,
        created_at=as_seconds(row.created_at),
        created_by=row.created_by,
        revoked_at=None if row.revoked_at is None else as_seconds(row.revoked_at),
        revoked_by=row.revoked_by,
        revoke_reason=row.revoke_reason,
    )
