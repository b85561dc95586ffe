"""Manages webhooks and sends notifications. Rows of the audit trail become deliveries, which are
retried until they succeed or are dead.

Deliveries are derived from committed audit rows, so a rolled-back change causes no notification.
Notifications are delivered at least once. `webhook-id` is the same for all attempts, so that
receivers can detect duplicates.
"""

import asyncio
import secrets
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Self
from urllib.parse import urlsplit

from gatehouse.core.actor import Actor
from gatehouse.core.addresses import Network
from gatehouse.core.audit_events import AuditAction, Details
from gatehouse.core.clock import Clock
from gatehouse.core.errors import (
    BadRequest,
    CoreTimeout,
    GatehouseError,
    NotFound,
    Problem,
    Unavailable,
)
from gatehouse.core.notation import is_visible_ascii
from gatehouse.core.origin import parse_base_url, rejection
from gatehouse.core.token import ID_CHARS, Pepper, base62
from gatehouse.features.notifications.models import (
    TOPIC,
    Delivery,
    Webhook,
    webhook_secret,
    webhook_signature,
)
from gatehouse.features.notifications.repository import NotificationRepository
from gatehouse.platform.aws import call, create_client
from gatehouse.platform.db.pool import Pool
from gatehouse.platform.http_client.upstream import SystemResolver, UpstreamClients, UpstreamRequest
from gatehouse.platform.settings import Settings

#: Total timeout of a delivery.
TIMEOUT_S = 10.0
_SNS_TIMEOUT_S = 3

#: Delays before the retries in seconds, about a day in total. After the last failed attempt, a
#: delivery is dead.
BACKOFF_S = (5, 30, 120, 600, 1800, 3600, 10_800, 21_600, 43_200)
#: Maximum number of deliveries that are attempted at the same time, in total and for a target.
#: Targets whose last attempt failed or was slow have at most half of them.
BATCH_SIZE, TARGET_MAX = 20, 5

#: Maximum time in seconds until new deliveries are read while others are attempted. An attempt that
#: takes longer is slow.
FOLLOW_S = 1.0

#: Seconds after which a delivery is attempted again if the process was killed during an attempt.
LEASE_S = 60.0

#: Seconds for which delivered and dead deliveries are kept.
KEEP_S = 30 * 86_400

#: Reminders are sent this number of days before a key expires, if the lifetime of the key is at
#: least twice as long.
REMINDER_DAYS = (1, 7, 30)


@dataclass(frozen=True, slots=True)
class WebhookService:
    """Manages webhooks and their deliveries. Methods raise Unavailable.

    pepper: HMAC secret from which webhook secrets are derived.
    networks: private networks that webhooks may use.
    """

    repository: NotificationRepository
    clock: Clock
    pepper: Pepper
    networks: tuple[Network, ...]

    async def create(self, url: str, events: Iterable[str], actor: Actor) -> tuple[bytes, Webhook]:
        """Create a webhook. Returns its secret, which is not stored. Raises BadRequest if the URL
        is not accepted, and Conflict if there are too many webhooks.
        """
        message = _url_problem(url, self.networks)
        if message:
            problem = Problem("body.url", message, "send an https:// URL with a public address")
            raise BadRequest("Notifications cannot be sent to this URL.", errors=(problem,))
        # Webhook IDs have the format of key IDs: 71 random bits in base62.
        id = base62(secrets.randbelow(62**ID_CHARS), ID_CHARS)
        now, generation = self.clock.now(), self.pepper.current
        secret = webhook_secret(self.pepper, id, generation)
        if secret is None:
            raise Unavailable(
                "Webhook creation is temporarily unavailable.",
                detail="the current pepper generation is not configured",
            )
        webhook = Webhook(id, url, tuple(dict.fromkeys(events)), generation, now, actor.label)
        details: Details = {"host": urlsplit(url).hostname or "", "events": list(webhook.events)}
        event = actor.event(AuditAction.WEBHOOK_CREATE, target_id=id, at=now, details=details)
        await self.repository.add_webhook(webhook, event)
        return secret, webhook

    async def delete(self, webhook_id: str, actor: Actor) -> None:
        event = actor.event(
            AuditAction.WEBHOOK_DELETE, target_id=webhook_id[:12], at=self.clock.now(), details={}
        )
        if "\0" in webhook_id or not await self.repository.delete_webhook(webhook_id, event):
            raise NotFound("No webhook has this ID.")

    async def retry(self, notification: str, destination: str, actor: Actor) -> None:
        """Queue a dead delivery again and reset the number of attempts. Raises NotFound."""
        now, details = self.clock.now(), {"notification_id": notification[:40]}
        event = actor.event(
            AuditAction.DELIVERY_RETRY, target_id=destination[:12], at=now, details={**details}
        )
        valid = "\0" not in notification + destination
        if not valid or not await self.repository.requeue(
            notification, destination, now=now, event=event
        ):
            raise NotFound("No dead delivery has this notification and destination.")


