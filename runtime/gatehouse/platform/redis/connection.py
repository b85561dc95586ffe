"""Connects to Redis or Valkey with a URL or IAM tokens, using asyncio and hiredis.

If Redis hangs, it does not close the connection, and a late reply on a reused connection would be
mistaken for the reply to the next command. A timeout or a cancellation therefore closes the
connection, and the next use opens a new connection.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import hiredis

from gatehouse.core.errors import SettingsError, Unavailable

VARIABLE = "GATEHOUSE_REDIS_URL"
TOKEN_S = 900

Password = str | Callable[[], Awaitable[str]] | None

#: Timeout for opening a connection, in addition to the timeout of the command that requires the
#: connection.
OPEN_TIMEOUT_S = 0.25

#: Timeout of each step of the readiness probe.
PROBE_TIMEOUT_S = 2.0

Reply = bytes | int | None | list["Reply"]


@dataclass(frozen=True, slots=True)
class RedisLogin:
    """Address of Redis, and credentials. `repr` does not contain the password."""

    host: str
    port: int
    database: int
    tls: bool
    user: str
    password: Password = field(default=None, repr=False)


def redis_login(url: str, auth: Literal["iam", "url"], cluster: str = "") -> RedisLogin:
    """Login from the values of GATEHOUSE_REDIS_URL, _AUTH and _CLUSTER. Raises SettingsError, which
    never quotes the URL.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"redis", "rediss"}:
        raise SettingsError(f"{VARIABLE} must begin with rediss:// or redis://")
    try:
        port = parts.port or 6379
    except ValueError:
        raise SettingsError(f"{VARIABLE} has a port that is not a number from 1 to 65535") from None
    host, user = parts.hostname or "", unquote(parts.username or "")
    database = parts.path.removeprefix("/") or "0"
    unknown = sorted(name for name, _ in parse_qsl(parts.query, keep_blank_values=True))
    if not host or not database.isdecimal():
        raise SettingsError(
            f"{VARIABLE} must contain a host and optionally a database number: rediss://user@host:6379/0"
        )
    if unknown:
        raise SettingsError(f"{VARIABLE} has unsupported parameters: {', '.join(unknown)}")
    tls = parts.scheme == "rediss"
    if auth == "url":
        return RedisLogin(
            host,
            port,
            int(database),
            tls,
            user,
            None if parts.password is None else unquote(parts.password),
        )
    if not tls:
        raise SettingsError(
            f"{VARIABLE} must begin with rediss://: IAM authentication requires TLS"
        )
    if not user:
        raise SettingsError(
            f"{VARIABLE} must contain the ElastiCache user: rediss://user@host:6379/0"
        )
    return RedisLogin(host, port, int(database), tls, user, iam_token(cluster, user))


def iam_token(cluster: str, user: str) -> Callable[[], Awaitable[str]]:
    """Password callback that signs a token for each new connection. Signing is local, but the first
    call fetches the credentials of the task role."""

    def sign() -> str:
        import boto3  # as in gatehouse.platform.aws
        from botocore.auth import SigV4QueryAuth
        from botocore.awsrequest import AWSRequest

        # boto3 reads only AWS_DEFAULT_REGION, but tasks set AWS_REGION (contract.toml).
        session = boto3.Session(region_name=os.environ.get("AWS_REGION"))
        credentials = session.get_credentials()
        if credentials is None or session.region_name is None:
            raise OSError("no AWS credentials or region")
        # The signed host is the replication group ID in lowercase, not the endpoint.
        request = AWSRequest(
            method="GET",
            url=f"http://{cluster.lower()}/",
            params={"Action": "connect", "User": user},
        )
        signer = SigV4QueryAuth(
            credentials.get_frozen_credentials(),
            "elasticache",
            session.region_name,
            expires=TOKEN_S,
        )
        signer.add_auth(request)
        return str(request.prepare().url).removeprefix("http://")

    return partial(asyncio.to_thread, sign)


class RedisReplyError(Exception):
    """An error reply from Redis. Contains only the error code from the server."""


