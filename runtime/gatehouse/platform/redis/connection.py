"""Connects to Redis or Valkey with a URL or IAM tokens.

A call fails after its timeout, which includes the time for opening a connection, and is not
repeated. If Redis hangs, it does not close connections, so the client closes the connection of a
call that has failed.
"""

import asyncio
import os
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any, Literal, TypeVar
from urllib.parse import unquote, urlsplit

from valkey.asyncio import BlockingConnectionPool, Connection, SSLConnection, Valkey
from valkey.exceptions import ReadOnlyError, ValkeyError

from gatehouse.core.errors import SettingsError, Unavailable
from gatehouse.platform import calls
from gatehouse.platform.settings import Settings

VARIABLE = "GATEHOUSE_REDIS_URL"
TOKEN_S = 900

#: Maximum number of connections of a process. Further calls wait for a connection.
CONNECTIONS_MAX = 4

#: A name with the hash tag of all names. A shard of a cluster that does not hold them is therefore
#: not ready.
_PROBED = "gatehouse:{0}"

Reply = TypeVar("Reply")


class Redis:
    """Client of a process, and its readiness probe.

    client: sends the commands that `call` awaits.
    """

    name = "redis"

    def __init__(
        self, url: str, auth: Literal["iam", "url"], cluster: str = "", *, timeout_s: float
    ) -> None:
        """url, auth, cluster: values of GATEHOUSE_REDIS_URL, _AUTH and _CLUSTER. timeout_s: timeout
        of a call. Opens no connection. Raises SettingsError, which never quotes the URL.
        """
        arguments = _connection_arguments(url, auth, cluster)
        pool = BlockingConnectionPool(
            CONNECTIONS_MAX, timeout=None, socket_timeout=None, **arguments
        )
        self.client = Valkey.from_pool(pool)
        self.timeout_s = timeout_s

    async def call(self, reply: Awaitable[Reply], timeout_s: float | None = None) -> Reply:
        """The reply to a command. Raises Unavailable, with the name of the error in `detail`."""
        try:
            async with asyncio.timeout(self.timeout_s if timeout_s is None else timeout_s):
                try:
                    result = await reply
                except ReadOnlyError:
                    # A replica keeps the connections from when it was the primary.
                    await self.client.connection_pool.disconnect(inuse_connections=False)
                    raise
        # ValueError: the reply does not follow the protocol.
        except (ValkeyError, OSError, ValueError) as exc:
            calls.failed("Redis", type(exc).__name__)
            raise Unavailable("Redis is not available.", detail=type(exc).__name__) from exc
        calls.succeeded("Redis")
        return result

    async def check(self) -> None:
        """Raises Unavailable."""
        await self.call(self.client.exists(_PROBED))

    async def close(self) -> None:
        with suppress(Unavailable):
            await self.call(self.client.aclose())


def redis_of(settings: Settings) -> Redis | None:
    """Client of a service, or None if Redis is not configured. Raises SettingsError."""
    if not settings.redis_url:
        return None
    timeout_s = settings.limit_timeout_ms / 1000
    return Redis(
        settings.redis_url, settings.redis_auth, settings.redis_cluster, timeout_s=timeout_s
    )


def _connection_arguments(url: str, auth: Literal["iam", "url"], cluster: str) -> dict[str, Any]:
    try:
        parts = urlsplit(url)
        port = parts.port or 6379
    except ValueError:
        parts, port = urlsplit(""), 0
    database = parts.path.removeprefix("/") or "0"
    if (
        parts.scheme not in {"redis", "rediss"}
        or not parts.hostname
        or not database.isdecimal()
        or parts.query
    ):
        raise SettingsError(
            f"{VARIABLE} must have the form rediss://user@host:6379/0, or redis://... without TLS"
        )
    user = unquote(parts.username or "")
    arguments: dict[str, Any] = {
        "host": parts.hostname,
        "port": port,
        "db": int(database),
        "username": user,
    }
    if parts.scheme == "rediss":
        arguments["ssl_check_hostname"] = True
    if auth == "url":
        kind: type[Connection] = SSLConnection if parts.scheme == "rediss" else Connection
        return {**arguments, "connection_class": kind, "password": unquote(parts.password or "")}
    if parts.scheme != "rediss" or not user:
        raise SettingsError(
            f"{VARIABLE} must have the form rediss://user@host:6379/0, with the ElastiCache user: "
            f"IAM authentication requires TLS"
        )
    return {**arguments, "connection_class": _IamConnection, "cluster": cluster}


class _IamConnection(SSLConnection):
    def __init__(self, *, cluster: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._cluster = cluster

    async def connect(self) -> None:
        if not self.is_connected:
            # Signing is local, but fetches the credentials of the task role.
            self.password = await asyncio.to_thread(iam_token, self._cluster, self.username or "")
        await super().connect()  # type: ignore[no-untyped-call]


def iam_token(cluster: str, user: str) -> str:
    """Token for a replication group of ElastiCache. Blocks. Raises OSError.

    Source: docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth-iam.html
    """
    import boto3  # as in gatehouse.platform.aws
    from botocore.auth import SigV4QueryAuth
    from botocore.awsrequest import AWSRequest
    from botocore.exceptions import BotoCoreError

    # boto3 reads only AWS_DEFAULT_REGION, but tasks set AWS_REGION (contract.toml).
    session = boto3.Session(region_name=os.environ.get("AWS_REGION"))
    # The signed host is the replication group ID in lowercase, not the endpoint.
    request = AWSRequest(
        method="GET", url=f"http://{cluster.lower()}/", params={"Action": "connect", "User": user}
    )
    try:
        credentials = session.get_credentials()
        if credentials is None or session.region_name is None:
            raise OSError("no AWS credentials or region")
        frozen = credentials.get_frozen_credentials()
        SigV4QueryAuth(frozen, "elasticache", session.region_name, expires=TOKEN_S).add_auth(
            request
        )
    except BotoCoreError as exc:
        raise OSError("the AWS credentials cannot be read") from exc
    return str(request.prepare().url).removeprefix("http://")
