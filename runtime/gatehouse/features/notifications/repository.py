"""Stores webhooks and deliveries in PostgreSQL. Deliveries are derived from the rows of the audit
trail, in order.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from datetime import timedelta
from typing import Any

from msgspec.structs import replace

from gatehouse.core.actor import Actor
from gatehouse.core.audit_events import AuditAction, AuditEvent, Details
from gatehouse.core.clock import rfc3339, to_datetime, to_seconds
from gatehouse.core.errors import Conflict
from gatehouse.features.keys.conditions import EXPIRES_AT, usable
from gatehouse.features.notifications.emails import Holder
from gatehouse.features.notifications.models import (
    EMAIL,
    EVENTS,
    TOPIC,
    Delivery,
    NotificationEvent,
    Webhook,
)
from gatehouse.platform.audit_log import append, append_all
from gatehouse.platform.db.pool import Pool, Row, row_count
from gatehouse.platform.db.statements import Conditions, RowMapping, count, placeholders, prune

#: Maximum number of reminders, or of deliveries of several audit rows, per transaction.
BATCH_ROWS = 500

#: Maximum number of webhooks. Each of them takes a row for each event.
WEBHOOKS_MAX = 100

_DELIVERY = RowMapping(Delivery)

_WEBHOOK = RowMapping(Webhook)
_ALL = "webhook ORDER BY created_at, id"

_HOLDER = RowMapping(Holder)

# Only one process at a time follows the trail. Other processes skip the locked row.
_POSITION = "SELECT seq FROM notification_position FOR UPDATE SKIP LOCKED"

_START = (
    "INSERT INTO notification_position (seq) SELECT coalesce(max(seq), 0) FROM audit_event "
    "ON CONFLICT DO NOTHING"
)

#: The contact of a key, or of its customer.
_CONTACT = (
    "coalesce(nullif(api_key.contact, ''), customer.contact) AS contact "
    "FROM api_key LEFT JOIN customer ON customer.id = customer_id"
)

_NEW = (
    "SELECT seq, occurred_at, actor_type, actor_id, action, target_id, outcome, details, hash, "
    f"CASE target_type WHEN 'key' THEN (SELECT {_CONTACT} WHERE api_key.id = target_id) "
    # E-mails have texts for events of keys only.
    "WHEN 'customer' THEN (SELECT contact FROM customer WHERE id = target_id "
    "AND strpos(contact, '@') = 0) END AS contact "
    "FROM audit_event WHERE seq > $1 ORDER BY seq LIMIT $2"
)

_ADD = (
    "INSERT INTO delivery (notification_id, target, event, body, state, next_at, created_at) "
    "VALUES ($1, $2, $3, $4, 'waiting', $5, $5) ON CONFLICT DO NOTHING"
)

_DUE = (
    "SELECT notification_id AS n, target AS t FROM delivery WHERE target = id AND state = "
    "'waiting' AND next_at <= $1 ORDER BY next_at LIMIT $4 FOR UPDATE SKIP LOCKED"
)
_CLAIM = (
    "UPDATE delivery SET attempts = attempts + 1, next_at = $2 FROM "
    f"(SELECT n, t FROM (SELECT id FROM webhook UNION VALUES ('{TOPIC}'), ('{EMAIL}')) AS targets "
    f"CROSS JOIN LATERAL ({_DUE}) AS due WHERE id <> ALL ($3)) AS claimed "
    f"WHERE notification_id = n AND target = t RETURNING {_DELIVERY.select}"
)

_ATTEMPTED = (
    "UPDATE delivery SET state = $3, problem = $4, finished_at = $5, "
    "next_at = coalesce($6, next_at) WHERE notification_id = $1 AND target = $2"
)

_REQUEUE = (
    "UPDATE delivery SET state = 'waiting', attempts = 0, next_at = $3, finished_at = NULL "
    "WHERE notification_id = $1 AND target = $2 AND state <> 'waiting'"
)

# If the expiry changes after a reminder, another reminder is sent. Rotated keys are excluded unless
# they are still in use, because they are meant to expire.
_EXPIRING = (
    "SELECT id, name, customer_id, expires_at FROM api_key "
    f"WHERE {usable('$1')} AND {EXPIRES_AT} <= $2 AND (successor_id IS NULL OR EXISTS "
    "(SELECT FROM key_activity WHERE key_id = id AND last_used_at > rotated_at)) "
    "AND expires_at - coalesce(rotated_at, created_at) >= "
    "2 * ($2::timestamptz - $1::timestamptz) AND NOT EXISTS "
    "(SELECT FROM key_alert WHERE key_id = id AND kind = ANY ($3) AND raised_at = expires_at) "
    "ORDER BY expires_at LIMIT $4 FOR UPDATE OF api_key SKIP LOCKED"
)

_REMINDED = (
    "INSERT INTO key_alert (key_id, kind, raised_at) VALUES ($1, $2, $3) "
    "ON CONFLICT (key_id, kind) DO UPDATE SET raised_at = EXCLUDED.raised_at"
)


# Once between two refills: a refill changes `refilled_at`.
_USED_UP = (
    "SELECT customer.id, family_id, refilled_at FROM key_credit "
    "JOIN customer ON customer.id = substr(family_id, 2) WHERE starts_with(family_id, '@') "
    "AND remaining = 0 AND state = 'active' AND NOT EXISTS (SELECT FROM key_alert "
    "WHERE key_id = family_id AND kind = $1 AND raised_at = refilled_at) "
    "ORDER BY customer.id LIMIT $2 FOR UPDATE OF customer SKIP LOCKED"
)


class NotificationRepository:
    """Methods raise Unavailable. A change and its audit event are stored in one transaction."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def remind(self, *, now: float, days: int, covered: tuple[int, ...]) -> int:
        """Append key.expires_soon for active keys that expire within `days`, once for each
        combination of key, expiry and `days`.

        Excludes keys with a reminder for one of the days in `covered`, and keys whose lifetime or
        grace period is shorter than twice `days`. Returns the number of keys.
        """
        action, start = AuditAction.KEY_EXPIRES_SOON, to_datetime(now)
        kinds = [f"{action}:{number}" for number in covered]
        async with self._pool.transaction() as connection:
            rows = await connection.fetch(
                _EXPIRING, start, start + timedelta(days=days), kinds, BATCH_ROWS
            )
            await connection.executemany(
                _REMINDED, [(row["id"], f"{action}:{days}", row["expires_at"]) for row in rows]
            )
            await append_all(connection, (_reminder(row, now, days) for row in rows))
        return len(rows)

    async def report_credits(self, *, now: float) -> int:
        """Append customer.credits_used_up for customers without shared credits, once between two
        refills. Returns the number of customers.
        """
        action = AuditAction.CUSTOMER_CREDITS_USED_UP
        async with self._pool.transaction() as connection:
            rows = await connection.fetch(_USED_UP, action, BATCH_ROWS)
            alerts = [(row["family_id"], action, row["refilled_at"]) for row in rows]
            await connection.executemany(_REMINDED, alerts)
            actor = Actor("system", "reminder")
            events = [actor.event(action, target_id=row["id"], at=now, details={}) for row in rows]
            await append_all(connection, events)
        return len(rows)

    async def follow(self, *, now: float, services: Collection[str] = ()) -> int:
        """Create deliveries for new audit rows, to webhooks and to the configured ones of TOPIC and
        EMAIL. Returns the number of rows that were read."""
        async with self._pool.transaction() as connection:
            await connection.execute(_START)
            position = await connection.fetchval(_POSITION)
            if position is None:
                return 0
            webhooks = await _WEBHOOK.all(connection, _ALL)
            size = max(BATCH_ROWS // (len(webhooks) + 1), 1)
            rows = await connection.fetch(_NEW, position, size)
            if not rows:
                return 0
            if deliveries := _deliveries(webhooks, rows, now, services):
                await connection.executemany(_ADD, deliveries)
            await connection.execute("UPDATE notification_position SET seq = $1", rows[-1]["seq"])
            return len(rows)

    async def claim(
        self, *, now: float, each: int, busy: Collection[str], lease_s: float
    ) -> tuple[Delivery, ...]:
        """Deliveries that are due, each reserved for one caller for `lease_s` seconds. `attempts`
        includes this attempt. each: maximum number for a target. busy: targets that are left out.
        """
        times = to_datetime(now), to_datetime(now + lease_s)
        rows = await self._pool.fetch(_CLAIM, *times, list(busy), each)
        return tuple(_DELIVERY.read(row) for row in rows)

    async def attempted(
        self, delivery: Delivery, problem: str, *, now: float, retry_at: float | None
    ) -> None:
        """Record an attempt. `problem`: reason for which it failed; empty if it succeeded.
        `retry_at`: time of the next attempt. None: there is none.
        """
        values: tuple[Any, ...] = ("waiting", problem, None, to_datetime(retry_at or now))
        if retry_at is None:
            values = ("dead" if problem else "delivered", problem, to_datetime(now), None)
        key = delivery.notification_id, delivery.target
        await self._pool.execute(_ATTEMPTED, *key, *values)

    async def page(
        self, *, state: str | None, after: tuple[str, str] | None, size: int
    ) -> tuple[list[Delivery], tuple[str, str] | None]:
        """Deliveries after the position `after`, newest first, and the position of the last one, or
        None on the last page. state: None for all states.
        """
        where = Conditions()
        where.add_equal(state=state)
        if after is not None:
            where.add("(notification_id, target) < ({}, {})", *after)
        select, order = (
            f"SELECT {_DELIVERY.select} FROM delivery",
            "notification_id DESC, target DESC",
        )
        rows, last = await where.page(self._pool, select, order, size)
        found = [_DELIVERY.read(row) for row in rows]
        return found, (found[-1].notification_id, found[-1].target) if last else None

    async def count(self, state: str | None, most: int) -> int:
        """Number of deliveries, at most `most`. state: None for all states."""
        where = Conditions()
        where.add_equal(state=state)
        return await count(self._pool, "delivery", where, "notification_id", most)

    async def requeue(
        self, notification_id: str, target: str, *, now: float, event: AuditEvent
    ) -> bool:
        """Queue a delivery again and reset the number of attempts. Returns False if it does not
        exist or is already queued.
        """
        async with self._pool.transaction() as connection:
            status = await connection.execute(_REQUEUE, notification_id, target, to_datetime(now))
            if requeued := row_count(status) == 1:
                await append(connection, event)
        return requeued

    async def prune(self, *, finished_before: float) -> int:
        before = to_datetime(finished_before)
        return await prune(self._pool, "delivery", "finished_at", before=before)

    async def add_webhook(self, webhook: Webhook, event: AuditEvent) -> None:
        async with self._pool.transaction() as connection:
            await connection.execute(_WEBHOOK.insert("webhook"), *_WEBHOOK.values(webhook))
            await append(connection, event)  # others wait, so that the number is exact
            if await connection.fetchval("SELECT count(*) FROM webhook") > WEBHOOKS_MAX:
                raise Conflict(f"There are {WEBHOOKS_MAX} webhooks. Delete one first.")

    async def change_webhook(
        self, webhook_id: str, change: Callable[[Webhook], tuple[Webhook, AuditEvent]]
    ) -> Webhook | None:
        """Lock a webhook and write the change. None if the webhook does not exist."""
        columns = _WEBHOOK.columns
        update = f"UPDATE webhook SET ({_WEBHOOK.select}) = ({placeholders(len(columns))}) "
        async with self._pool.transaction() as connection:
            lock = "webhook WHERE id = $1 FOR UPDATE"
            if (current := await _WEBHOOK.first(connection, lock, webhook_id)) is None:
                return None
            webhook, event = change(current)
            webhook = replace(webhook, version=webhook.version + 1)
            await connection.execute(f"{update}WHERE id = $1", *_WEBHOOK.values(webhook))
            await append(connection, event)
        return webhook

    async def webhook(self, webhook_id: str) -> Webhook | None:
        return await _WEBHOOK.first(self._pool, "webhook WHERE id = $1", webhook_id)

    async def holder(self, key_id: str) -> Holder | None:
        """The holder of a key, if its contact is an e-mail address."""
        source = f"(SELECT api_key.name, successor_id, {_CONTACT} WHERE api_key.id = $1) AS holder"
        return await _HOLDER.first(self._pool, f"{source} WHERE contact LIKE '%@%'", key_id)

    async def webhooks(self) -> list[Webhook]:
        return await _WEBHOOK.all(self._pool, _ALL)

    async def delete_webhook(self, webhook_id: str, event: AuditEvent) -> bool:
        """Delete a webhook and its undelivered notifications. Returns False if the webhook does not
        exist.
        """
        async with self._pool.transaction() as connection:
            status = await connection.execute("DELETE FROM webhook WHERE id = $1", webhook_id)
            if deleted := row_count(status) == 1:
                await connection.execute(
                    "DELETE FROM delivery WHERE target = $1 AND state <> 'delivered'", webhook_id
                )
                await append(connection, event)
        return deleted


def _reminder(row: Row, now: float, days: int) -> AuditEvent:
    details: Details = {
        "name": row["name"],
        "customer_id": row["customer_id"],
        "expires_at": to_seconds(row["expires_at"]),
        "within_days": days,
    }
    return Actor("system", "reminder").event(
        AuditAction.KEY_EXPIRES_SOON, target_id=row["id"], at=now, details=details
    )


def _deliveries(
    webhooks: Collection[Webhook], rows: list[Row], now: float, services: Collection[str]
) -> list[tuple[Any, ...]]:
    deliveries: list[tuple[Any, ...]] = []
    for row in filter(_is_sent, rows):
        event = EVENTS[row["action"]]
        body = _body(row, event)
        contact = row["contact"] or ""
        is_test = event is NotificationEvent.WEBHOOK_TEST
        targets = [
            webhook.id
            for webhook in webhooks
            if (is_test and webhook.id == row["target_id"])
            or (
                (not is_test and (not webhook.events or event in webhook.events))
                and (not webhook.contact_only or contact == webhook.id)
            )
        ]
        if not is_test:
            targets += [name for name in services if name == TOPIC or "@" in contact]
        # After a restore of the database, other events have the same numbers.
        id = f"msg_{row['seq']:012d}{row['hash'].hex()[:12]}"
        deliveries += [(id, target, event, body, to_datetime(now)) for target in targets]
    return deliveries


def _is_sent(row: Row) -> bool:
    """True for actions that cause notifications. The only denied actions that cause notifications
    are attempts to open a link.
    """
    return row["action"] in EVENTS and (
        row["outcome"] == "success" or row["action"] == AuditAction.LINK_DENIED
    )


def _body(row: Row, event: str) -> str:
    """Body of a notification. Contains the details of the audit row, which contain no token or
    secret.
    """
    label = Actor(row["actor_type"], row["actor_id"]).label
    kind = AuditAction(row["action"]).target_type
    data = {
        kind if kind == "plan" else f"{kind}_id": row["target_id"],
        "by": label,
        "audit_seq": row["seq"],
        "details": json.loads(row["details"]),
    }
    timestamp = rfc3339(to_seconds(row["occurred_at"]), "microseconds")
    return json.dumps(
        {"type": event, "timestamp": timestamp, "data": data}, ensure_ascii=False, sort_keys=True
    )
