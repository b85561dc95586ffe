"""Telling others what happened to keys: audit rows become deliveries, which are tried until taken, or kept as dead letters.

The audit trail is the outbox's source: an act that is written there is told, and one that was rolled back is told to nobody.
Delivery is at least once; `webhook-id` is the same for every attempt, so a receiver can tell a repetition."""

from __future__ import annotations

import asyncio

from gatehouse.clock import Clock
from gatehouse.crypto.token import Pepper
from gatehouse.notifications import webhook_signatures as signatures
from gatehouse.notifications.models import TOPIC, Delivery, Outbox, Sender, Topic

#: Seconds until the next attempt, after each that failed; after the last one a delivery is dead. In all a bit over a day.
BACKOFF_S = (5, 30, 120, 600, 1800, 3600, 10_800, 21_600, 43_200)


BATCH = 20


#: A delivery that was taken up and never reported on (the process was killed) is taken up again after this time.
LEASE_S = 60.0


#: Owners hear of an expiry this long before, in days: once each, and only of a key whose whole life is twice as long or longer.
REMIND_DAYS = (1, 7, 30)


class NotificationDispatcher:
    """pepper: under which the webhooks' secrets are derived. topic: None when there is none."""

    def __init__(self, outbox: Outbox, sender: Sender, topic: Topic | None, clock: Clock, pepper: Pepper) -> None:
        self._outbox = outbox
        self._sender = sender
        self._topic = topic
        self._clock = clock
        self._pepper = pepper

    async def remind(self) -> int:
        """Has keys that end soon told, the nearest first: who hears of a day is not told of a month. Raises Unavailable."""
        told = 0
        for position, days in enumerate(REMIND_DAYS):
            told += await self._outbox.remind(now=self._clock.now(), days=days, covered=REMIND_DAYS[: position + 1])
        return told

    async def turn(self) -> int:
        """Follows the trail and tries what is due; answers how many deliveries were tried. Raises Unavailable."""
        while await self._outbox.follow(now=self._clock.now(), topic=self._topic is not None):
            pass
        due = await self._outbox.claim(now=self._clock.now(), size=BATCH, lease_s=LEASE_S)
        await asyncio.gather(*(self._try(delivery) for delivery in due))
        return len(due)

    async def _try(self, delivery: Delivery) -> None:
        problem = await self._send(delivery)
        now = self._clock.now()
        if not problem:
            await self._outbox.delivered(delivery, now=now)
            return
        wait_s = BACKOFF_S[delivery.attempts - 1] if delivery.attempts <= len(BACKOFF_S) else None
        await self._outbox.failed(delivery, problem, now=now, retry_at=None if wait_s is None else now + wait_s)

    async def _send(self, delivery: Delivery) -> str:
        if delivery.target == TOPIC:
            return "no topic is set any more" if self._topic is None else await self._topic.publish(delivery)
        webhook = await self._outbox.webhook(delivery.target)
        if webhook is None:
            return "the webhook was deleted"
        secret = signatures.secret_of(self._pepper, webhook.id, webhook.pepper_generation)
        if secret is None:
            return "the pepper that its secret was made with is gone: make the webhook anew"
        timestamp = int(self._clock.now())
        headers = {
            "webhook-id": delivery.notice_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signatures.sign(secret, delivery.notice_id, timestamp, delivery.body.encode()),
        }
        return await self._sender.send(webhook, delivery, headers)
