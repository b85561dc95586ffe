"""Starts services as forks of a process that has imported the applications once (0.6 s of CPU time
each). A service is a process in a session of its own, and ends with the process of the tests.
"""

import ctypes
import functools
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
from multiprocessing.connection import Connection, Pipe
from pathlib import Path

from sandbox.child_processes import Child

ROOT = Path(__file__).resolve().parents[4]
_PROGRAM = "from tests.runtime.services.gateway import fork_server; exec(fork_server.serve())"
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def script(*services: str) -> str:
    """Serves with workers that are forks of the process."""
    return (
        "from gatehouse.platform import settings, supervisor; "
        f"supervisor.serve({[*services]}, settings.load(), 'fork')"
    )


class Forked(subprocess.Popen[bytes]):
    def __init__(self, connection: Connection) -> None:
        self.args, self.pid, self.returncode = "gateway", connection.recv(), None
        self._connection, self._lock = connection, threading.Lock()

    def poll(self) -> int | None:
        return self._status(0)

    def wait(self, timeout: float | None = None) -> int:
        status = self._status(timeout)
        if status is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return status

    def _status(self, timeout: float | None) -> int | None:
        if self.returncode is None and self._connection.poll(timeout):
            with self._lock:  # several threads can wait
                if self.returncode is None:
                    self.returncode = self._connection.recv()
        return self.returncode


@functools.cache
def _server() -> socket.socket:
    here, there = socket.socketpair()
    with there:
        subprocess.Popen(
            [sys.executable, "-c", _PROGRAM], stdin=there.fileno(), cwd=ROOT, start_new_session=True
        )
    return here


def start(script: str, environment: dict[str, str], log: Path) -> Child:
    connection, other = Pipe()
    with log.open("ab") as sink, other:
        socket.send_fds(_server(), [b"1"], [sink.fileno(), other.fileno()])
    connection.send((script, environment))
    return Child("gateway", Forked(connection), log)


def serve() -> str:
    """Forks for each request on standard input. Returns in the forks, with the script that they
    run.
    """
    from gatehouse.platform.startup import no_collection

    with no_collection():
        import gatehouse.platform.supervisor
        import gatehouse.services.console.app
        import gatehouse.services.gateway.app
        import gatehouse.services.sharing.app  # noqa: F401
        from gatehouse.platform.envoy import bootstrap

        bootstrap.template()
    gc.freeze()
    requests = socket.socket(fileno=0)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # ended processes are not kept
    while files := socket.recv_fds(requests, 1, 2)[1]:
        if os.fork() == 0:
            requests.detach()
            return _fork(*files)
        for file in files:
            os.close(file)
    sys.exit()


def _fork(log: int, other: int) -> str:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    connection = Connection(other)
    _end_with_parent(signal.SIGKILL)
    script, environment = connection.recv()
    if pid := os.fork():
        connection.send(pid)
        connection.send(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        os._exit(0)
    os.setsid()
    _end_with_parent(signal.SIGTERM)
    for source, target in ((os.open(os.devnull, os.O_RDONLY), 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.environ.clear()
    os.environ.update(environment)
    return str(script)


def _end_with_parent(number: signal.Signals) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
