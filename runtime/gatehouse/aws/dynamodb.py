"""The DynamoDB table of share tokens; for now only whether it can be read."""

from __future__ import annotations

import asyncio
import os

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from gatehouse.errors import Unavailable

_TIMEOUT_S = 1


#: A key that no token has: the probe reads one item that is not there.
_ABSENT = "readiness-probe"


class SecretLinksProbe:
    """Readiness of the tokens table, with the very right that the share door needs (dynamodb:GetItem)."""

    name = "tokens"

    def __init__(self, table: str, key_attribute: str = "id") -> None:
        """`table` is GATEHOUSE_SECRET_LINKS_TABLE; the region and the endpoint come from the environment. Opens no connection yet."""
        # One attempt, a second each to connect and to read: a readiness probe is repeated by its caller.
        config = Config(connect_timeout=_TIMEOUT_S, read_timeout=_TIMEOUT_S, retries={"total_max_attempts": 1})
        self._table = table
        self._key = key_attribute
        # boto3 reads AWS_DEFAULT_REGION alone; a task has AWS_REGION (contract.toml).
        self._client = boto3.client("dynamodb", region_name=os.environ.get("AWS_REGION"), config=config)

    async def check(self) -> None:
        """Raises Unavailable. The call runs in a thread, since boto3 blocks."""
        try:
            await asyncio.to_thread(
                self._client.get_item, TableName=self._table, Key={self._key: {"S": _ABSENT}}, ProjectionExpression=self._key
            )
        except (BotoCoreError, ClientError) as exc:
            code = exc.response.get("Error", {}).get("Code", "") if isinstance(exc, ClientError) else ""
            raise Unavailable("The tokens table is not available", detail=f"{type(exc).__name__} {code}".strip()) from exc
