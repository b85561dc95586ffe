"""Servers on this machine. Claims free ports, so that two sandboxes never use the same port."""

import fcntl
import functools
import os
import random
import re
import socket
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path

from sandbox.errors import SandboxError

HOST = "127.0.0.1"
#: Of `make up`. If a port is in use, the server gets another one.
DEFAULT_PORTS = {"gateway": 8080, "console": 8081, "sharing": 8082, "emulator": 5555}

#: TLS context of httpx for requests to servers on this machine, which do not use TLS. Loading the
#: trusted certificates for each client takes 40 ms.
PLAIN_HTTP = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

_LOCAL = re.compile(rf"(?:{re.escape(HOST)}|localhost)(?::[0-9]{{1,5}})?")

_TRIES_MAX = 20
#: Ports below the ranges from which operating systems choose the local port of outgoing
#: connections, so that no connection takes a port between the probe and the bind of the server.
_PORTS = range(20_000, 32_000)


class Ports:
    """The ports that this process has claimed, until `close` or the exit of the process.

    Between a probe and the bind of the server, another process may probe the same port, and servers
    with SO_REUSEPORT would then share the port. Therefore, a claim also locks the byte at the
    offset of the port in one file per user (fcntl(2)). Closing any descriptor of the file releases
    all locks of the process.
    """

    def __init__(self, file: Path | None = None) -> None:
        file = file or Path(tempfile.gettempdir()) / f"gatehouse-ports-{os.geteuid()}"
        self._descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        #: A process can lock a byte again.
        self._claimed: set[int] = set()

    def claim(self, preferred: int = 0) -> int:
        """Claim `preferred` if it is free and not claimed; otherwise any free port. Raises
        SandboxError if no port is free.
        """
        for port in ([preferred] if preferred else []) + random.sample(_PORTS, _TRIES_MAX):
            if port not in self._claimed and is_free(port) and self._lock(port):
                self._claimed.add(port)
                return port
        raise SandboxError(f"No free port on {HOST}. Stop processes that listen on ports.")

    def close(self) -> None:
        os.close(self._descriptor)

    def _lock(self, port: int) -> bool:
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        except OSError:
            return False
        return True


def is_from_page(header: Callable[[str], str | None]) -> bool:
    """True for a request that a web page in a browser on this machine sent to a server. header:
    returns the value of a header.

    Such a request contains the header Origin, the header Sec-Fetch-Site (for images and other
    resources) or, after DNS rebinding, the host name of the page in the header Host.
    """
    is_local = _LOCAL.fullmatch(header("Host") or "") is not None
    return not is_local or header("Origin") is not None or header("Sec-Fetch-Site") is not None


def free_port() -> int:
    """Claim a free port until this process exits. Raises SandboxError if no port is free."""
    return _ports_of_process().claim()


_ports_of_process = functools.cache(Ports)


def is_free(port: int) -> bool:
    """True if a server can listen on the port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Otherwise a port in TIME_WAIT counts as in use.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    # On macOS, the option permits the bind although a server listens on the port of all addresses.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
        return client.connect_ex((HOST, port)) != 0
