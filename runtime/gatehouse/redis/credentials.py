"""How the gateway logs in to Redis or Valkey: the parts of its URL, checked, and an ElastiCache IAM token made for every connection.

The token is a presigned `connect` request, valid for 15 minutes: docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth-iam.html"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qsl, unquote, urlsplit

import boto3
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest

from gatehouse.errors import SettingsError

VARIABLE = "GATEHOUSE_REDIS_URL"


TOKEN_S = 900


Password = str | Callable[[], Awaitable[str]] | None


@dataclass(frozen=True, slots=True)
class RedisLogin:
    """Where Redis is and who logs in. Its text form holds no password."""

    host: str
    port: int
    database: int
    tls: bool
    user: str
    password: Password = field(default=None, repr=False)

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def context(self) -> ssl.SSLContext | None:
        return ssl.create_default_context() if self.tls else None


def redis_login(url: str, auth: Literal["iam", "url"], cluster: str = "") -> RedisLogin:
    """The login that GATEHOUSE_REDIS_URL, _AUTH and _CLUSTER describe. Raises SettingsError, which never repeats the URL."""
    parts = urlsplit(url)
    if parts.scheme not in {"redis", "rediss"}:
        raise SettingsError(f"{VARIABLE} must begin with rediss:// or redis://")
    try:
        port = parts.port or 6379
    except ValueError:
        raise SettingsError(f"{VARIABLE} has a port that is no number from 1 to 65535") from None
    host, user = parts.hostname or "", unquote(parts.username or "")
    database = parts.path.removeprefix("/") or "0"
    unknown = sorted(name for name, _ in parse_qsl(parts.query, keep_blank_values=True))
    if not host or not database.isdecimal():
        raise SettingsError(f"{VARIABLE} must name a host and at most a database number: rediss://user@host:6379/0")
    if unknown:
        raise SettingsError(f"{VARIABLE} has parameters that are not known: {', '.join(unknown)}; none are")
    tls = parts.scheme == "rediss"
    if auth == "url":
        return RedisLogin(host, port, int(database), tls, user, None if parts.password is None else unquote(parts.password))
    if not tls:
        raise SettingsError(f"{VARIABLE} must begin with rediss://: an IAM token is only ever sent encrypted")
    if not user:
        raise SettingsError(f"{VARIABLE} must name the ElastiCache user: rediss://user@host:6379/0")
    return RedisLogin(host, port, int(database), tls, user, iam_token(cluster, user))


def iam_token(cluster: str, user: str) -> Callable[[], Awaitable[str]]:
    """Makes a token for every new connection; signing is local, the first call fetches the task role's credentials."""

    def sign() -> str:
        # boto3 reads AWS_DEFAULT_REGION alone; a task has AWS_REGION (contract.toml).
        session = boto3.Session(region_name=os.environ.get("AWS_REGION"))
        credentials = session.get_credentials()
        if credentials is None or session.region_name is None:
            raise OSError("no AWS credentials or region")
        # ElastiCache replication group ids are lower case, and the signed host is that id, not the endpoint.
        request = AWSRequest(method="GET", url=f"http://{cluster.lower()}/", params={"Action": "connect", "User": user})
        signer = SigV4QueryAuth(credentials.get_frozen_credentials(), "elasticache", session.region_name, expires=TOKEN_S)
        signer.add_auth(request)
        return str(request.prepare().url).removeprefix("http://")

    async def token() -> str:
        return await asyncio.to_thread(sign)

    return token
