"""Connects to PostgreSQL (URL, TLS, IAM tokens), manages the connection pool and translates driver
errors.

New connections, waits for a free connection and statements have timeouts. Driver errors are raised
as `Unavailable`, so that requests fail closed while the database cannot be reached. No other module
translates driver errors.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args
from urllib.parse import parse_qsl, unquote, urlsplit

import asyncpg
from asyncpg.connection import LoggedQuery
from asyncpg.pool import PoolConnectionProxy

from gatehouse.core.clock import Clock, monotonic
from gatehouse.core.errors import SettingsError, Unavailable
from gatehouse.platform import calls
from gatehouse.platform.db.deployment import Facts
from gatehouse.platform.settings import DatabaseAuth, Settings
from gatehouse.platform.tracing.tracer import add_call, is_sampled

VARIABLE = "GATEHOUSE_DATABASE_URL"

#: Certificate authorities of RDS, which the Dockerfile adds to the image. System trust stores do
#: not contain them.
RDS_AUTHORITIES = Path("/etc/gatehouse/rds-ca.pem")

#: Timeouts in seconds of a new connection, of a statement, of the wait for a free connection, and
#: of the reset of a connection after its use, which cancels a statement that has timed out.
CONNECT_TIMEOUT_S = 5.0
STATEMENT_TIMEOUT_S = 15.0
ACQUIRE_TIMEOUT_S = 5.0
RELEASE_TIMEOUT_S = 1.0

SslMode = Literal["disable", "prefer", "require", "verify-ca", "verify-full"]

_SSL_MODES: tuple[SslMode, ...] = get_args(SslMode)

Password = str | Callable[[], Awaitable[str]] | None

Row: TypeAlias = "asyncpg.Record"

Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"

#: Maximum number of characters of a statement in a trace. Values are bound parameters and never
#: part of the text.
STATEMENT_CHARS = 160

#: Ends an idle transaction: if its process or host has stopped, all changes wait for its locks.
_IDLE_TIMEOUT = "idle_in_transaction_session_timeout"

#: Fails without the schema. Reads at most one row of each table.
READY = "SELECT (SELECT 1 FROM audit_event LIMIT 1), (SELECT 1 FROM gateway_worker LIMIT 1)"

_NOW = "SELECT extract(epoch FROM clock_timestamp())::float8"

#: Raised by asyncpg and the sockets that it uses when a statement fails or the server cannot be
#: reached. InternalClientError: the server closed the connection while asyncpg was between two
#: steps of an operation.
DRIVER_ERRORS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)


@dataclass(frozen=True, slots=True)
class DatabaseLogin:
    """Parameters of a connection. `repr` does not contain the passwords.

    second_password: used by migrations if PostgreSQL rejects `password`. None if there is only one.
    """

    host: str
    port: int
    user: str
    database: str
    ssl_mode: SslMode
    authorities: Path | None = None
    password: Password = field(default=None, repr=False)
    second_password: Password = field(default=None, repr=False)
    connect_s: float = CONNECT_TIMEOUT_S
    statement_s: float = STATEMENT_TIMEOUT_S

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments for `asyncpg.connect` and `asyncpg.create_pool`. Reads the file with
        the certificate authorities.
        """
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


def login(url: str, auth: DatabaseAuth, password: str | None = None) -> DatabaseLogin:
    """Login from the values of GATEHOUSE_DATABASE_URL, _AUTH and _PASSWORD. Raises SettingsError,
    whose message does not contain the URL."""
    try:
        parts = urlsplit(url)
        port = parts.port or 5432
    except ValueError:
        raise SettingsError(
            f"{VARIABLE} has a port that is not a number from 1 to 65535, or a user or password "
            "that is not percent-encoded"
        ) from None
    query = dict(parse_qsl(parts.query))
    host = query.pop("host", "") or unquote(parts.hostname or "")
    mode = query.pop("sslmode", "prefer")
    authorities = query.pop("sslrootcert", "")
    user, database = unquote(parts.username or ""), unquote(parts.path.removeprefix("/"))
    ssl_mode: SslMode = next((known for known in _SSL_MODES if known == mode), "prefer")
    problems = {
        "must begin with postgresql://": parts.scheme not in {"postgresql", "postgres"},
        "must contain a user, a host and a database: postgresql://user@host:5432/name": not (
            host and user and database
        ),
        f"has unknown parameters: {', '.join(sorted(query))}; use only sslmode, sslrootcert and "
        "host": bool(query),
        f"has an unknown sslmode; use one of {', '.join(_SSL_MODES)}": mode != ssl_mode,
        "must have sslmode=verify-full (or require): an IAM token is only sent over TLS": (
            auth in {"iam", "password_or_iam"} and ssl_mode in {"disable", "prefer"}
        ),
    }
    for problem, is_found in problems.items():
        if is_found:
            raise SettingsError(f"{VARIABLE} {problem}")
    token = iam_password(host, port, user)
    in_url = None if parts.password is None else unquote(parts.password)
    secret: Password = {
        "iam": token,
        "password": password,
        "password_or_iam": password,
        "url": in_url,
    }[auth]
    second = token if auth == "password_or_iam" else None
    return DatabaseLogin(
        host,
        port,
        user,
        database,
        ssl_mode,
        Path(authorities) if authorities else None,
        secret,
        second,
    )


