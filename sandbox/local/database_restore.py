"""Dump and restore of the database by PostgreSQL's own tools, as the owner role: the logical half of a recovery.

On AWS the first way back is RDS itself (point-in-time recovery, docs/runbooks/recovery.md); this one needs neither RDS nor the
account, and is what the rehearsal runs.
"""

import subprocess
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.local.ports import HOST
from sandbox.local.servers import DATABASE, OWNER_ROLE, Postgres
from sandbox.local.services import plain_environment

_TOOL_S_MAX = 300


def dump(server: Postgres, file: Path) -> None:
    """Write the whole database to `file`, in PostgreSQL's custom format: one consistent moment, while it is in use."""
    _run(server, "pg_dump", "--format=custom", f"--file={file}", DATABASE)


def restore(server: Postgres, file: Path) -> None:
    """Fill an empty database from `file`, wholly or not at all. Raises SandboxError with the first thing that went wrong."""
    _run(server, "pg_restore", "--exit-on-error", "--single-transaction", "--no-owner", f"--dbname={DATABASE}", str(file))


def _run(server: Postgres, tool: str, *arguments: str) -> None:
    command = [
        str(server.binaries / tool),
        f"--host={HOST}",
        f"--port={server.port}",
        f"--username={OWNER_ROLE}",
        "--no-password",
    ]
    # The password goes by the environment: arguments are visible to every user of the machine.
    env = {**plain_environment(), "PGPASSWORD": server.owner_password}
    try:
        done = subprocess.run([*command, *arguments], env=env, capture_output=True, text=True, timeout=_TOOL_S_MAX, check=False)
    except subprocess.TimeoutExpired:
        raise SandboxError(f"{tool} did not end within {_TOOL_S_MAX} s.") from None
    if done.returncode != 0:
        first = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr.strip() or "no message")
        raise SandboxError(f"{tool} failed: {first}")
