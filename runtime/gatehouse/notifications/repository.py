"""Webhooks and deliveries in PostgreSQL; deliveries come from the audit trail, numbered in the order of commits."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gatehouse.audit.chain import as_datetime, as_seconds
from gatehouse.audit.models import AuditEvent
from gatehouse.audit.repository import append
from gatehouse.db.engine import connected, transaction
from gatehouse.notifications.models import EVENTS, TOPIC, Delivery, Webhook

REMIND_ACTION = "key.expires_soon"


_ROWS = 500


_REMIND_MAX = 500


# One process at a time follows: the others skip the locked row and find nothing to do.
_POSITION = "SELECT seq FROM notice_position FOR UPDATE SKIP LOCKED"


_BEGIN = "INSERT INTO notice_position (seq) SELECT coalesce(max(seq), 0) FROM audit_event ON CONFLICT DO NOTHING"


_NEW = (
    "SELECT seq, occurred_at, actor_type, actor_id, action, target_id, outcome, details FROM audit_event"
    " WHERE seq > :seq ORDER BY seq LIMIT :size"
)


_ADD = (
    "INSERT INTO delivery (notice_id, target, event, body, state, next_at, created_at)"
    " VALUES (:notice_id, :target, :event, :body, 'waiting', :now, :now) ON CONFLICT DO NOTHING"
)


_CLAIM = (
    "UPDATE delivery SET attempts = attempts + 1, next_at = :until FROM (SELECT notice_id AS n, target AS t FROM delivery"
    " WHERE state = 'waiting' AND next_at <= :now ORDER BY next_at LIMIT :size FOR UPDATE SKIP LOCKED) AS due"
    " WHERE notice_id = n AND target = t RETURNING delivery.*"
)


# A key whose expiry was moved since it was told of is told of again. One that was rotated is meant to end.
_EXPIRING = (
    "SELECT id, name, owner, expires_at FROM api_key"
    " WHERE state = 'active' AND successor_id IS NULL AND expires_at > :now AND expires_at <= :soon"
    " AND expires_at - created_at >= 2 * (:soon - :now)"
    " AND NOT EXISTS (SELECT FROM key_alert WHERE key_id = id AND kind = ANY (:covered) AND raised_at = expires_at)"
    " ORDER BY expires_at LIMIT :size FOR UPDATE OF api_key SKIP LOCKED"
)


_TOLD = (
    "INSERT INTO key_alert (key_id, kind, raised_at) VALUES (:id, :kind, :expires_at)"
    " ON CONFLICT (key_id, kind) DO UPDATE SET raised_at = EXCLUDED.raised_at"
)


class PostgresNotifications:
    """`ports_notice.Outbox`, and the management of webhooks and dead letters, on the console's engine."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def remind(self, *, now: float, days: int, covered: tuple[int, ...]) -> int:
        at = as_datetime(now)
        kinds = [f"{REMIND_ACTION}:{one}" for one in covered]
        wanted = {"covered": kinds, "now": at, "soon": at + timedelta(days=days), "size": _REMIND_MAX}
        async with transaction(self._engine) as connection:
            rows = (await connection.execute(text(_EXPIRING), wanted)).all()
            for row in rows:
                await connection.execute(
                    text(_TOLD), {"id": row.id, "kind": f"{REMIND_ACTION}:{days}", "expires_at": row.expires_at}
                )
            for row in rows:
                await append(connection, _reminder(row, now, days))
        return len(rows)

    async def follow(self, *, now: float, topic: bool) -> int:
        async with transaction(self._engine) as connection:
            await connection.execute(text(_BEGIN))
            position = (await connection.execute(text(_POSITION))).scalar_one_or_none()
            if position is None:
                return 0
            rows = (await connection.execute(text(_NEW), {"seq": position, "size": _ROWS})).all()
            if not rows:
                return 0
            told = [row for row in rows if row.action in EVENTS and row.outcome == "success"]
            added = await _deliveries(connection, told, now, topic=topic) if told else []
            if added:
                await connection.execute(text(_ADD), added)
            await connection.execute(text("UPDATE notice_position SET seq = :seq"), {"seq": rows[-1].seq})
            return len(rows)

    async def claim(self, *, now: float, size: int, lease_s: float) -> tuple[Delivery, ...]:
        values = {"now": as_datetime(now), "until": as_datetime(now + lease_s), "size": size}
        async with transaction(self._engine) as connection:
            return tuple(_delivery(row) for row in await connection.execute(text(_CLAIM), values))

    async def delivered(self, delivery: Delivery, *, now: float) -> None:
        await self._settle(delivery, "state = 'delivered', finished_at = :now, problem = ''", {"now": as_datetime(now)})

    async def failed(self, delivery: Delivery, problem: str, *, now: float, retry_at: float | None) -> None:
        if retry_at is None:
            await self._settle(
                delivery, "state = 'dead', finished_at = :now, problem = :problem", {"now": as_datetime(now), "problem": problem}
            )
        else:
            await self._settle(
                delivery, "next_at = :next_at, problem = :problem", {"next_at": as_datetime(retry_at), "problem": problem}
            )

    async def deliveries(self, *, state: str, after: tuple[str, str], size: int) -> tuple[Delivery, ...]:
        """In the order of (notice, target), behind `after`."""
        query = (
            "SELECT * FROM delivery WHERE state = :state AND (notice_id, target) > (:notice_id, :target)"
            " ORDER BY notice_id, target LIMIT :size"
        )
        values = {"state": state, "notice_id": after[0], "target": after[1], "size": size}
        async with connected(self._engine) as connection:
            return tuple(_delivery(row) for row in await connection.execute(text(query), values))

    async def revive(self, notice_id: str, target: str, *, now: float, event: AuditEvent) -> bool:
        """Tries a dead letter again from the beginning; False when there is none."""
        statement = (
            "UPDATE delivery SET state = 'waiting', attempts = 0, next_at = :now, finished_at = NULL"
            " WHERE notice_id = :notice_id AND target = :target AND state = 'dead'"
        )
        async with transaction(self._engine) as connection:
            values = {"now": as_datetime(now), "notice_id": notice_id, "target": target}
            done = (await connection.execute(text(statement), values)).rowcount == 1
            if done:
                await append(connection, event)
        return done

    async def add_webhook(self, webhook: Webhook, event: AuditEvent) -> None:
        statement = (
            "INSERT INTO webhook (id, url, events, pepper_generation, created_at, created_by)"
            " VALUES (:id, :url, :events, :generation, :at, :by)"
        )
        values = {
            "id": webhook.id,
            "url": webhook.url,
            "events": list(webhook.events),
            "generation": webhook.pepper_generation,
            "at": as_datetime(webhook.created_at),
            "by": webhook.created_by,
        }
        async with transaction(self._engine) as connection:
            await connection.execute(text(statement), values)
            await append(connection, event)

    async def webhook(self, webhook_id: str) -> Webhook | None:
        async with connected(self._engine) as connection:
            row = (await connection.execute(text("SELECT * FROM webhook WHERE id = :id"), {"id": webhook_id})).one_or_none()
        return None if row is None else _webhook(row)

    async def webhooks(self) -> tuple[Webhook, ...]:
        async with connected(self._engine) as connection:
            return tuple(_webhook(row) for row in await connection.execute(text("SELECT * FROM webhook ORDER BY created_at, id")))

    async def delete_webhook(self, webhook_id: str, event: AuditEvent) -> bool:
        """With what still waits for it; False when there is none."""
        async with transaction(self._engine) as connection:
            done = (await connection.execute(text("DELETE FROM webhook WHERE id = :id"), {"id": webhook_id})).rowcount == 1
            if done:
                await connection.execute(
                    text("DELETE FROM delivery WHERE target = :id AND state <> 'delivered'"), {"id": webhook_id}
                )
                await append(connection, event)
        return done

    async def _settle(self, delivery: Delivery, change: str, values: dict[str, Any]) -> None:
        statement = f"UPDATE delivery SET {change} WHERE notice_id = :notice_id AND target = :target"  # noqa: S608 - ours
        named = {**values, "notice_id": delivery.notice_id, "target": delivery.target}
        async with transaction(self._engine) as connection:
            await connection.execute(text(statement), named)


