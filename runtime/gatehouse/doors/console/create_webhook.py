"""POST /v1/webhooks: has a receiver told what happens to keys."""

from __future__ import annotations

from urllib.parse import urlsplit

from fastapi import Response

from gatehouse.core import webhook as signatures
from gatehouse.core.apikey import build
from gatehouse.core.origins import parse_origin, refusal
from gatehouse.doors.console.caller import Caller, Door
from gatehouse.errors import BadRequest, Problem, Unavailable
from gatehouse.store.ports_notice import Webhook
from gatehouse.wire.webhook import CreatedWebhook, CreateWebhook, webhook_view


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
    if origin.address is not None and refusal([origin.address], door.webhook_networks):
        return "leads to an address that is not public"
    return ""
