"""POST /v1/webhooks: has a receiver told what happens to keys.

GET /v1/webhooks: who is told what happens to keys.

DELETE /v1/webhooks/{webhook}: tells a receiver nothing more.

GET /v1/deliveries: notices that wait, were taken, or were given up.

POST /v1/deliveries/{notice}/{target}/retry: tries a dead letter again.
"""

from __future__ import annotations

import json
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Query, Response

from gatehouse.console.dependencies import Caller, Door
from gatehouse.cores.origins import parse_origin, rejection
from gatehouse.crypto.token import build
from gatehouse.errors import BadRequest, NotFound, Problem, Unavailable
from gatehouse.http.pagination import Cursors
from gatehouse.notifications import webhook_signatures as signatures
from gatehouse.notifications.models import Webhook
from gatehouse.notifications.schemas import (
    CreatedWebhook,
    CreateWebhook,
    DeliveryPage,
    ListDeliveries,
    WebhookList,
    delivery_view,
    webhook_view,
)


async def create_webhook(wish: CreateWebhook, door: Door, caller: Caller, response: Response) -> CreatedWebhook:
    """Make a webhook. Its secret is in this answer and cannot be had again."""
    wrong = _flaw(wish.url, door)
    if wrong:
        raise BadRequest("Notices cannot be sent there", errors=(Problem("body.url", wrong, "send a public https:// URL"),))
    # An id as keys have: 71 random bits in base62.
    made = build(door.key_prefix, door.key_environment, door.random_bytes(12), door.random_bytes(32)).id
    now, generation = door.clock.now(), door.pepper.current
    secret = signatures.secret_of(door.pepper, made, generation)
    if secret is None:
        raise Unavailable("Webhooks cannot be made at the moment", detail="the current pepper generation is not held")
    webhook = Webhook(made, wish.url, tuple(dict.fromkeys(wish.events)), generation, now, caller.label)
    host = urlsplit(wish.url).hostname or ""
    event = caller.did(
        "webhook.create", target_type="webhook", target_id=made, at=now, details={"host": host, "events": list(webhook.events)}
    )
    await door.notices.add_webhook(webhook, event)
    response.headers["Location"] = "/v1/webhooks"
    return CreatedWebhook(secret=signatures.secret_text(secret), webhook=webhook_view(webhook))


def _flaw(url: str, door: Door) -> str:
    """Why nothing is sent there, or an empty text. A name is looked up, and its addresses checked, at every sending."""
    if not url.isascii() or any(character <= " " or character in "\\\x7f" for character in url) or "#" in url:
        return "must be visible ASCII characters without a fragment or backslash"
    scheme, _, rest = url.partition("://")
    origin = parse_origin(f"{scheme}://{rest.partition('/')[0].partition('?')[0]}")
    if isinstance(origin, str):
        return origin
    if origin.scheme != "https" and not door.webhook_networks:
        return "must begin with https://"
    if origin.address is not None and rejection([origin.address], door.webhook_networks):
        return "leads to an address that is not public"
    return ""


async def list_webhooks(door: Door) -> WebhookList:
    """List webhooks, oldest first. Their secrets are stored nowhere and not shown."""
    return WebhookList(webhooks=[webhook_view(one) for one in await door.notices.webhooks()])


async def delete_webhook(webhook: str, door: Door, caller: Caller) -> None:
    """Delete a webhook, with what still waits for it."""
    event = caller.did("webhook.delete", target_type="webhook", target_id=webhook[:12], at=door.clock.now(), details={})
    if "\0" in webhook or not await door.notices.delete_webhook(webhook, event):
        raise NotFound("There is no webhook with this id")


async def list_deliveries(query: Annotated[ListDeliveries, Query()], door: Door) -> DeliveryPage:
    """List deliveries; without a state, the dead letters."""
    cursors = Cursors(door.cursor_pepper, f"deliveries|{query.state}")
    notification_id, target = ("", "") if query.cursor is None else json.loads(cursors.read(query.cursor))
    found = await door.notices.deliveries(state=query.state, after=(notification_id, target), size=query.limit + 1)
    shown = found[: query.limit]
    more = len(found) > query.limit
    return DeliveryPage(
        deliveries=[delivery_view(one) for one in shown],
        next_cursor=cursors.write(json.dumps([shown[-1].notification_id, shown[-1].target])) if more else None,
    )


async def retry_delivery(notice: str, target: str, door: Door, caller: Caller) -> None:
    """Try a notice again that was given up, from the first attempt on."""
    now = door.clock.now()
    event = caller.did(
        "delivery.retry", target_type="webhook", target_id=target[:12], at=now, details={"notification_id": notice[:40]}
    )
    if "\0" in notice + target or not await door.notices.revive(notice, target, now=now, event=event):
        raise NotFound("There is no such dead letter")
