"""GET /v1/webhooks: who is told what happens to keys."""

from __future__ import annotations

from gatehouse.doors.console.caller import Door
from gatehouse.wire.webhook import WebhookList, webhook_view


async def list_webhooks(door: Door) -> WebhookList:
    """List webhooks, oldest first. Their secrets are stored nowhere and not shown."""
    return WebhookList(webhooks=[webhook_view(one) for one in await door.notices.webhooks()])
