"""Delivers notifications to webhooks, e-mail addresses and the topic. Rows of the audit trail
become deliveries, which are retried until they succeed or are dead.

Deliveries are derived from committed audit rows, so a rolled-back change causes no notification.
Notifications are delivered at least once. `webhook-id` is the same for all attempts, so that
receivers can detect duplicates.
"""

import asyncio
import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, Self

import httpx

from gatehouse.core.clock import Clock
from gatehouse.core.errors import Unavailable
from gatehouse.core.http.addresses import Network
from gatehouse.core.http.origin import BaseUrl, parse_base_url
from gatehouse.core.tokens.token import Pepper
from gatehouse.features.notifications.emails import Email, email
from gatehouse.features.notifications.models import (
    EMAIL,
    TOPIC,
    Delivery,
    NotificationEvent,
    Webhook,
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


def origin_and_target(url: str) -> tuple[BaseUrl, str]:
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
        origin, target = origin_and_target(webhook.url)
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
