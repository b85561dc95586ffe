"""Puts the share service together."""

from __future__ import annotations

from gatehouse import observe
from gatehouse.doors import asgi, sharing
from gatehouse.settings import ShareSettings
from gatehouse.store.dynamodb_tokens import TokensProbe


def build(settings: ShareSettings, *, scraped: bool = True) -> asgi.App:
    """`scraped`: a scraper inside the network reads /metrics."""
    return sharing.create(
        probes=[TokensProbe(settings.secret_links_table)] if settings.secret_links_table else [],
        observer=observe.observer("sharing", settings.log_level, settings.environment),
        https=settings.sharing_url.startswith("https://"),
        scraped=scraped,
    )
