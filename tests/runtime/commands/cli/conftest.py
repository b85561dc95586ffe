"""Fixtures: the `gatehouse` command and a running console."""

import base64
import contextlib
import gc
import io
import json
import os
import secrets
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from gatehouse.commands import cli

from sandbox import child_processes, ports
from tests import processes
from tests.runtime.conftest import Database
from tests.runtime.services.gateway import fork_server

HEALTH_CHECK = Path(__file__).parents[4] / "runtime/healthcheck.sh"
#: Typer needs 0.1 s to create the commands.
_command_line = cache(cli.command_line)
BOOTSTRAP = "gtk_admin_" + secrets.token_hex(24)


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


def leaf_commands(
    command: Any, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The commands below a command, with their words."""
    for name, inner in getattr(command, "commands", {}).items():
        yield from leaf_commands(inner, (*path, name))
    if not hasattr(command, "commands"):
        yield path, command


def key_id(token: str) -> str:
    return token.split("_")[2][:12]


@dataclass(frozen=True)
class Command:
    folder: Path
    variables: dict[str, str]

    def create_key(self, *options: str) -> str:
        return key_id(self.run("keys", "create", "--name", "key", *options).out.strip())

    def show_key(self, key_id: str) -> dict[str, Any]:
        key: dict[str, Any] = json.loads(self.run("keys", "show", key_id, "--json").out)
        return key

    def run(self, *arguments: str, stdin: str = "", **variables: str) -> Result:
        """Runs the command in this process, because starting another process takes a second."""
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("GATEHOUSE_")
        }
        out, err, code = io.StringIO(), io.StringIO(), 0
        with (
            mock.patch.dict(os.environ, {**environment, **self.variables, **variables}, clear=True),
            mock.patch.object(sys, "argv", ["gatehouse", *arguments]),
            mock.patch.object(gc, "freeze"),  # the process continues after the command
            mock.patch.object(cli, "command_line", _command_line),
            mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()))),
            contextlib.chdir(self.folder),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            try:
                cli.main()
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
        assert "Traceback" not in err.getvalue()
        return Result(code, out.getvalue(), err.getvalue())


def generations(pepper: bytes = b"p" * 32) -> str:
    encoded = base64.b64encode(pepper).decode()
    return json.dumps({"current": 1, "generations": {"1": encoded}})


def importer_command(folder: Path, database_url: str, pepper: bytes) -> Command:
    return Command(
        folder,
        {
            "GATEHOUSE_ENVIRONMENT": "dev",
            "GATEHOUSE_DATABASE_URL": database_url,
            "GATEHOUSE_DATABASE_AUTH": "url",
            "GATEHOUSE_PEPPER": generations(pepper),
        },
    )


@pytest.fixture
def bare(tmp_path: Path) -> Command:
    return Command(tmp_path, {})


@pytest.fixture(scope="module")
def console_url(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_console(database, tmp_path_factory.mktemp("console")) as url:
        yield url


@contextlib.contextmanager
def running_console(database: Database, folder: Path, **variables: str) -> Iterator[str]:
    port = ports.free_port()
    with running_services(
        database, folder, "console", GATEHOUSE_CONSOLE_PORT=str(port), **variables
    ):
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def running_services(
    database: Database, folder: Path, *services: str, **variables: str
) -> Iterator[child_processes.Child]:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("GATEHOUSE_")},
        "GATEHOUSE_ENVIRONMENT": "dev",
        "GATEHOUSE_DATABASE_URL": database.app_url,
        "GATEHOUSE_DATABASE_AUTH": "url",
        "GATEHOUSE_PEPPER": generations(),
        "GATEHOUSE_SESSION_KEY": generations(),
        "GATEHOUSE_BOOTSTRAP_TOKEN": BOOTSTRAP,
        "GATEHOUSE_BIND": "127.0.0.1",
        **variables,
    }
    child = fork_server.start(fork_server.script(*services), environment, folder / "log")
    try:
        probe: list[str | Path] = [
            HEALTH_CHECK,
            *(variables[f"GATEHOUSE_{name.upper()}_PORT"] for name in services),
        ]
        child_processes.wait_until(
            child, lambda: processes.run(probe, env=environment).returncode == 0, "healthy", 60
        )
        yield child
    finally:
        child.stop()


@pytest.fixture
def operator(tmp_path: Path, console_url: str) -> Command:
    return Command(
        tmp_path, {"GATEHOUSE_CONSOLE_URL": console_url, "GATEHOUSE_ADMIN_TOKEN": BOOTSTRAP}
    )
