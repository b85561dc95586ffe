"""Composition root of the sharing service, and the readiness probe of its table."""

from __future__ import annotations

import asyncio
import os

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from gatehouse import observability as observe
from gatehouse.errors import Unavailable
from gatehouse.http import asgi
from gatehouse.settings import SharingSettings
from gatehouse.sharing import routes as sharing

_TIMEOUT_S = 1

#: Key of an item that does not exist.
_ABSENT = "readiness-probe"


def build(settings: SharingSettings, *, scraped: bool = True) -> asgi.App:
    """Build the sharing service. `scraped`: it serves /metrics to a scraper in its network."""
    return sharing.create(
        probes=[SecretLinksProbe(settings.secret_links_table)] if settings.secret_links_table else [],
        observer=observe.observer("sharing", settings.log_level, settings.environment),
        https=settings.sharing_url.startswith("https://"),
        scraped=scraped,
    )


class SecretLinksProbe:
    """Reads an item, which requires the permission that the sharing service needs (dynamodb:GetItem)."""

    name = "tokens"

    def __init__(self, table: str) -> None:
        """`table` is GATEHOUSE_SECRET_LINKS_TABLE; the region and the endpoint come from the environment.

        Opens no connection yet.
        """
        # A single attempt: the caller repeats a readiness probe.
        config = Config(connect_timeout=_TIMEOUT_S, read_timeout=_TIMEOUT_S, retries={"total_max_attempts": 1})
        self._table = table
        # boto3 reads AWS_DEFAULT_REGION only, but tasks have AWS_REGION (contract.toml).
        self._client = boto3.client("dynamodb", region_name=os.environ.get("AWS_REGION"), config=config)

    async def check(self) -> None:
        """Raises Unavailable. Runs in a thread, because boto3 blocks."""
        try:
            await asyncio.to_thread(
                self._client.get_item, TableName=self._table, Key={"id": {"S": _ABSENT}}, ProjectionExpression="id"
            )
        except (BotoCoreError, ClientError) as exc:
            code = exc.response.get("Error", {}).get("Code", "") if isinstance(exc, ClientError) else ""
            raise Unavailable(
                "The table of secret links is not available", detail=f"{type(exc).__name__} {code}".strip()
            ) from exc
