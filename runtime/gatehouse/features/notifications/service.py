"""Manages webhooks."""

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import msgspec

from gatehouse.core.actor import Actor
from gatehouse.core.audit_events import AuditAction, AuditEvent, Details
from gatehouse.core.clock import Clock
from gatehouse.core.errors import BadRequest, NotFound, PreconditionFailed, Problem, Unavailable
from gatehouse.core.http.addresses import Network
from gatehouse.core.http.origin import rejection
from gatehouse.core.notation import is_visible_ascii
from gatehouse.core.tokens.token import ID_CHARS, Pepper, base62
from gatehouse.features.notifications.delivery import origin_and_target
from gatehouse.features.notifications.models import Webhook, webhook_secret, webhook_secrets
from gatehouse.features.notifications.repository import NotificationRepository


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
        origin, _ = origin_and_target(url)
    except ValueError as exc:
        return str(exc)
    if origin.scheme != "https" and not networks:
        return "must begin with https://"
    if origin.address is not None and rejection([origin.address], networks):
        return "has an address that is not public"
    return ""
