"""Starts a sample Core."""

from collections.abc import Mapping
from pathlib import Path

from sandbox import child_processes
from sandbox.local import services
from sandbox.paths import REPOSITORY

NAME = "docs"
FOLDER = REPOSITORY / "examples" / "core-files"
"""The files that the sample Core serves."""


def start(gateway: str, token: str, log: Path) -> child_processes.Child:
    """Start `gatehouse core`. The key is passed in the environment, since arguments are visible to
    every user.
    """
    command = ["gatehouse", "core", "--dir", str(FOLDER), "--gateway", gateway, "--name", NAME]
    env = {**child_processes.plain_environment(), "GATEHOUSE_CORE_TOKEN": token}
    return child_processes.start("core", command, env=env, log=log)


def wait_ready(child: child_processes.Child, gateway: str, headers: Mapping[str, str]) -> None:
    """Wait for the registration before the first request, which is denied without it."""
    log, url = child.log, f"{gateway}/cores/{NAME}/files"
    assert log is not None  # noqa: S101 - set by start

    def is_ready() -> bool:
        return b"registered" in log.read_bytes() and services.returns_200(url, headers)

    child_processes.wait_until(child, is_ready, "registered with the gateway", 20.0)
