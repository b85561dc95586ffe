"""Notification events, webhooks with their signatures, and deliveries. Pure.

Webhooks are signed according to the Standard Webhooks specification (v1, symmetric). The signature
is the HMAC-SHA256 of `id.timestamp.body` in base64, prefixed with `v1,`. The secret has 32 bytes
and is written in base64, prefixed with `whsec_`.
Source: github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md.
"""

import base64
import hashlib
import hmac
from typing import Literal

import msgspec

from gatehouse.core.audit_events import AuditAction, DescribedStr
from gatehouse.core.tokens.token import Pepper
from gatehouse.core.tokens.token_scanner import WEBHOOK_PREFIX


class NotificationEvent(DescribedStr):
    """Events that a webhook can subscribe to."""

    KEY_REVOKED = (
        "key.revoked",
        "An API key was revoked by an administrator or by a holder of its token.",
    )
    KEY_ROTATED = "key.rotated", "An API key was replaced by a successor."
    KEY_EXPIRES_SOON = (
        "key.expires_soon",
        "An API key expires within 30 days, 7 days or 1 day, or the grace period ends of a key "
        "that was used after its rotation.",
    )
    CUSTOMER_CREATED = "customer.created", "A customer was created."
    CUSTOMER_UPDATED = "customer.updated", "Properties of a customer were changed."
    CUSTOMER_DISABLED = "customer.disabled", "A customer was disabled, with all of its keys."
    CUSTOMER_ENABLED = "customer.enabled", "A disabled customer was enabled."
    CUSTOMER_DELETED = "customer.deleted", "A customer was deleted, with all of its keys."
    CUSTOMER_RESTORED = "customer.restored", "A deleted customer was restored."
    CUSTOMER_CREDITS_USED_UP = (
        "customer.credits_used_up",
        "No shared credits of a customer are left until the next refill.",
    )
    PLAN_UPDATED = "plan.updated", "A plan was changed for all customers and keys that follow it."
    SECRET_OPENED = "secret.opened", "A use of a link to a secret was consumed."
    SECRET_DENIED = "secret.denied", "An attempt to open a link to a secret was denied."
    REQUEST_SUBMITTED = "request.submitted", "A secret was submitted to a secret request."
    WEBHOOK_TEST = "webhook.test", "A test of a webhook, which only this webhook receives."
    SECRET_PURGED = "secret.purged", "Every stored version of the content of a secret was deleted."


#: Action in the audit trail -> event that is sent to receivers.
EVENTS: dict[AuditAction, NotificationEvent] = {
    AuditAction.KEY_REVOKE: NotificationEvent.KEY_REVOKED,
    AuditAction.KEY_SELF_REVOKE: NotificationEvent.KEY_REVOKED,
    AuditAction.KEY_ROTATE: NotificationEvent.KEY_ROTATED,
    AuditAction.KEY_EXPIRES_SOON: NotificationEvent.KEY_EXPIRES_SOON,
    AuditAction.CUSTOMER_CREATE: NotificationEvent.CUSTOMER_CREATED,
    AuditAction.CUSTOMER_UPDATE: NotificationEvent.CUSTOMER_UPDATED,
    AuditAction.CUSTOMER_DISABLE: NotificationEvent.CUSTOMER_DISABLED,
    AuditAction.CUSTOMER_ENABLE: NotificationEvent.CUSTOMER_ENABLED,
    AuditAction.CUSTOMER_DELETE: NotificationEvent.CUSTOMER_DELETED,
    AuditAction.CUSTOMER_RESTORE: NotificationEvent.CUSTOMER_RESTORED,
    AuditAction.CUSTOMER_CREDITS_USED_UP: NotificationEvent.CUSTOMER_CREDITS_USED_UP,
    AuditAction.PLAN_UPDATE: NotificationEvent.PLAN_UPDATED,
    AuditAction.LINK_CLAIM: NotificationEvent.SECRET_OPENED,
    AuditAction.LINK_DENIED: NotificationEvent.SECRET_DENIED,
    AuditAction.REQUEST_SUBMIT: NotificationEvent.REQUEST_SUBMITTED,
    AuditAction.WEBHOOK_TEST: NotificationEvent.WEBHOOK_TEST,
    AuditAction.SECRET_PURGE: NotificationEvent.SECRET_PURGED,
}

#: Targets of deliveries to the SNS topic, and by e-mail to the contacts of keys. The target of a
#: webhook is its ID, which has 12 characters.
TOPIC, EMAIL = "topic", "email"
DeliveryState = Literal["waiting", "delivered", "dead"]


class Webhook(msgspec.Struct, frozen=True):
    """A receiver. The fields are the columns of `webhook`."""

    id: str
    url: str
    events: tuple[str, ...]  # values of NotificationEvent; empty: all events
    pepper_generation: int  # pepper generation under which the webhook secret is derived
    created_at: float
    created_by: str
    secret_number: int = 1  # incremented by each rotation of the secret
    previous_generation: int | None = None  # of the previous secret
    overlap_ends_at: float | None = None  # until then, the previous secret signs too
    version: int = 1
    contact_only: bool = False  # only events of keys and customers whose contact is the webhook


class Delivery(msgspec.Struct, frozen=True):
    """A notification for one target. The fields are columns of `delivery`."""

    notification_id: str
    target: str
    event: NotificationEvent
    body: str
    state: DeliveryState
    attempts: int
    next_at: float
    created_at: float
    problem: str  # reason why the last attempt failed


def webhook_signature(secret: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """Value of the webhook-signature header. `timestamp`: Unix seconds, as in the webhook-timestamp
    header.
    """
    message = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret, message, hashlib.sha256)).decode()


def webhook_secret_text(secret: bytes) -> str:
    return WEBHOOK_PREFIX + base64.b64encode(secret).decode()


def webhook_secret(
    pepper: Pepper, webhook_id: str, generation: int, number: int = 1
) -> bytes | None:
    """The derived secret of a webhook. The secret is never stored. None if the pepper generation is
    not available.
    """
    name = f"webhook:{webhook_id}" + (f":{number}" if number > 1 else "")
    return pepper.digest(name, generation)


def webhook_secrets(pepper: Pepper, webhook: Webhook, now: float) -> list[bytes]:
    """The secrets that sign now: the current one, and the previous one during the overlap. Empty if
    the pepper generation of the current one is not available.
    """
    id, number = webhook.id, webhook.secret_number
    current = webhook_secret(pepper, id, webhook.pepper_generation, number)
    previous = None
    if webhook.previous_generation is not None and now < (webhook.overlap_ends_at or 0):
        previous = webhook_secret(pepper, id, webhook.previous_generation, number - 1)
    return [current, *([previous] if previous else [])] if current else []
