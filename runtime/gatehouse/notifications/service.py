"""Notifications: rows of the audit trail become deliveries, which are retried until they succeed or become dead letters.

Deliveries are derived from committed audit rows, so every act is notified of and no act that was rolled back is. Delivery is at
least once; `webhook-id` is the same for all attempts, so a receiver can detect duplicates.
"""

from __future__ import annotations

import asyncio

from gatehouse.clock import Clock
from gatehouse.crypto.token import Pepper
from gatehouse.notifications import webhook_signatures as signatures
from gatehouse.notifications.models import TOPIC, Delivery
from gatehouse.notifications.repository import NotificationRepository
from gatehouse.notifications.senders import SnsTopic, WebhookSender

#: Seconds until the next attempt, after each failed one, a day in all. After the last one a delivery is dead.
BACKOFF_S = (5, 30, 120, 600, 1800, 3600, 10_800, 21_600, 43_200)
BATCH_SIZE = 20

#: A delivery whose attempt was never reported, because the process was killed, is attempted again after this time.
LEASE_S = 60.0

#: Days before its expiry on which a reminder of a key is sent, if the key's lifetime is at least twice as long.
REMINDER_DAYS = (1, 7, 30)


class NotificationDispatcher:
    """`pepper`: under which the secrets of webhooks are derived. `topic`: None if none is configured."""

    def __init__(
        self, repository: NotificationRepository, sender: WebhookSender, topic: SnsTopic | None, clock: Clock, pepper: Pepper
    ) -> None:
        self._repository = repository
        self._sender = sender
        self._topic = topic
        self._clock = clock
        self._pepper = pepper

    async def remind(self) -> int:
        """Record reminders of keys that expire soon and return their number. Raises Unavailable.

        The smallest number of days comes first: a key that is reminded of one day is not reminded of seven.
        """
        count = 0
        for position, days in enumerate(REMINDER_DAYS):
            count += await self._repository.remind(now=self._clock.now(), days=days, covered=REMINDER_DAYS[: position + 1])
        return count

    async def run_once(self) -> int:
        """Read new audit rows and attempt the deliveries that are due. Returns their number. Raises Unavailable."""
        while await self._repository.follow(now=self._clock.now(), topic=self._topic is not None):
            pass
        due = await self._repository.claim(now=self._clock.now(), size=BATCH_SIZE, lease_s=LEASE_S)
        await asyncio.gather(*(self._attempt(delivery) for delivery in due))
        return len(due)

    async def _attempt(self, delivery: Delivery) -> None:
        problem = await self._send(delivery)
        now = self._clock.now()
        if not problem:
            await self._repository.delivered(delivery, now=now)
            return
        wait_s = BACKOFF_S[delivery.attempts - 1] if delivery.attempts <= len(BACKOFF_S) else None
        await self._repository.failed(delivery, problem, now=now, retry_at=None if wait_s is None else now + wait_s)

    async def _send(self, delivery: Delivery) -> str:
        """Reason of a failure; empty on success."""
        if delivery.target == TOPIC:
            return "no topic is configured" if self._topic is None else await self._topic.publish(delivery)
        webhook = await self._repository.webhook(delivery.target)
        if webhook is None:
            return "the webhook was deleted"
        secret = signatures.secret_of(self._pepper, webhook.id, webhook.pepper_generation)
        if secret is None:
            return "the pepper generation of its secret is not available; create the webhook again"
        timestamp = int(self._clock.now())
        headers = {
            "webhook-id": delivery.notification_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signatures.sign(secret, delivery.notification_id, timestamp, delivery.body.encode()),
        }
        return await self._sender.send(webhook, delivery, headers)
