"""Endpoints for webhooks and deliveries."""

from functools import partial

from gatehouse.core.features import WEBHOOKS
from gatehouse.core.roles import AUDITORS, OPERATORS
from gatehouse.features.notifications.models import Webhook, webhook_secret_text
from gatehouse.features.notifications.schemas import (
    CreatedWebhook,
    CreateWebhook,
    DeliveryPage,
    ListDeliveries,
    RotateWebhookSecret,
    UpdateWebhook,
    WebhookList,
    WebhookView,
    changes_of,
    delivery_view,
    webhook_view,
)
from gatehouse.features.notifications.service import WebhookService
from gatehouse.platform.web.endpoint import Endpoint, StepUp
from gatehouse.platform.web.fields import IF_MATCH, TOTAL_MAX, etag, expected_version
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


async def show_webhook(request: Request, webhook: str, webhooks: WebhookService) -> WebhookView:
    """Retrieve a webhook.

    To update the webhook, send its ETag in `If-Match`.
    """
    return _view(request, await webhooks.get(webhook))


async def update_webhook(
    request: Request, webhook: str, body: UpdateWebhook, webhooks: WebhookService
) -> WebhookView:
    """Update a webhook.

    Deliveries that are waiting are sent to the new URL.
    """
    version = expected_version(request.header(b"if-match"))
    changes = changes_of(body)
    changed = await webhooks.update(webhook, changes, request.actor, version=version)
    return _view(request, changed)


async def rotate_webhook_secret(
    request: Request, webhook: str, body: RotateWebhookSecret, webhooks: WebhookService
) -> CreatedWebhook:
    """Rotate the secret of a webhook.

    Until the overlap ends, requests have the signatures of both secrets. The new secret is returned
    only in this response.
    """
    secret, changed = await webhooks.rotate_secret(webhook, body.overlap_s, request.actor)
    return CreatedWebhook(webhook_secret_text(secret), webhook_view(changed))


async def test_webhook(request: Request, webhook: str, webhooks: WebhookService) -> None:
    """Send a test event.

    Sends the event `webhook.test` to this webhook.
    """
    await webhooks.test(webhook, request.actor)


async def list_deliveries(
    request: Request, query: ListDeliveries, webhooks: WebhookService
) -> DeliveryPage:
    """List deliveries.

    Returns the deliveries that match the filter, newest first.
    """
    cursors = request.cursors(f"deliveries|{query.state}")
    after = cursors.read(query.cursor, tuple[str, str])
    page, last = await webhooks.repository.page(state=query.state, after=after, size=query.limit)
    total = await webhooks.repository.count(query.state, TOTAL_MAX) if query.total else None
    return DeliveryPage([delivery_view(delivery) for delivery in page], cursors.write(last), total)


async def retry_delivery(
    request: Request, notification: str, destination: str, webhooks: WebhookService
) -> None:
    """Send a delivery again.

    Queues a delivery that was delivered or abandoned, and resets the number of attempts.
    """
    await webhooks.retry(notification, destination, request.actor)


def _view(request: Request, webhook: Webhook) -> WebhookView:
    request.add_header(b"etag", etag(webhook.version))
    return webhook_view(webhook)


_read = partial(Endpoint, "GET", tag="notifications", feature=WEBHOOKS, roles=AUDITORS)
_write = partial(Endpoint, tag="notifications", feature=WEBHOOKS, roles=OPERATORS)

_WEBHOOKS, _WEBHOOK = "/v1/webhooks", "/v1/webhooks/{webhook}"
_RETRY = "/v1/deliveries/{notification}/{destination}/retry"

ENDPOINTS = (
    # Step-up is required because the receiver obtains a secret and all notifications.
    _write("POST", _WEBHOOKS, create_webhook, step_up=StepUp.ALWAYS, status=201),
    _read(_WEBHOOKS, list_webhooks),
    _read(_WEBHOOK, show_webhook, errors=(404,)),
    _write(
        "PATCH",
        _WEBHOOK,
        update_webhook,
        step_up=StepUp.ALWAYS,
        errors=(404, 412, 428),
        headers=(IF_MATCH,),
    ),
    _write(
        "POST",
        f"{_WEBHOOK}/rotate-secret",
        rotate_webhook_secret,
        step_up=StepUp.ALWAYS,
        errors=(404,),
    ),
    _write(
        "POST", f"{_WEBHOOK}/test", test_webhook, step_up=StepUp.NEVER, status=204, errors=(404,)
    ),
    _write("DELETE", _WEBHOOK, delete_webhook, step_up=StepUp.ALWAYS, status=204, errors=(404,)),
    _read("/v1/deliveries", list_deliveries),
    _write("POST", _RETRY, retry_delivery, step_up=StepUp.NEVER, status=204, errors=(404,)),
)
