"""Sessions of the console in PostgreSQL, on the console's engine; knows digests alone, never a cookie."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncEngine

from gatehouse.audit.chain import as_datetime, as_seconds
from gatehouse.audit.models import AuditEvent
from gatehouse.audit.repository import append
from gatehouse.db.engine import connected, transaction
from gatehouse.identity.models import Session

_ADD = (
    "INSERT INTO console_session (id, digest, actor_type, actor_id, roles, bond, created_at, proven_at, seen_at, ends_at,"
    " source_address, user_agent) VALUES (:id, :digest, :actor_type, :actor_id, :roles, :bond, :created_at, :proven_at, :seen_at,"
    " :ends_at, :source_address, :user_agent)"
)


_OLDEST = (
    "DELETE FROM console_session WHERE id IN (SELECT id FROM console_session WHERE actor_type = :actor_type"
    " AND actor_id = :actor_id ORDER BY created_at DESC, id OFFSET :keep)"
)


_OF = "SELECT * FROM console_session WHERE actor_type = :type AND actor_id = :id ORDER BY created_at DESC, id"


_INSTANTS = ("created_at", "proven_at", "seen_at", "ends_at")


class PostgresSessions:
    """`ports_session.SessionStore` on the table `console_session`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def add(self, session: Session, digest: bytes, *, keep: int, replaces: str | None, event: AuditEvent) -> None:
        values: dict[str, Any] = {name: getattr(session, name) for name in session.__struct_fields__}
        values |= {name: as_datetime(values[name]) for name in _INSTANTS}
        values |= {"digest": digest, "roles": list(session.roles)}
        async with transaction(self._engine) as connection:
            if replaces is not None:
                await connection.execute(text("DELETE FROM console_session WHERE id = :id"), {"id": replaces})
            await connection.execute(text(_ADD), values)
            bound = {"actor_type": session.actor_type, "actor_id": session.actor_id, "keep": keep}
            await connection.execute(text(_OLDEST), bound)
            await append(connection, event)

    async def find(self, digests: list[bytes]) -> Session | None:
        async with connected(self._engine) as connection:
            found = await connection.execute(
                text("SELECT * FROM console_session WHERE digest = ANY (:digests)"), {"digests": digests}
            )
            row = found.one_or_none()
        return None if row is None else _session(row)

    async def touch(self, session_id: str, *, seen_at: float) -> None:
        statement = "UPDATE console_session SET seen_at = greatest(seen_at, :seen_at) WHERE id = :id"
        async with transaction(self._engine) as connection:
            await connection.execute(text(statement), {"id": session_id, "seen_at": as_datetime(seen_at)})

    async def of(self, actor_type: str, actor_id: str) -> tuple[Session, ...]:
        async with connected(self._engine) as connection:
            return tuple(_session(row) for row in await connection.execute(text(_OF), {"type": actor_type, "id": actor_id}))

    async def end(self, session_id: str, *, actor: tuple[str, str] | None, event: AuditEvent) -> bool:
        condition, values = _whose(actor)
        statement = f"DELETE FROM console_session WHERE id = :id AND {condition}"  # noqa: S608 - ours
        async with transaction(self._engine) as connection:
            done = (await connection.execute(text(statement), {"id": session_id, **values})).rowcount == 1
            if done:
                await append(connection, event)
        return done

    async def end_all(self, *, actor: tuple[str, str] | None, event: AuditEvent) -> int:
        condition, values = _whose(actor)
        async with transaction(self._engine) as connection:
            ended = await connection.execute(text(f"DELETE FROM console_session WHERE {condition}"), values)  # noqa: S608 - ours
            await append(connection, event)
        return int(ended.rowcount)

    async def prune(self, *, seen_before: float, now: float) -> int:
        values = {"seen": as_datetime(seen_before), "now": as_datetime(now)}
        async with transaction(self._engine) as connection:
            gone = await connection.execute(text("DELETE FROM console_session WHERE ends_at <= :now OR seen_at <= :seen"), values)
        return int(gone.rowcount)


def _whose(actor: tuple[str, str] | None) -> tuple[str, dict[str, str]]:
    if actor is None:
        return "true", {}
    return "actor_type = :actor_type AND actor_id = :actor_id", {"actor_type": actor[0], "actor_id": actor[1]}


def _session(row: Row[Any]) -> Session:
    return Session(
        id=row.id,
        actor_type=row.actor_type,
        actor_id=row.actor_id,
        roles=tuple(row.roles),
        bond=bytes(row.bond),
        created_at=as_seconds(row.created_at),
        proven_at=as_seconds(row.proven_at),
        seen_at=as_seconds(row.seen_at),
        ends_at=as_seconds(row.ends_at),
        source_address=row.source_address,
        user_agent=row.user_agent,
    )
