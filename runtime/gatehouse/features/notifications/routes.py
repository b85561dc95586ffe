"""Endpoints for webhooks and deliveries."""

from __future__ import annotations

import json
from functools import partial
from urllib.parse import urlsplit

from gatehouse.core.addresses import Network
from gatehouse.core.audit_events import AuditAction, Details
from gatehouse.core.errors import BadRequest, NotFound, Problem, Unavailable
from gatehouse.core.features import WEBHOOKS
from gatehouse.core.origin import parse_origin, rejection
from gatehouse.core.roles import AUDITORS, OPERATORS
from gatehouse.core.token import ID_CHARS, base62
from gatehouse.core.webhook_signatures import webhook_secret, webhook_secret_text
from gatehouse.features.notifications.models import Webhook
from gatehouse.features.notifications.schemas import (
    CreatedWebhook,
    CreateWebhook,
    DeliveryPage,
    ListDeliveries,
    WebhookList,
    delivery_view,
    webhook_view,
)
from gatehouse.platform.http.endpoint import Endpoint, Links, StepUp
from gatehouse.platform.http.fields import Cursors
from gatehouse.services.console.dependencies import Request


async def create_webhook(request: Request, body: CreateWebhook) -> CreatedWebhook:
    """Create a webhook.

    The secret of the webhook is returned only in this response.
    """
    dependencies, actor = request.dependencies, request.actor
    message = _url_problem(body.url, dependencies.webhook_networks)
    if message:
        problem = Problem("body.url", message, "send an https:// URL with a public address")
        raise BadRequest("Notifications cannot be sent to this URL.", errors=(problem,))
    # Webhook IDs have the format of key IDs: 71 random bits in base62.
    id = base62(int.from_bytes(dependencies.random_bytes(12), "big") % 62**ID_CHARS, ID_CHARS)
    now, generation = dependencies.clock.now(), dependencies.pepper.current
    secret = webhook_secret(dependencies.pepper, id, generation)
    if secret is None:
        raise Unavailable(
            "Webhook creation is temporarily unavailable.", detail="the current pepper generation is not configured"
        )
    webhook = Webhook(id, body.url, tuple(dict.fromkeys(body.events)), generation, now, actor.label)
    details: Details = {"host": urlsplit(body.url).hostname or "", "events": list(webhook.events)}
    event = actor.event(AuditAction.WEBHOOK_CREATE, target_id=id, at=now, details=details)
    await dependencies.notifications.add_webhook(webhook, event)
    request.response.headers["Location"] = "/v1/webhooks"
    return CreatedWebhook(webhook_secret_text(secret), webhook_view(webhook))


async def list_webhooks(request: Request) -> WebhookList:
    """List webhooks.

    Returns webhooks, oldest first. Secrets are neither stored nor returned.
    """
    return WebhookList([webhook_view(webhook) for webhook in await request.dependencies.notifications.webhooks()])


async def delete_webhook(request: Request, webhook: str) -> None:
    """Delete a webhook.

    Pending deliveries to the webhook are discarded.
    """
    dependencies = request.dependencies
    now = dependencies.clock.now()
    event = request.actor.event(AuditAction.WEBHOOK_DELETE, target_id=webhook[:12], at=now, details={})
    if "\0" in webhook or not await dependencies.notifications.delete_webhook(webhook, event):
        raise NotFound("No webhook has this ID.")


async def list_deliveries(request: Request, query: ListDeliveries) -> DeliveryPage:
    """List deliveries.

    Returns dead deliveries by default. Use `state` to list others.
    """
    dependencies = request.dependencies
    cursors = Cursors(dependencies.cursor_pepper, f"deliveries|{query.state}")
    notification, destination = ("", "") if query.cursor is None else json.loads(cursors.read(query.cursor))
    deliveries = await dependencies.notifications.deliveries(
        state=query.state, after=(notification, destination), size=query.limit + 1
    )
    shown = deliveries[: query.limit]
    more = len(deliveries) > query.limit
    return DeliveryPage(
        deliveries=[delivery_view(delivery) for delivery in shown],
        next_cursor=cursors.write(json.dumps([shown[-1].notification_id, shown[-1].target])) if more else None,
    )


async def retry_delivery(request: Request, notification: str, destination: str) -> None:
    """Retry a dead delivery.

    Queues the delivery again and resets the number of attempts.
    """
    dependencies = request.dependencies
    now = dependencies.clock.now()
    details: Details = {"notification_id": notification[:40]}
    event = request.actor.event(AuditAction.DELIVERY_RETRY, target_id=destination[:12], at=now, details=details)
    valid = "\0" not in notification + destination
    if not valid or not await dependencies.notifications.requeue(notification, destination, now=now, event=event):
        raise NotFound("No dead delivery has this notification and destination.")


def _url_problem(url: str, networks: tuple[Network, ...]) -> str:
    """Reason why a URL is rejected, or an empty string if the URL is accepted. Host names are resolved and checked for each
    delivery."""
    if not url.isascii() or any(character <= " " or character in "\\\x7f" for character in url) or "#" in url:
        return "must consist of visible ASCII characters, without a fragment or backslash"
    scheme, _, rest = url.partition("://")
    origin = parse_origin(f"{scheme}://{rest.partition('/')[0].partition('?')[0]}")
    if isinstance(origin, str):
        return origin
    if origin.scheme != "https" and not networks:
        return "must begin with https://"
    if origin.address is not None and rejection([origin.address], networks):
        return "has an address that is not public"
    return ""


_read = partial(Endpoint, tag="notifications", feature=WEBHOOKS.name, method="GET", roles=AUDITORS)
_write = partial(Endpoint, tag="notifications", feature=WEBHOOKS.name, roles=OPERATORS)

_WEBHOOKS, _WEBHOOK = "/v1/webhooks", "/v1/webhooks/{webhook}"
_RETRY = "/v1/deliveries/{notification}/{destination}/retry"
_TO_WEBHOOK = Links("webhook", "/webhook/id", ("delete_webhook",))

ENDPOINTS = (
    # Step-up is required because the receiver obtains a secret and all notifications.
    _write(method="POST", path=_WEBHOOKS, handler=create_webhook, step_up=StepUp.ALWAYS, status=201, links=_TO_WEBHOOK),
    _read(path=_WEBHOOKS, handler=list_webhooks),
    _write(method="DELETE", path=_WEBHOOK, handler=delete_webhook, step_up=StepUp.ALWAYS, status=204, errors=(404,)),
    _read(path="/v1/deliveries", handler=list_deliveries),
    _write(method="POST", path=_RETRY, handler=retry_delivery, step_up=StepUp.NEVER, status=204, errors=(404,)),
)
