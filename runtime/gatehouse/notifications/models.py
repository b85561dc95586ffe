"""What notices need from the outside world: an outbox that follows the audit trail, and ways out of the house."""

from __future__ import annotations

from typing import Protocol

import msgspec

from gatehouse.audit.models import AuditEvent

#: Acts in the audit trail that are told -> the event that receivers see.
EVENTS = {
    "key.revoke": "key.revoked",
    "key.self-revoke": "key.revoked",
    "key.rotate": "key.rotated",
    "key.expires_soon": "key.expires_soon",
    "key.leak": "key.leaked",
    "key.unusual": "key.unusual",
}


#: The target of deliveries to the SNS topic; webhooks are named by their ids, which have 12 characters.
TOPIC = "topic"


class Webhook(msgspec.Struct, frozen=True):
    id: str
    url: str
    events: tuple[str, ...]  # empty: all
    pepper_generation: int
    created_at: float
    created_by: str


class Delivery(msgspec.Struct, frozen=True):
    """One notice on its way to one target. state: waiting | delivered | dead."""

    notice_id: str
    target: str
    event: str
    body: str
    state: str
    attempts: int
    next_at: float
    created_at: float
    problem: str


class Outbox(Protocol):
    """Every method raises Unavailable."""

    async def remind(self, *, now: float, days: int, covered: tuple[int, ...]) -> int:
        """Writes key.expires_soon into the audit trail for active keys that end within `days`, once a key, expiry and `days`.

        covered: a key that was told of one of these is not told again. Keys that live less than twice `days` are left out.
        """
        ...

    async def follow(self, *, now: float, topic: bool) -> int:
        """Turns audit rows that are new into deliveries, in one transaction; answers how many rows were looked at."""
        ...

    async def claim(self, *, now: float, size: int, lease_s: float) -> tuple[Delivery, ...]:
        """Deliveries that are due, each given to one caller for `lease_s`; their `attempts` includes this one."""
        ...

    async def delivered(self, delivery: Delivery, *, now: float) -> None: ...

    async def failed(self, delivery: Delivery, problem: str, *, now: float, retry_at: float | None) -> None:
        """`retry_at` None: it goes to the dead letters."""
        ...

    async def webhook(self, webhook_id: str) -> Webhook | None: ...


class NotificationStore(Protocol):
    """Management of webhooks and deliveries. Every write takes its audit event, in one transaction. Raises Unavailable."""

    async def add_webhook(self, webhook: Webhook, event: AuditEvent) -> None: ...

    async def webhooks(self) -> tuple[Webhook, ...]: ...

    async def delete_webhook(self, webhook_id: str, event: AuditEvent) -> bool:
        """With what still waits for it; False when there is none."""
        ...

    async def deliveries(self, *, state: str, after: tuple[str, str], size: int) -> tuple[Delivery, ...]:
        """In the order of (notice, target), behind `after`."""
        ...

    async def revive(self, notice_id: str, target: str, *, now: float, event: AuditEvent) -> bool:
        """Tries a dead letter again from the beginning; False when there is none."""
        ...


class Sender(Protocol):
    async def send(self, webhook: Webhook, delivery: Delivery, headers: dict[str, str]) -> str:
        """Empty when the receiver took it (2xx); otherwise what went wrong, in a few words that quote nothing. Never raises."""
        ...


class Topic(Protocol):
    async def publish(self, delivery: Delivery) -> str:
        """Like `Sender.send`."""
        ...
