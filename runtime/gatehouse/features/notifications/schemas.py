"""Request and response shapes of webhooks and deliveries."""

from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

from msgspec import UNSET, UnsetType

from gatehouse.core.clock import rfc3339
from gatehouse.features.notifications.models import (
    Delivery,
    DeliveryState,
    NotificationEvent,
    Webhook,
)
from gatehouse.platform.web.fields import (
    PAGE_SIZE,
    Counted,
    Cursor,
    Input,
    Instant,
    NextCursor,
    PageSize,
    ShownOnce,
    Total,
    View,
    check_changes,
    doc,
    sent_fields,
    view_of,
)
from gatehouse.platform.web.validation import unchanged

URL_CHARS_MAX = 500


WebhookUrl = Annotated[
    str,
    unchanged(
        description="HTTPS URL for POST requests, with a public address and without a user name.",
        max_length=URL_CHARS_MAX,
    ),
]
Events = Annotated[
    list[NotificationEvent], doc("Events to send. Empty: all events.", max_length=20)
]
ContactOnly = Annotated[
    bool, doc("Send only events of keys and customers whose `contact` is the ID of this webhook.")
]


class CreateWebhook(Input):
    """Parameters of a new webhook."""

    example: ClassVar = {"url": "https://hooks.example.com/gatehouse", "events": ["key.revoked"]}

    url: WebhookUrl
    events: Events = []
    contact_only: ContactOnly = False


class UpdateWebhook(Input, kw_only=True):
    """Changes to a webhook. Omitted fields keep their values."""

    example: ClassVar = {"events": ["key.revoked"]}

    url: WebhookUrl | UnsetType = UNSET
    events: Events | UnsetType = UNSET
    contact_only: ContactOnly | UnsetType = UNSET

    def __post_init__(self) -> None:
        check_changes(self)


#: Maximum overlap of two secrets, and the default, in seconds.
OVERLAP_S_MAX, OVERLAP_S_DEFAULT = 7 * 86_400, 86_400


class RotateWebhookSecret(Input):
    """Parameters of the rotation of a secret."""

    overlap_s: Annotated[
        int,
        doc(
            "Time in seconds in which requests have a signature with the previous secret too.",
            ge=0,
            le=OVERLAP_S_MAX,
        ),
    ] = OVERLAP_S_DEFAULT


class WebhookView(View, kw_only=True):
    example: ClassVar = {"url": "https://hooks.example.com", "events": ["key.revoked"]}

    id: str
    url: Annotated[str, doc("The URL without its path and query, which may contain a secret.")]
    events: list[NotificationEvent]
    contact_only: bool
    version: Annotated[int, doc("Serves as the ETag for `If-Match`.")]
    overlap_ends_at: Annotated[
        Instant | None, doc("Until then, requests have a signature with the previous secret too.")
    ]
    created_at: Instant
    created_by: str


class CreatedWebhook(View):
    example: ClassVar = {"secret": "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}

    secret: Annotated[
        ShownOnce,
        doc(
            "Secret with which the receiver verifies signatures (Standard "
            "Webhooks). Returned only in this response."
        ),
    ]
    webhook: WebhookView


class WebhookList(View):
    webhooks: list[WebhookView]


class ListDeliveries(Input):
    """Query parameters for listing deliveries."""

    state: Annotated[
        DeliveryState | None,
        doc(
            "Filter by state. `dead`: abandoned after the last attempt failed. "
            "Default: all deliveries."
        ),
    ] = None
    cursor: Cursor | None = None
    limit: PageSize = PAGE_SIZE
    total: Counted = False


class DeliveryView(View, kw_only=True):
    """Delivery of a notification to one destination."""

    example: ClassVar = {
        "notification_id": "msg_0199f3a8c0d1b6e5f4a39281",
        "destination": "8kLm20pQxT4v",
    }

    notification_id: str
    destination: Annotated[str, doc("ID of the webhook, `topic` for the SNS topic, or `email`.")]
    event: NotificationEvent
    state: DeliveryState
    attempts: int
    next_at: Annotated[
        Instant | None, doc("Time of the next attempt. Null unless `state` is `waiting`.")
    ]
    created_at: Instant
    problem: Annotated[str, doc("Reason why the last attempt failed.")]


class DeliveryPage(View):
    deliveries: list[DeliveryView]
    next_cursor: NextCursor
    total: Total = None


def webhook_view(webhook: Webhook) -> WebhookView:
    url, events = urlsplit(webhook.url), [NotificationEvent(event) for event in webhook.events]
    return view_of(WebhookView, webhook, url=f"{url.scheme}://{url.netloc}", events=events)


def changes_of(body: UpdateWebhook) -> dict[str, Any]:
    """The fields that the update contains."""
    changes = sent_fields(body)
    if "events" in changes:
        changes["events"] = tuple(dict.fromkeys(changes["events"]))
    return changes


def delivery_view(delivery: Delivery) -> DeliveryView:
    next_at = rfc3339(delivery.next_at) if delivery.state == "waiting" else None
    return view_of(DeliveryView, delivery, destination=delivery.target, next_at=next_at)