def iam_password(host: str, port: int, user: str) -> Callable[[], Awaitable[str]]:
    """Password callback that signs a token for each new connection. A token is valid for 15
    minutes.

    Source: docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.Connecting.html
    """

    def sign() -> str:
        # Imports boto3, which a login with a password does not need.
        from gatehouse.platform.aws import create_client

        rds = create_client("rds", timeout_s=5, attempts=1)
        return str(rds.generate_db_auth_token(DBHostname=host, Port=port, DBUsername=user))

    # Runs in a thread, because the first call requests the credentials of the task role over the
    # network.
    return partial(asyncio.to_thread, sign)


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
            raise SettingsError(
                f"{VARIABLE}: the certificates in {authorities} cannot be read"
            ) from None
    if mode != "verify-full":
        context.check_hostname = False
    if mode == "require":
        context.verify_mode = ssl.CERT_NONE
    return context


def database(settings: Settings) -> DatabaseLogin:
    """Login that the settings specify. Raises SettingsError."""
    password = settings.database_password.get_secret_value() if settings.database_password else None
    return login(settings.database_url, settings.database_auth, password)


class Pool:
    """Connection pool of one process. The first statement opens the pool. `open` can be called at
    startup and explains why a login failed."""

    def __init__(
        self,
        login: DatabaseLogin,
        *,
        application: str,
        size_max: int,
        clock: Clock | None = None,
        facts: Facts | None = None,
    ) -> None:
        """`application` is the name shown in pg_stat_activity. `clock` follows that of the server,
        which each new connection reads. `facts`: the database is used only if it has no others."""
        self._facts = facts
        self._login = login
        self._clock = clock or Clock()
        self._application = application
        self._size_max = size_max
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._opening = asyncio.Lock()

    async def open(self) -> None:
        """Opens a connection. If the login fails, raises Unavailable with a message that states
        what to check. Raises SettingsError if the database is that of other processes.
        """
        try:
            pool = await self._opened()
            async with pool.acquire():
                return
        except DRIVER_ERRORS as exc:
            raise Unavailable(explain(exc, self._login)) from exc

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.close()

    @asynccontextmanager
    async def connection(self, *, timeout_s: float | None = None) -> AsyncIterator[Connection]:
        """A connection without a transaction. `timeout_s`: maximum wait for the connection. Raises
        Unavailable.
        """
        try:
            pool = self._pool or await self._opened()
            async with asyncio.timeout(ACQUIRE_TIMEOUT_S if timeout_s is None else timeout_s):
                connection = await pool.acquire()
            try:
                yield connection
            except asyncpg.ReadOnlySQLTransactionError:
                connection.terminate()  # another server may be the primary now
                raise
            finally:
                # A connection that cannot be reset is closed.
                with suppress(*DRIVER_ERRORS):
                    await pool.release(connection, timeout=RELEASE_TIMEOUT_S)
        except DRIVER_ERRORS as exc:
            calls.failed("PostgreSQL", type(exc).__name__)
            raise Unavailable("The database is not available.", detail=type(exc).__name__) from exc
        except SettingsError as exc:  # it was not available at the start
            calls.failed("PostgreSQL", exc.code)
            raise Unavailable("The database is not available.", detail=exc.public) from exc
        calls.succeeded("PostgreSQL")

    @asynccontextmanager
    async def transaction(
        self,
        *,
        timeout_s: float | None = None,
        deadline_s: float | None = None,
        snapshot: bool = False,
        readonly: bool = False,
    ) -> AsyncIterator[Connection]:
        """A connection in a transaction. The transaction is committed at the end of the block and
        rolled back after an exception. Raises Unavailable.

        The isolation level is READ COMMITTED, because the writer of the audit chain must see what
        was committed while it waited for its lock. `snapshot`: REPEATABLE READ.

        timeout_s: maximum wait for a connection. deadline_s: the same, and the maximum duration of
            the transaction. At the deadline, the connection is closed, and a statement that is
            waiting for the server raises Unavailable.
        """
        isolation = "repeatable_read" if snapshot else "read_committed"
        async with self.connection(timeout_s=deadline_s or timeout_s) as connection:
            deadline = (
                None
                if deadline_s is None
                else asyncio.get_running_loop().call_later(deadline_s, connection.terminate)
            )
            try:
                async with connection.transaction(isolation=isolation, readonly=readonly):
                    if readonly:  # holds no lock; clients can read an export slowly
                        await connection.execute(f"SET LOCAL {_IDLE_TIMEOUT} = 0")
                    yield connection
            finally:
                if deadline is not None:
                    deadline.cancel()

    async def fetch(
        self, statement: str, *values: Any, timeout_s: float | None = None
    ) -> list[Row]:
        """Returns the rows of a query. `timeout_s`: maximum wait for a connection and, separately,
        for the statement. Raises Unavailable, like the other methods."""
        async with self.connection(timeout_s=timeout_s) as connection:
            rows: list[Row] = await connection.fetch(statement, *values, timeout=timeout_s)
            return rows

    async def fetchrow(
        self, statement: str, *values: Any, timeout_s: float | None = None
    ) -> Row | None:
        async with self.connection(timeout_s=timeout_s) as connection:
            return await connection.fetchrow(statement, *values, timeout=timeout_s)

    async def fetchval(self, statement: str, *values: Any, timeout_s: float | None = None) -> Any:
        async with self.connection(timeout_s=timeout_s) as connection:
            return await connection.fetchval(statement, *values, timeout=timeout_s)

    async def execute(self, statement: str, *values: Any, timeout_s: float | None = None) -> int:
        async with self.connection(timeout_s=timeout_s) as connection:
            return row_count(await connection.execute(statement, *values, timeout=timeout_s))

    async def _opened(self) -> asyncpg.Pool[asyncpg.Record]:
        async with self._opening:
            if self._pool is None:
                # arguments() contains a callable for the password, so every new connection gets a
                # new IAM token.
                self._pool = await asyncpg.create_pool(
                    **self._login.arguments(),
                    min_size=0,
                    max_size=self._size_max,
                    server_settings={
                        "application_name": self._application,
                        _IDLE_TIMEOUT: f"{self._login.statement_s}s",
                    },
                    init=self._connected,
                )
            return self._pool

    async def _connected(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        asked_at = monotonic()
        self._clock.follow(await connection.fetchval(_NOW), asked_at)
        if self._facts is not None:
            await self._facts.confirm(connection)
            self._facts = None
        connection.add_query_logger(_trace_query)


def _trace_query(query: LoggedQuery) -> None:
    if is_sampled():
        statement = " ".join(query.query.split())[:STATEMENT_CHARS]
        operation = statement.partition(" ")[0].rstrip(";")
        attributes = {"db.system.name": "postgresql", "db.query.text": statement}
        add_call(operation, query.elapsed, attributes, query.exception)


def pool_of(
    settings: Settings, application: str, clock: Clock, size_max: int | None = None
) -> Pool:
    """Pool of a process, whose clock follows that of the database, and whose settings must be those
    of the other processes. Raises SettingsError.
    """
    return Pool(
        database(settings),
        application=application,
        size_max=size_max or settings.database_pool_size,
        clock=clock,
        facts=Facts(settings),
    )


@dataclass(slots=True)
class DatabaseProbe:
    """Readiness probe. The database is ready if it responds and the schema exists."""

    pool: Pool
    name: str = "database"

    async def check(self) -> None:
        await self.pool.fetchval(READY)


def explain(exc: BaseException, login: DatabaseLogin) -> str:
    """One line that states what to check after a failed login or a missing schema. Contains no
    message of the driver, which could contain a value.
    """
    server = f"PostgreSQL at {login.address}"
    match exc:
        case asyncpg.InvalidAuthorizationSpecificationError():
            problem = f"{server} rejected the login of {login.user}"
            return f"{problem}: check GATEHOUSE_DATABASE_AUTH and the password"
        case asyncpg.InvalidCatalogNameError():
            return f"{server} has no database {login.database}: check {VARIABLE}"
        case asyncpg.UndefinedTableError():
            return f"the database of {server} has no schema: run `gatehouse migrate` first"
        case TimeoutError():
            reason = "timeout"
        case ConnectionRefusedError():  # asyncio omits the message of the system
            reason = "connection refused"
        case _:
            reason = getattr(exc, "strerror", None) or type(exc).__name__
    problem = f"cannot connect to {server} as {login.user}: {reason}"
    return f"{problem}. Check {VARIABLE} and that the server is running"


def row_count(status: str) -> int:
    """Number of rows in a command status such as `UPDATE 3`, or 0 if the status contains no
    number.
    """
    count = status.rpartition(" ")[2]
    return int(count) if count.isdigit() else 0