class Script:
    """A Lua script, which Redis caches by the hash of its text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class _Exchanges(asyncio.Protocol):
    """Sends one command at a time over an open connection."""

    def __init__(self) -> None:
        self._parser = hiredis.Reader()
        self._transport: asyncio.WriteTransport | None = None
        self._reply: asyncio.Future[Any] | None = None
        self._decode: Callable[[Reply], Any] | None = None

    @property
    def is_open(self) -> bool:
        return self._transport is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._fail(ConnectionError("closed by the server"))

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed(data)
            reply = self._parser.gets()
        except hiredis.HiredisError as exc:
            self._fail(ConnectionError(f"not a reply: {type(exc).__name__}"))
            return
        if (
            reply is False or self._reply is None or self._reply.done()
        ):  # hiredis returns False for an incomplete reply
            return
        if isinstance(reply, hiredis.ReplyError):
            self._fail(RedisReplyError(str(reply).split(" ", 1)[0]))
            return
        try:
            self._reply.set_result(reply if self._decode is None else self._decode(reply))
        except (ValueError, TypeError) as exc:
            self._fail(exc)

    async def exchange(
        self, command: Sequence[str | bytes | int | float], decode: Callable[[Reply], Any] | None
    ) -> Any:
        if self._transport is None:
            raise ConnectionError("not connected")
        # The type stub of pack_command only declares tuples of one argument.
        arguments: Any = tuple(command)
        self._reply, self._decode = asyncio.get_running_loop().create_future(), decode
        self._transport.write(hiredis.pack_command(arguments))
        return await self._reply

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _fail(self, error: Exception) -> None:
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(error)


class RedisConnection:
    """A connection for one caller at a time."""

    def __init__(self, login: RedisLogin) -> None:
        self._login = login
        self._context = ssl.create_default_context() if login.tls else None
        self._exchanges = _Exchanges()

    @property
    def is_open(self) -> bool:
        return self._exchanges.is_open

    async def open(self, timeout_s: float) -> None:
        """Opens the connection and logs in. Raises OSError, TimeoutError, RedisReplyError."""
        self.close()
        login = self._login
        try:
            async with asyncio.timeout(timeout_s):
                password = (
                    login.password
                    if isinstance(login.password, str | None)
                    else await login.password()
                )
                host = login.host if self._context is not None else None
                loop = asyncio.get_running_loop()
                _, self._exchanges = await loop.create_connection(
                    _Exchanges, login.host, login.port, ssl=self._context, server_hostname=host
                )
                if password is not None:
                    await self._exchanges.exchange(
                        ("AUTH", login.user, password) if login.user else ("AUTH", password), None
                    )
                if login.database:
                    await self._exchanges.exchange(("SELECT", login.database), None)
        except BaseException:
            self.close()
            raise

    async def call(
        self,
        command: Sequence[str | bytes | int | float],
        timeout_s: float,
        decode: Callable[[Reply], Any] | None = None,
    ) -> Any:
        """Sends a command. Returns the reply, or the result of `decode`. `decode` is called as soon
        as the reply arrives.

        Raises OSError, TimeoutError and the errors of `decode`, after which the connection is
        closed, and RedisReplyError, after which the connection stays open.
        """
        try:
            async with asyncio.timeout(timeout_s):
                return await self._exchanges.exchange(command, decode)
        except RedisReplyError:
            raise
        except BaseException:
            self.close()
            raise

    async def evaluate(
        self,
        script: Script,
        keys: Sequence[str],
        arguments: Sequence[str | int],
        timeout_s: float,
        decode: Callable[[Reply], Any] | None = None,
    ) -> Any:
        """Runs a script. If necessary, opens the connection first, which adds up to OPEN_TIMEOUT_S
        to the timeout.

        Raises the same errors as `call`, but RedisReplyError closes the connection too.
        """
        if not self.is_open:
            await self.open(OPEN_TIMEOUT_S)
        try:
            return await self.call(
                ("EVALSHA", script.sha, len(keys), *keys, *arguments), timeout_s, decode
            )
        except RedisReplyError as exc:
            if str(exc) != "NOSCRIPT":
                self.close()
                raise
        # A restarted or flushed server has lost the script. EVAL loads the script again.
        return await self.call(
            ("EVAL", script.text, len(keys), *keys, *arguments), timeout_s, decode
        )

    def close(self) -> None:
        """Closes the connection without waiting for the server."""
        exchanges, self._exchanges = self._exchanges, _Exchanges()
        exchanges.close()


@dataclass(slots=True)
class RedisProbe:
    """Readiness probe of Redis. Uses a separate connection, so that the probe never delays a
    request.
    """

    login: RedisLogin
    name: str = "redis"

    async def check(self) -> None:
        """Raises Unavailable."""
        connection = RedisConnection(self.login)
        try:
            await connection.open(PROBE_TIMEOUT_S)
            await connection.call(("PING",), PROBE_TIMEOUT_S)
        except (OSError, TimeoutError, RedisReplyError) as exc:
            raise Unavailable("Redis is not available.", detail=type(exc).__name__) from exc
        finally:
            connection.close()
