"""A psql process that remains connected to a database."""

import os
import secrets
import subprocess
import threading

from sandbox.errors import SandboxError
from sandbox.local import servers

_TIMEOUT_S = 60


class Psql:
    """Runs statements as the superuser in one process, which starts with the first of them.
    Settings and temporary tables do not remain after `run`.
    """

    def __init__(self, server: servers.Postgres, database: str) -> None:
        self._server, self._database = server, database
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def run(self, statements: str) -> str:
        with self._lock:
            process = self._process = self._process or self._start()
            assert process.stdin is not None
            assert process.stdout is not None
            end, lines = secrets.token_hex(16), list[str]()
            process.stdin.write(f"{statements}\n;\nDISCARD ALL;\nSELECT '{end}';\n")
            process.stdin.flush()
            timer = threading.Timer(_TIMEOUT_S, process.kill)
            timer.start()
            try:
                for line in process.stdout:
                    if line == f"{end}\n":
                        return "".join(lines).strip()
                    lines.append(line)
            finally:
                timer.cancel()
            self._stop()  # psql exits after an error
            message = next(
                (line.strip() for line in lines if "ERROR:" in line or "FATAL:" in line),
                "no message",
            )
            raise SandboxError(f"PostgreSQL rejected a statement: {message}")

    def close(self) -> None:
        with self._lock:
            self._stop()

    def _start(self) -> subprocess.Popen[str]:
        command = self._server.psql(self._database)
        environment = {**os.environ, "PGOPTIONS": "-c client_min_messages=error"}
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, env=environment, text=True
        )

    def _stop(self) -> None:
        if self._process is not None:
            self._process.communicate(timeout=_TIMEOUT_S)
            self._process = None
