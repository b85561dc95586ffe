"""Login to PostgreSQL: the parts of GATEHOUSE_DATABASE_URL, TLS, and IAM tokens as passwords."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

import boto3

from gatehouse.errors import SettingsError
from gatehouse.settings import Settings

VARIABLE = "GATEHOUSE_DATABASE_URL"

#: Certificate authorities of RDS, which the Dockerfile adds to the image. System trust stores do not contain them.
RDS_AUTHORITIES = Path("/etc/gatehouse/rds-ca.pem")
CONNECT_TIMEOUT_S = 5.0

#: Default timeout of a statement. The statements of the runtime take milliseconds.
STATEMENT_TIMEOUT_S = 15.0
SslMode = Literal["disable", "prefer", "require", "verify-ca", "verify-full"]
_SSL_MODES: tuple[SslMode, ...] = ("disable", "prefer", "require", "verify-ca", "verify-full")
Password = str | Callable[[], Awaitable[str]] | None


@dataclass(frozen=True, slots=True)
class DatabaseLogin:
    """Parameters of a connection. `repr` does not contain the password."""

    host: str
    port: int
    user: str
    database: str
    ssl_mode: SslMode
    authorities: Path | None = None
    password: Password = field(default=None, repr=False)
    connect_s: float = CONNECT_TIMEOUT_S
    statement_s: float = STATEMENT_TIMEOUT_S

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of `asyncpg.connect` and `asyncpg.create_pool`. Reads the file of certificate authorities."""
        return {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "database": self.database,
            "password": self.password,
            "ssl": _ssl(self.ssl_mode, self.authorities),
            "timeout": self.connect_s,
            "command_timeout": self.statement_s,
        }


def login(url: str, auth: Literal["iam", "password", "url"], password: str | None = None) -> DatabaseLogin:
    """Login for GATEHOUSE_DATABASE_URL, _AUTH and _PASSWORD. Raises SettingsError, whose message does not contain the URL."""
    parts = urlsplit(url)
    if parts.scheme not in {"postgresql", "postgres"}:
        raise SettingsError(f"{VARIABLE} must begin with postgresql://")
    try:
        port = parts.port or 5432
    except ValueError:
        raise SettingsError(f"{VARIABLE} has a port that is not a number from 1 to 65535") from None
    query = dict(parse_qsl(parts.query))
    host = query.pop("host", "") or unquote(parts.hostname or "")
    mode = query.pop("sslmode", "prefer")
    authorities = query.pop("sslrootcert", "")
    user, database = unquote(parts.username or ""), unquote(parts.path.removeprefix("/"))
    if not host or not user or not database:
        raise SettingsError(f"{VARIABLE} must contain a user, a host and a database: postgresql://user@host:5432/name")
    if query:
        raise SettingsError(
            f"{VARIABLE} has unknown parameters: {', '.join(sorted(query))}; the known ones are sslmode, sslrootcert and host"
        )
    ssl_mode = next((candidate for candidate in _SSL_MODES if candidate == mode), None)
    if ssl_mode is None:
        raise SettingsError(f"{VARIABLE} has an unknown sslmode; use one of {', '.join(_SSL_MODES)}")
    if auth == "iam" and ssl_mode in {"disable", "prefer"}:
        raise SettingsError(f"{VARIABLE} must have sslmode=verify-full (or require): an IAM token is only sent over TLS")
    secret: Password = {"iam": iam_password(host, port, user), "password": password, "url": None}[auth]
    if auth == "url" and parts.password is not None:
        secret = unquote(parts.password)
    return DatabaseLogin(host, port, user, database, ssl_mode, Path(authorities) if authorities else None, secret)


def iam_password(host: str, port: int, user: str) -> Callable[[], Awaitable[str]]:
    """Password callback that signs a token for each new connection. A token is valid for 15 minutes.

    Source: docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.Connecting.html
    """

    def sign() -> str:
        # boto3 only reads AWS_DEFAULT_REGION; a task has AWS_REGION (contract.toml).
        return str(
            boto3.client("rds", region_name=os.environ.get("AWS_REGION")).generate_db_auth_token(
                DBHostname=host, Port=port, DBUsername=user
            )
        )

    async def token() -> str:
        # In a thread: the first call requests the credentials of the task role over the network.
        return await asyncio.to_thread(sign)

    return token


def _ssl(mode: SslMode, authorities: Path | None) -> ssl.SSLContext | str | bool:
    if mode == "disable":
        return False
    if mode == "prefer":
        return "prefer"
    context = ssl.create_default_context()
    if authorities is None and RDS_AUTHORITIES.exists():
        authorities = RDS_AUTHORITIES
    if authorities is not None:
        try:
            context.load_verify_locations(authorities)
        except (OSError, ssl.SSLError):
            raise SettingsError(f"{VARIABLE}: the certificates in {authorities} cannot be read") from None
    if mode != "verify-full":
        context.check_hostname = False
    if mode == "require":
        context.verify_mode = ssl.CERT_NONE
    return context


def database(settings: Settings) -> DatabaseLogin:
    """Login that the settings specify. Raises SettingsError."""
    password = settings.database_password.get_secret_value() if settings.database_password else None
    access = login(settings.database_url, settings.database_auth, password)
    return replace(access, connect_s=settings.database_connect_timeout_s, statement_s=settings.database_statement_timeout_s)
