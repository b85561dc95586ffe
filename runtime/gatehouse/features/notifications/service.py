"""Manages webhooks and sends notifications. Rows of the audit trail become deliveries, which are
retried until they succeed or are dead.

Deliveries are derived from committed audit rows, so a rolled-back change causes no notification.
Notifications are delivered at least once. `webhook-id` is the same for all attempts, so that
receivers can detect duplicates.
"""

import asyncio
import json
import secrets
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, Self
from urllib.parse import urlsplit

import httpx
import msgspec

from gatehouse.core.actor import Actor
from gatehouse.core.audit_events import AuditAction, AuditEvent, Details
from gatehouse.core.clock import Clock
from gatehouse.core.errors import BadRequest, NotFound, PreconditionFailed, Problem, Unavailable
from gatehouse.core.http.addresses import Network
from gatehouse.core.http.origin import BaseUrl, parse_base_url, rejection
from gatehouse.core.notation import is_visible_ascii
from gatehouse.core.tokens.token import ID_CHARS, Pepper, base62
from gatehouse.features.notifications.emails import Email, email
from gatehouse.features.notifications.models import (
    EMAIL,
    TOPIC,
    Delivery,
    NotificationEvent,
    Webhook,
    webhook_secret,
    webhook_secrets,
    webhook_signature,
)
from gatehouse.features.notifications.repository import NotificationRepository
from gatehouse.platform.aws import call, create_client
from gatehouse.platform.db.pool import Pool
from gatehouse.platform.resolver import SystemResolver
from gatehouse.platform.settings import Settings

#: Total timeout of a delivery.
TIMEOUT_S = 10.0
_AWS_TIMEOUT_S = 3

#: Delays before the retries in seconds, about a day in total. After the last failed attempt, a
#: delivery is dead.
BACKOFF_S = (5, 30, 120, 600, 1800, 3600, 10_800, 21_600, 43_200)
#: Maximum number of deliveries that are attempted for a target at the same time. There are at most
#: WEBHOOKS_MAX targets and the topic.
TARGET_MAX = 5