async def _deliveries(connection: AsyncConnection, rows: list[Row[Any]], now: float, *, topic: bool) -> list[dict[str, Any]]:
    webhooks = [_webhook(row) for row in await connection.execute(text("SELECT * FROM webhook"))]
    found: list[dict[str, Any]] = []
    for row in rows:
        event = EVENTS[row.action]
        targets = [webhook.id for webhook in webhooks if not webhook.events or event in webhook.events]
        body = _body(row, event)
        shared = {"notice_id": f"msg_{row.seq:012d}", "event": event, "body": body, "now": as_datetime(now)}
        found += [{**shared, "target": target} for target in [*targets, *([TOPIC] if topic else [])]]
    return found


def _body(row: Row[Any], event: str) -> str:
    """What receivers read. `details` is the audit row's, which never holds a token or secret."""
    actor = row.actor_type if row.actor_type == row.actor_id else f"{row.actor_type}:{row.actor_id}"
    data = {"key_id": row.target_id, "by": actor, "audit_seq": row.seq, "details": row.details}
    at = row.occurred_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return json.dumps({"type": event, "timestamp": at, "data": data}, ensure_ascii=False, sort_keys=True)


def _reminder(row: Row[Any], now: float, days: int) -> AuditEvent:
    return AuditEvent(
        occurred_at=now,
        actor_type="system",
        actor_id="reminder",
        action=REMIND_ACTION,
        target_type="key",
        target_id=row.id,
        outcome="success",
        request_id="",
        source_address="",
        details={"name": row.name, "owner": row.owner, "expires_at": as_seconds(row.expires_at), "within_days": days},
    )


def _webhook(row: Row[Any]) -> Webhook:
    return Webhook(row.id, row.url, tuple(row.events), row.pepper_generation, as_seconds(row.created_at), row.created_by)


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(
        notice_id=row.notice_id,
        target=row.target,
        event=row.event,
        body=row.body,
        state=row.state,
        attempts=row.attempts,
        next_at=as_seconds(row.next_at),
        created_at=as_seconds(row.created_at),
        problem=row.problem,
    )
