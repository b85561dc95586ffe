"""`gatehouse webhooks`: manages webhooks and their deliveries through the console."""

import typer

from gatehouse.commands.cli.endpoints import Command
from gatehouse.commands.cli.endpoints import register as register_all
from gatehouse.features.notifications.schemas import (
    CreatedWebhook,
    CreateWebhook,
    DeliveryPage,
    ListDeliveries,
    RotateWebhookSecret,
    UpdateWebhook,
    WebhookList,
    WebhookView,
)

_ID = "8dKs02mXwP4t"
_COMMANDS = (
    Command(
        name="create",
        operation="POST /v1/webhooks",
        shape=CreateWebhook,
        response=CreatedWebhook,
        help="Add a webhook, and print its secret. The secret is shown only once.",
        example="--url https://hooks.example.com/gatehouse",
        done="Created webhook {webhook.id}. Store the secret now; it is not shown again:",
        once="secret",
    ),
    Command(
        name="list",
        operation="GET /v1/webhooks",
        response=WebhookList,
        help="List webhooks, oldest first.",
    ),
    Command(
        name="show",
        operation="GET /v1/webhooks/{webhook}",
        response=WebhookView,
        help="Show a webhook.",
        example=_ID,
    ),
    Command(
        name="update",
        operation="PATCH /v1/webhooks/{webhook}",
        shape=UpdateWebhook,
        response=WebhookView,
        version="version",
        help="Change a webhook. Omitted settings stay unchanged.",
        example=f"{_ID} --event key.revoked",
    ),
    Command(
        name="rotate-secret",
        operation="POST /v1/webhooks/{webhook}/rotate-secret",
        shape=RotateWebhookSecret,
        response=CreatedWebhook,
        help="Replace the secret of a webhook. Until the overlap ends, requests have the "
        "signatures of both secrets.",
        example=f"{_ID} --overlap 1d",
        done="Rotated the secret of {webhook.id}. Store it now; it is not shown again:",
        once="secret",
    ),
    Command(
        name="test",
        operation="POST /v1/webhooks/{webhook}/test",
        help="Send the event webhook.test to a webhook.",
        example=_ID,
        done="Queued a test event for {webhook}.",
    ),
    Command(
        name="delete",
        operation="DELETE /v1/webhooks/{webhook}",
        help="Delete a webhook. Pending deliveries are discarded.",
        example=_ID,
        done="Deleted {webhook}.",
    ),
    Command(
        name="deliveries",
        operation="GET /v1/deliveries",
        shape=ListDeliveries,
        response=DeliveryPage,
        help="List deliveries, newest first.",
        example="--state dead",
    ),
    Command(
        name="retry",
        operation="POST /v1/deliveries/{notification}/{destination}/retry",
        help="Send a delivery again.",
        example=f"msg_0199f3a8c0d1b6e5f4a39281 {_ID}",
        done="Queued {notification} for {destination}.",
    ),
)


def register(app: typer.Typer) -> None:
    webhooks = typer.Typer(name="webhooks", help="Manage webhooks and their deliveries.")
    register_all(webhooks, *_COMMANDS)
    app.add_typer(webhooks)
