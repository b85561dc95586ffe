"""Chooses ports on this machine, and keeps two sandboxes that start at the same moment from choosing the same ones."""

import fcntl
import os
import socket
import tempfile
from pathlib import Path

from sandbox.errors import SandboxError

HOST = "127.0.0.1"
_TRIES_MAX = 20


class Ports:
    """The ports that this process has claimed, until `close` or its end, however it ends.

    A probe alone is not enough: between it and the server's own bind another `up` may probe too, and servers whose workers
    share a port (SO_REUSEPORT) would then both get it, and each other's requests. So a claim is a lock as well: on the byte
    at the port's number of one file per user (fcntl(2)). Make one object per process: closing any descriptor of the file
    frees all of its locks.
    """

    def __init__(self, file: Path | None = None) -> None:
        file = file or Path(tempfile.gettempdir()) / f"gatehouse-ports-{os.geteuid()}"
        self._descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)

    def claim(self, preferred: int = 0) -> int:
        """`preferred` if nobody uses or claims it, else a port that the kernel picks. Raises SandboxError without any."""
        for wanted in (preferred, *[0] * _TRIES_MAX):
            port = free_port(wanted)
            if (port == wanted or wanted == 0) and self._lock(port):
                return port
        raise SandboxError(f"No free port on {HOST}.")

    def close(self) -> None:
        os.close(self._descriptor)

    def _lock(self, port: int) -> bool:
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        except OSError:
            return False
        return True


def free_port(preferred: int = 0) -> int:
    """`preferred` if nothing listens on it, else a port that the kernel picks."""
    for port in dict.fromkeys((preferred, 0)):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            # Without this, a port that just closed would count as taken for a minute (TIME_WAIT).
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise SandboxError(f"No free port on {HOST}.")