def _url_problem(url: str, networks: tuple[Network, ...]) -> str:
    """Reason why a URL is rejected, or an empty string if the URL is accepted. Host names are
    resolved and checked for each delivery."""
    if not is_visible_ascii(url) or "\\" in url or "#" in url:
        return "must consist of visible ASCII characters, without a fragment or backslash"
    scheme, _, rest = url.partition("://")
    try:
        origin = parse_base_url(f"{scheme}://{rest.partition('/')[0].partition('?')[0]}")
    except ValueError as exc:
        return str(exc)
    if origin.scheme != "https" and not networks:
        return "must begin with https://"
    if origin.address is not None and rejection([origin.address], networks):
        return "has an address that is not public"
    return ""


@dataclass(frozen=True, slots=True)
class NotificationDispatcher:
    """Sends due deliveries.

    upstreams: connect to the checked IP address of a host name. Redirects are not followed.
    topic: None if not configured.
    pepper: HMAC secret from which webhook secrets are derived.
    failing: targets whose last attempt failed or was slow.
    """

    repository: NotificationRepository
    upstreams: UpstreamClients
    topic: "SnsTopic | None"
    clock: Clock
    pepper: Pepper
    failing: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, settings: Settings, pool: Pool, clock: Clock, pepper: Pepper) -> Self:
        topic = settings.notification_topic
        return cls(
            NotificationRepository(pool),
            UpstreamClients(SystemResolver(), settings.webhook_networks),
            SnsTopic(topic) if topic else None,
            clock,
            pepper,
        )

    async def remind(self) -> int:
        """Record reminders for keys that expire soon and return their number. Raises Unavailable.

        Shorter periods come first, so that a key with a one-day reminder does not get a seven-day
        reminder as well.
        """
        count = 0
        for position, days in enumerate(REMINDER_DAYS):
            while sent := await self.repository.remind(
                now=self.clock.now(), days=days, covered=REMINDER_DAYS[: position + 1]
            ):
                count += sent
        return count

    async def prune(self) -> int:
        """Delete deliveries that ended more than KEEP_S ago. Raises Unavailable."""
        return await self.repository.prune(finished_before=self.clock.now() - KEEP_S)

    async def run_once(self) -> int:
        """Read new audit rows and attempt the deliveries that are due, until there are none.
        Targets that do not respond delay those of other users by TIMEOUT_S at most. Returns the
        number of attempts. Raises Unavailable.
        """
        attempts, running = 0, dict[asyncio.Task[None], str]()
        try:
            while True:
                for delivery in await self._due(running.values()):
                    running[asyncio.create_task(self._attempt(delivery))] = delivery.target
                    attempts += 1
                if not running:
                    return attempts
                ended, _ = await asyncio.wait(
                    running, timeout=FOLLOW_S, return_when=asyncio.FIRST_COMPLETED
                )
                for task in ended:
                    del running[task]
                    task.result()
        finally:
            for task in running:
                task.cancel()

    async def _due(self, running: Collection[str]) -> tuple[Delivery, ...]:
        now = self.clock.now()
        while await self.repository.follow(now=now, topic=self.topic is not None):
            pass
        claim = partial(self.repository.claim, now=now, each=TARGET_MAX, lease_s=LEASE_S)
        due = await claim(size=BATCH_SIZE - len(running), busy={*running, *self.failing})
        size = BATCH_SIZE // 2 - len(running) - len(due)
        if self.failing and size > 0:
            due += await claim(size=size, busy={*running, *(each.target for each in due)})
        return due

    async def _attempt(self, delivery: Delivery) -> None:
        began_at = self.clock.monotonic()
        problem = await self._send(delivery)
        is_slow = self.clock.monotonic() - began_at > FOLLOW_S
        (self.failing.add if problem or is_slow else self.failing.discard)(delivery.target)
        now, retry_at = self.clock.now(), None
        if problem and delivery.attempts <= len(BACKOFF_S):
            retry_at = now + BACKOFF_S[delivery.attempts - 1]
        await self.repository.attempted(delivery, problem, now=now, retry_at=retry_at)

    async def _send(self, delivery: Delivery) -> str:
        """Attempts a delivery. Returns an empty string on success, for a webhook a response with a
        2xx status, otherwise the reason for the failure, without content of a response.
        """
        if delivery.target == TOPIC:
            if self.topic is None:
                return "no topic is configured"
            return await self.topic.publish(delivery)
        webhook = await self.repository.webhook(delivery.target)
        if webhook is None:
            return "the webhook was deleted"
        secret = webhook_secret(self.pepper, webhook.id, webhook.pepper_generation)
        if secret is None:
            return (
                "the pepper generation of the webhook secret is not available; create the "
                "webhook again"
            )
        timestamp, body = int(self.clock.now()), delivery.body.encode()
        signature = webhook_signature(secret, delivery.notification_id, timestamp, body)
        headers = [
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("user-agent", "gatehouse"),
            ("webhook-id", delivery.notification_id),
            ("webhook-timestamp", str(timestamp)),
            ("webhook-signature", signature),
        ]
        parts = urlsplit(webhook.url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        request = UpstreamRequest(method="POST", target=target, headers=headers, body=body)
        url = f"{parts.scheme}://{parts.netloc}"
        try:
            async with (
                asyncio.timeout(TIMEOUT_S),
                self.upstreams.send(url, request, webhook.created_by) as reply,
            ):
                return "" if 200 <= reply.status < 300 else f"responded with {reply.status}"
        except (CoreTimeout, TimeoutError):
            return f"no response within {TIMEOUT_S:.0f} s"
        except BadRequest:
            return "not sent: the request cannot be built"
        except GatehouseError as exc:
            detail = exc.detail.partition(";")[0]  # the rest is about Cores
            return f"not reached: {detail}" if "address" in detail else "not reached"


class SnsTopic:
    """SNS topic. Requires sns:Publish. Subscribers can filter by the message attribute `event`."""

    def __init__(self, arn: str) -> None:
        self._arn = arn
        self._client = create_client("sns", timeout_s=_SNS_TIMEOUT_S, attempts=1)

    async def publish(self, delivery: Delivery) -> str:
        """Publishes a notification. Returns an empty string on success, otherwise the reason for
        the failure. Never raises.
        """
        try:
            await call(
                self._client.publish,
                "SNS",
                TopicArn=self._arn,
                Subject=f"Gatehouse: {delivery.event}",
                Message=delivery.body,
                MessageAttributes={"event": {"DataType": "String", "StringValue": delivery.event}},
            )
        except Unavailable as exc:
            return f"not published: {exc.detail}"
        return ""
