"""The JSON shapes of webhooks and of notices that could not be delivered."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from gatehouse.notifications.models import Delivery, Webhook
from gatehouse.timestamps import rfc3339

URL_CHARS_MAX = 500


Event = Literal["key.revoked", "key.rotated", "key.expires_soon", "key.leaked", "key.unusual"]


_EXAMPLE: JsonDict = {
    "id": "8kLm20pQxT4v",
    "url": "https://hooks.example.com/gatehouse",
    "events": ["key.revoked"],
    "created_at": "2030-06-01T09:00:00Z",
    "created_by": "bootstrap",
}


_EXAMPLE_DELIVERY: JsonDict = {
    "notification_id": "msg_0199f3a8c0d1b6e5f4a39281",
    "target": "8kLm20pQxT4v",
    "event": "key.revoked",
    "state": "dead",
    "attempts": 8,
    "next_at": "2030-06-02T09:00:00Z",
    "created_at": "2030-06-01T09:00:00Z",
    "problem": "answered 503",
}


def _answers(*examples: JsonDict) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [*examples]})


class CreateWebhook(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        json_schema_extra={"examples": [{"url": "https://hooks.example.com/gatehouse", "events": ["key.revoked"]}]},
    )

    url: Annotated[str, Field(max_length=URL_CHARS_MAX, description="https, a public address, no user name; POST goes there.")]
    events: Annotated[list[Event], Field(max_length=20, description="Which events; none: all of them.")] = []


class WebhookView(BaseModel):
    id: str
    url: str
    events: list[str]
    created_at: str
    created_by: str


class CreatedWebhook(BaseModel):
    model_config = _answers({"secret": "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "webhook": _EXAMPLE})

    secret: Annotated[str, Field(description="For the receiver, to check signatures with (Standard Webhooks). Shown this once.")]
    webhook: WebhookView


class WebhookList(BaseModel):
    model_config = _answers({"webhooks": [_EXAMPLE]})

    webhooks: list[WebhookView]


class ListDeliveries(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    state: Annotated[Literal["waiting", "delivered", "dead"], Field(description="dead: given up after the last attempt.")] = (
        "dead"
    )
    cursor: Annotated[str | None, Field(max_length=512, description="`next_cursor` of the page before.")] = None
    limit: Annotated[int, Field(ge=1, le=500)] = 50


class DeliveryView(BaseModel):
    notification_id: str
    target: Annotated[str, Field(description="Id of the webhook, or topic.")]
    event: str
    state: str
    attempts: int
    next_at: str
    created_at: str
    problem: Annotated[str, Field(description="Why the last attempt failed.")]


class DeliveryPage(BaseModel):
    model_config = _answers({"deliveries": [_EXAMPLE_DELIVERY], "next_cursor": None})

    deliveries: list[DeliveryView]
    next_cursor: str | None


def webhook_view(webhook: Webhook) -> WebhookView:
    return WebhookView(
        id=webhook.id,
        url=webhook.url,
        events=list(webhook.events),
        created_at=rfc3339(webhook.created_at),
        created_by=webhook.created_by,
    )


def delivery_view(delivery: Delivery) -> DeliveryView:
    return DeliveryView(
        notification_id=delivery.notification_id,
        target=delivery.target,
        event=delivery.event,
        state=delivery.state,
        attempts=delivery.attempts,
        next_at=rfc3339(delivery.next_at),
        created_at=rfc3339(delivery.created_at),
        problem=delivery.problem,
    )
