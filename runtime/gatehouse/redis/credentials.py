"""Credentials for Redis or Valkey: the parts of its URL, and an ElastiCache IAM token for each connection.

The token is a presigned `connect` request, valid for 15 minutes: docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth-iam.html
"""

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
    """Address of Redis and credentials. The representation does not contain the password."""

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
    """The login of GATEHOUSE_REDIS_URL, _AUTH and _CLUSTER. Raises SettingsError, which never quotes the URL."""
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
        raise SettingsError(f"{VARIABLE} must contain a host and optionally a database number: rediss://user@host:6379/0")
    if unknown:
        raise SettingsError(f"{VARIABLE} has unsupported parameters: {', '.join(unknown)}")
    tls = parts.scheme == "rediss"
    if auth == "url":
        return RedisLogin(host, port, int(database), tls, user, None if parts.password is None else unquote(parts.password))
    if not tls:
        raise SettingsError(f"{VARIABLE} must begin with rediss://: IAM authentication requires TLS")
    if not user:
        raise SettingsError(f"{VARIABLE} must contain the ElastiCache user: rediss://user@host:6379/0")
    return RedisLogin(host, port, int(database), tls, user, iam_token(cluster, user))


def iam_token(cluster: str, user: str) -> Callable[[], Awaitable[str]]:
    """Creates a token for each new connection. Signing is local; the first call fetches the credentials of the task role."""

    def sign() -> str:
        # boto3 reads AWS_DEFAULT_REGION only, but tasks have AWS_REGION (contract.toml).
        session = boto3.Session(region_name=os.environ.get("AWS_REGION"))
        credentials = session.get_credentials()
        if credentials is None or session.region_name is None:
            raise OSError("no AWS credentials or region")
        # The signed host is the replication group id, which is lower case, and not the endpoint.
        request = AWSRequest(method="GET", url=f"http://{cluster.lower()}/", params={"Action": "connect", "User": user})
        signer = SigV4QueryAuth(credentials.get_frozen_credentials(), "elasticache", session.region_name, expires=TOKEN_S)
        signer.add_auth(request)
        return str(request.prepare().url).removeprefix("http://")

    async def token() -> str:
        return await asyncio.to_thread(sign)

    return token
