"""Dumps and restores the database with pg_dump and pg_restore, as the owner role.

On AWS, the first option is the point-in-time recovery of RDS (docs/runbooks/recovery.md); a dump depends on neither RDS nor the
account.
"""

import subprocess
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.local.ports import HOST
from sandbox.local.servers import DATABASE, OWNER_ROLE, Postgres
from sandbox.local.services import plain_environment

_TOOL_S_MAX = 300


def dump(server: Postgres, file: Path) -> None:
    """Write a consistent dump of the database to `file`, in the custom format of PostgreSQL."""
    _run(server, "pg_dump", "--format=custom", f"--file={file}", DATABASE)


def restore(server: Postgres, file: Path) -> None:
    """Restore a dump into an empty database in one transaction. Raises SandboxError with the first error."""
    _run(server, "pg_restore", "--exit-on-error", "--single-transaction", "--no-owner", f"--dbname={DATABASE}", str(file))


def _run(server: Postgres, tool: str, *arguments: str) -> None:
    command = [
        str(server.binaries / tool),
        f"--host={HOST}",
        f"--port={server.port}",
        f"--username={OWNER_ROLE}",
        "--no-password",
    ]
    # The password is passed in the environment, since arguments are visible to every user.
    env = {**plain_environment(), "PGPASSWORD": server.owner_password}
    try:
        result = subprocess.run([*command, *arguments], env=env, capture_output=True, text=True, timeout=_TOOL_S_MAX, check=False)
    except subprocess.TimeoutExpired:
        raise SandboxError(f"{tool} did not finish within {_TOOL_S_MAX} s.") from None
    if result.returncode != 0:
        first = next((line for line in result.stderr.splitlines() if "error" in line), result.stderr.strip() or "no message")
        raise SandboxError(f"{tool} failed: {first}")
