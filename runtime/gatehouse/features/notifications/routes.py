"""Endpoints for webhooks and deliveries."""

from functools import partial

from gatehouse.core.features import WEBHOOKS
from gatehouse.core.roles import AUDITORS, OPERATORS
from gatehouse.features.notifications.models import webhook_secret_text
from gatehouse.features.notifications.schemas import (
    CreatedWebhook,
    CreateWebhook,
    DeliveryPage,
    ListDeliveries,
    WebhookList,
    delivery_view,
    webhook_view,
)
from gatehouse.features.notifications.service import WebhookService
from gatehouse.platform.web.endpoint import Endpoint, StepUp
from gatehouse.platform.web.request import Request


async def create_webhook(
    request: Request, body: CreateWebhook, webhooks: WebhookService
) -> CreatedWebhook:
    """Create a webhook.

    The secret of the webhook is returned only in this response.
    """
    secret, webhook = await webhooks.create(
        body.url, body.events, request.actor, contact_only=body.contact_only
    )
    request.add_header(b"location", "/v1/webhooks")
    return CreatedWebhook(webhook_secret_text(secret), webhook_view(webhook))


async def list_webhooks(request: Request, webhooks: WebhookService) -> WebhookList:
    """List webhooks.

    Returns webhooks, oldest first. Secrets are neither stored nor returned.
    """
    return WebhookList([webhook_view(webhook) for webhook in await webhooks.repository.webhooks()])


async def delete_webhook(request: Request, webhook: str, webhooks: WebhookService) -> None:
    """Delete a webhook.

    Pending deliveries to the webhook are discarded.
    """
    await webhooks.delete(webhook, request.actor)


async def list_deliveries(
    request: Request, query: ListDeliveries, webhooks: WebhookService
) -> DeliveryPage:
    """List deliveries.

    Returns the deliveries that match the filter, newest first.
    """
    cursors = request.cursors(f"deliveries|{query.state}")
    after = cursors.read(query.cursor, tuple[str, str])
    page, last = await webhooks.repository.page(state=query.state, after=after, size=query.limit)
    return DeliveryPage([delivery_view(delivery) for delivery in page], cursors.write(last))


async def retry_delivery(
    request: Request, notification: str, destination: str, webhooks: WebhookService
) -> None:
    """Retry a dead delivery.

    Queues the delivery again and resets the number of attempts.
    """
    await webhooks.retry(notification, destination, request.actor)


_read = partial(Endpoint, "GET", tag="notifications", feature=WEBHOOKS, roles=AUDITORS)
_write = partial(Endpoint, tag="notifications", feature=WEBHOOKS, roles=OPERATORS)

_WEBHOOKS, _WEBHOOK = "/v1/webhooks", "/v1/webhooks/{webhook}"
_RETRY = "/v1/deliveries/{notification}/{destination}/retry"

ENDPOINTS = (
    # Step-up is required because the receiver obtains a secret and all notifications.
    _write("POST", _WEBHOOKS, create_webhook, step_up=StepUp.ALWAYS, status=201),
    _read(_WEBHOOKS, list_webhooks),
    _write("DELETE", _WEBHOOK, delete_webhook, step_up=StepUp.ALWAYS, status=204, errors=(404,)),
    _read("/v1/deliveries", list_deliveries),
    _write("POST", _RETRY, retry_delivery, step_up=StepUp.NEVER, status=204, errors=(404,)),
)