#: Maximum time in seconds until new deliveries are read while others are attempted.
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
    sends_email: True if the deployment has a sender of e-mails.
    """

    repository: NotificationRepository
    clock: Clock
    pepper: Pepper
    networks: tuple[Network, ...]
    sends_email: bool = False

    async def contact_problem(self, contact: str) -> str:
        """Reason why the contact of a key cannot receive notifications, or an empty string."""
        if "@" in contact:
            missing = "is an e-mail address, but GATEHOUSE_NOTIFICATION_SENDER is not set"
            return "" if self.sends_email else missing
        known = await self.repository.webhook(contact) is not None
        return "" if known else "is not the ID of a webhook"

    async def create(
        self, url: str, events: Iterable[str], actor: Actor, *, contact_only: bool
    ) -> tuple[bytes, Webhook]:
        """Create a webhook. Returns its secret, which is not stored. Raises BadRequest if the URL
        is not accepted, and Conflict if there are too many webhooks.
        """
        self._check_url(url)
        # Webhook IDs have the format of key IDs: 71 random bits in base62.
        id = base62(secrets.randbelow(62**ID_CHARS), ID_CHARS)
        now, generation = self.clock.now(), self.pepper.current
        secret = webhook_secret(self.pepper, id, generation)
        if secret is None:
            raise Unavailable(
                "Webhook creation is temporarily unavailable.",
                detail="the current pepper generation is not configured",
            )
        distinct = tuple(dict.fromkeys(events))
        webhook = Webhook(
            id, url, distinct, generation, now, actor.label, contact_only=contact_only
        )
        details: Details = {"host": urlsplit(url).hostname or "", "events": list(webhook.events)}
        event = actor.event(AuditAction.WEBHOOK_CREATE, target_id=id, at=now, details=details)
        await self.repository.add_webhook(webhook, event)
        return secret, webhook

    async def get(self, webhook_id: str) -> Webhook:
        """Raises NotFound."""
        webhook = None if "\0" in webhook_id else await self.repository.webhook(webhook_id)
        if webhook is None:
            raise _no_webhook()
        return webhook

    async def update(
        self, webhook_id: str, changes: dict[str, Any], actor: Actor, *, version: int | None
    ) -> Webhook:
        """Change fields. version: the expected one, or None. Raises NotFound, PreconditionFailed,
        and BadRequest if the URL is not accepted.
        """
        if "url" in changes:
            self._check_url(changes["url"])

        def change(webhook: Webhook) -> Webhook:
            if version not in (None, webhook.version):
                raise PreconditionFailed(f"The webhook is at version {webhook.version}.")
            return msgspec.structs.replace(webhook, **changes)

        return await self._change(webhook_id, change, AuditAction.WEBHOOK_UPDATE, actor)

    async def rotate_secret(
        self, webhook_id: str, overlap_s: int, actor: Actor
    ) -> tuple[bytes, Webhook]:
        """Replace the secret. Until the overlap ends, requests have the signatures of both. Raises
        NotFound.
        """
        until = self.clock.now() + overlap_s

        def change(webhook: Webhook) -> Webhook:
            return msgspec.structs.replace(
                webhook,
                secret_number=webhook.secret_number + 1,
                pepper_generation=self.pepper.current,
                previous_generation=webhook.pepper_generation,
                overlap_ends_at=until,
            )

        webhook = await self._change(webhook_id, change, AuditAction.WEBHOOK_ROTATE, actor)
        return webhook_secrets(self.pepper, webhook, until)[0], webhook

    async def test(self, webhook_id: str, actor: Actor) -> None:
        """Send a test event to a webhook. Raises NotFound."""
        await self._change(webhook_id, lambda webhook: webhook, AuditAction.WEBHOOK_TEST, actor)

    async def _change(
        self, id: str, change: Callable[[Webhook], Webhook], action: AuditAction, actor: Actor
    ) -> Webhook:
        def recorded(webhook: Webhook) -> tuple[Webhook, AuditEvent]:
            changed = change(webhook)
            host = urlsplit(changed.url).hostname or ""
            details: Details = {"host": host, "events": list(changed.events)}
            now = self.clock.now()
            return changed, actor.event(action, target_id=changed.id, at=now, details=details)

        webhook = None if "\0" in id else await self.repository.change_webhook(id, recorded)
        if webhook is None:
            raise _no_webhook()
        return webhook

    def _check_url(self, url: str) -> None:
        if message := _url_problem(url, self.networks):
            problem = Problem("body.url", message, "send an https:// URL with a public address")
            raise BadRequest("Notifications cannot be sent to this URL.", errors=(problem,))

    async def delete(self, webhook_id: str, actor: Actor) -> None:
        event = actor.event(
            AuditAction.WEBHOOK_DELETE, target_id=webhook_id[:12], at=self.clock.now(), details={}
        )
        if "\0" in webhook_id or not await self.repository.delete_webhook(webhook_id, event):
            raise _no_webhook()

    async def retry(self, notification: str, destination: str, actor: Actor) -> None:
        """Queue a delivery again and reset the number of attempts. Raises NotFound."""
        now, details = self.clock.now(), {"notification_id": notification[:40]}
        event = actor.event(
            AuditAction.DELIVERY_RETRY, target_id=destination[:12], at=now, details={**details}
        )
        valid = "\0" not in notification + destination
        if not valid or not await self.repository.requeue(
            notification, destination, now=now, event=event
        ):
            message = "No delivery that has ended has this notification and destination."
            raise NotFound(message)


def _no_webhook() -> NotFound:
    return NotFound("No webhook has this ID.")


def _url_problem(url: str, networks: tuple[Network, ...]) -> str:
    """Reason why a URL is rejected, or an empty string if the URL is accepted. Host names are
    resolved and checked for each delivery."""
    if not is_visible_ascii(url) or "\\" in url or "#" in url:
        return "must consist of visible ASCII characters, without a fragment or backslash"
    try:
        origin, _ = _origin_and_target(url)
    except ValueError as exc:
        return str(exc)
    if origin.scheme != "https" and not networks:
        return "must begin with https://"
    if origin.address is not None and rejection([origin.address], networks):
        return "has an address that is not public"
    return ""


def _origin_and_target(url: str) -> tuple[BaseUrl, str]:
    """Origin, and path with query. Raises ValueError with the rest of a sentence."""
    scheme, _, rest = url.partition("://")
    authority = rest.partition("/")[0].partition("?")[0]
    target = rest.removeprefix(authority)
    if not target.startswith("/"):
        target = f"/{target}"
    return parse_base_url(f"{scheme}://{authority}"), target


_tls = cache(ssl.create_default_context)  # reads all certificate authorities


@dataclass(frozen=True, slots=True)
class NotificationDispatcher:
    """Sends due deliveries.

    topic, sender: None if not configured.
    pepper: HMAC secret from which webhook secrets are derived.
    networks: private networks that webhooks may use.
    """

    repository: NotificationRepository
    topic: "SnsTopic | None"
    sender: "EmailSender | None"
    clock: Clock
    pepper: Pepper
    networks: tuple[Network, ...]
    resolver: SystemResolver = field(default_factory=SystemResolver)
    tls: ssl.SSLContext = field(default_factory=_tls)

    @classmethod
    def of(cls, settings: Settings, pool: Pool, clock: Clock, pepper: Pepper) -> Self:
        topic, sender = settings.notification_topic, settings.notification_sender
        return cls(
            NotificationRepository(pool),
            SnsTopic(topic) if topic else None,
            EmailSender(sender) if sender else None,
            clock,
            pepper,
            settings.webhook_networks,
        )

    async def report_credits(self) -> int:
        """Record customers whose shared credits are used up. Returns their number. Raises
        Unavailable.
        """
        total = 0
        while found := await self.repository.report_credits(now=self.clock.now()):
            total += found
        return total

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
        """Read new audit rows and attempt the deliveries that are due, until there are none. A
        target delays no other target. Returns the number of attempts. Raises Unavailable.
        """
        attempts, running = 0, dict[asyncio.Task[None], str]()
        try:
            while True:
                for delivery in await self._due({*running.values()}):
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

    async def _due(self, busy: set[str]) -> tuple[Delivery, ...]:
        now = self.clock.now()
        services = {TOPIC: self.topic, EMAIL: self.sender}
        configured = [name for name, service in services.items() if service is not None]
        while await self.repository.follow(now=now, services=configured):
            pass
        return await self.repository.claim(now=now, each=TARGET_MAX, busy=busy, lease_s=LEASE_S)

    async def _attempt(self, delivery: Delivery) -> None:
        problem = await self._send(delivery)
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
        if delivery.target == EMAIL:
            return await self._send_email(delivery)
        webhook = await self.repository.webhook(delivery.target)
        if webhook is None:
            return "the webhook was deleted"
        timestamp, body = int(self.clock.now()), delivery.body.encode()
        secrets = webhook_secrets(self.pepper, webhook, timestamp)
        if not secrets:
            return "the pepper generation of the webhook secret is not available; rotate the secret"
        id = delivery.notification_id
        signature = " ".join(webhook_signature(secret, id, timestamp, body) for secret in secrets)
        headers = {
            "content-type": "application/json",
            "user-agent": "gatehouse",
            "webhook-id": delivery.notification_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature,
        }
        try:
            async with asyncio.timeout(TIMEOUT_S):
                status = await self._post(webhook, headers, body)
        except TimeoutError:
            return f"no response within {TIMEOUT_S:.0f} s"
        except ValueError as exc:
            return f"not sent: the URL {str(exc).partition(';')[0]}"  # the rest is about Cores
        except Unavailable:
            return "not reached: the host name cannot be looked up"
        except (httpx.HTTPError, httpx.InvalidURL, OSError):
            return "not reached"
        return "" if 200 <= status < 300 else f"responded with {status}"

    async def _send_email(self, delivery: Delivery) -> str:
        """Sends an e-mail to the contact that the key has now. Returns as `_send`."""
        body = json.loads(delivery.body)
        holder = await self.repository.holder(body["data"]["key_id"])
        if holder is None:
            return "the key no longer has an e-mail address"
        if self.sender is None:
            return "GATEHOUSE_NOTIFICATION_SENDER is not set"
        event = NotificationEvent(delivery.event)
        message = email(event, body["timestamp"], body["data"], holder)
        return await self.sender.send(holder.contact, message)

    async def _post(self, webhook: Webhook, headers: dict[str, str], body: bytes) -> int:
        """Sends a request to a checked address of the host, with the host name in `Host` and TLS.
        Follows no redirect and uses no proxy. Returns the status; the body is not read.

        The connection is closed afterwards, because another host can have the same address. Raises
        ValueError if the URL is not allowed, Unavailable, and the errors of httpx.
        """
        origin, target = _origin_and_target(webhook.url)
        addresses = await self.resolver.checked_addresses(origin, self.networks)
        url = httpx.URL(
            scheme=origin.scheme, host=addresses[0], port=origin.port, raw_path=target.encode()
        )
        async with (
            httpx.AsyncClient(verify=self.tls, trust_env=False, timeout=None) as client,  # noqa: S113 - TIMEOUT_S
            client.stream(
                "POST",
                url,
                content=body,
                headers={"host": origin.authority, **headers},
                extensions={"sni_hostname": origin.host},
            ) as response,
        ):
            return response.status_code


class SnsTopic:
    """SNS topic. Requires sns:Publish. Subscribers can filter by the message attribute `event`."""

    def __init__(self, arn: str) -> None:
        self._arn = arn
        self._client = create_client("sns", timeout_s=_AWS_TIMEOUT_S, attempts=1)

    async def publish(self, delivery: Delivery) -> str:
        """Publishes a notification. Returns an empty string on success, otherwise the reason for
        the failure. Never raises.
        """
        attribute = {"DataType": "String", "StringValue": delivery.event}
        return await _problem(
            self._client.publish,
            "SNS",
            TopicArn=self._arn,
            Subject=f"Gatehouse: {delivery.event}",
            Message=delivery.body,
            MessageAttributes={"event": attribute},
        )


class EmailSender:
    """Sends e-mails with Amazon SES. Requires ses:SendEmail, and in SES a verified identity for the
    address of the sender. SES builds the message, so that no text can become a header.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._client = create_client("sesv2", timeout_s=_AWS_TIMEOUT_S, attempts=1)

    async def send(self, recipient: str, message: Email) -> str:
        """Sends an e-mail to one address. Returns as `SnsTopic.publish`. Never raises."""
        return await _problem(
            self._client.send_email,
            "SES",
            FromEmailAddress=self._address,
            Destination={"ToAddresses": [recipient]},
            Content={
                "Simple": {
                    "Subject": {"Data": message.subject, "Charset": "UTF-8"},
                    "Body": {"Text": {"Data": message.text, "Charset": "UTF-8"}},
                }
            },
        )


async def _problem(
    operation: Callable[..., Any], service: Literal["SNS", "SES"], **arguments: Any
) -> str:
    """The reason why a call of AWS failed, or an empty string."""
    try:
        await call(operation, service, **arguments)
    except Unavailable as exc:
        return f"not sent: {exc.detail}"
    return ""
