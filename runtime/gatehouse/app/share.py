"""Puts the share door together."""

from __future__ import annotations

from gatehouse import observe
from gatehouse.doors import asgi
from gatehouse.doors.share import app as share
from gatehouse.settings import ShareSettings
from gatehouse.store.dynamodb_tokens import TokensProbe


def build(settings: ShareSettings, *, scraped: bool = True) -> asgi.App:
    """`scraped`: a scraper inside the network reads /metrics."""
    return share.create(
        probes=[TokensProbe(settings.tokens_table)] if settings.tokens_table else [],
        observer=observe.observer("share", settings.log_level, settings.environment),
        https=settings.share_url.startswith("https://"),
        scraped=scraped,
    )
