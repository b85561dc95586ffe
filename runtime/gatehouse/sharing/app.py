"""Composition root of the sharing service."""

from __future__ import annotations

from gatehouse import observability as observe
from gatehouse.aws.dynamodb import SecretLinksProbe
from gatehouse.http import asgi
from gatehouse.settings import SharingSettings
from gatehouse.sharing import routes as sharing


def build(settings: SharingSettings, *, scraped: bool = True) -> asgi.App:
    """Build the sharing service. `scraped`: it serves /metrics to a scraper in its network."""
    return sharing.create(
        probes=[SecretLinksProbe(settings.secret_links_table)] if settings.secret_links_table else [],
        observer=observe.observer("sharing", settings.log_level, settings.environment),
        https=settings.sharing_url.startswith("https://"),
        scraped=scraped,
    )
