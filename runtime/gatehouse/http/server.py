"""Granian servers: one server and port per service. Several services run as child processes and stop together."""

from __future__ import annotations

import contextlib
import multiprocessing.connection
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import FrameType
from typing import Any

from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import Server

from gatehouse import services as app
from gatehouse.errors import SettingsError
from gatehouse.settings import Settings

#: Backlog of the listening socket. Granian also limits the concurrent requests of all workers to this number. Low values delay
#: connections (measured), so this is the value that Granian recommends.
BACKLOG = 2048

#: Seconds that running requests have after SIGTERM. ECS sends SIGKILL after 30 s.
STOP_S = 5


def serve(services: Sequence[str], settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Exits with status 1 if a service fails to start or stops unexpectedly.

    Raises SettingsError if a required setting is missing or a port is in use.
    """
    # `fork` is unsafe in a process with threads.
    multiprocessing.set_start_method("spawn", force=True)
    for service in services:
        _check(service, settings)
        _check_port(service, settings)
    if len(services) == 1:
        _serve_service(services[0], settings)
        return
    _serve_together(services, settings)


def _serve_together(services: Sequence[str], settings: Settings) -> None:
    children = {
        service: multiprocessing.Process(target=_serve_service, args=(service, settings), name=service) for service in services
    }
    stopping = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True
        for child in children.values():
            if child.pid is not None and child.is_alive():
                child.terminate()

    for child in children.values():
        child.start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    # If one service stops, stop all: ECS replaces a container only when its process ends.
    multiprocessing.connection.wait([child.sentinel for child in children.values()])
    failed = not stopping
    stop(signal.SIGTERM, None)
    for child in children.values():
        child.join(STOP_S + 5)
        if child.is_alive():
            child.kill()
    if failed:
        sys.exit(1)


def _serve_service(service: str, settings: Settings) -> None:
    _end_with_parent()
    port: int = getattr(settings, f"{service}_port")
    with _metrics_folder(settings.workers if service == "gateway" else 1) as workers:
        server = Server(
            f"gatehouse.{service}.app",
            address=settings.bind,
            port=port,
            interface=Interfaces.ASGI,
            workers=workers,
            loop=Loops.uvloop,
            http=HTTPModes.http1,
            http1_settings=HTTP1Settings(header_read_timeout=10_000),
            websockets=False,
            backlog=BACKLOG,
            log_enabled=True,
            log_level=LogLevels.critical,
            log_access=False,
            workers_kill_timeout=STOP_S,
        )
        server.serve(target_loader=partial(_load, service, settings), wrap_loader=False)


def _load(service: str, settings: Settings, *_: Any) -> Callable[..., Any]:
    """Build the application in the worker process. Prints an invalid setting in one line and exits with status 1."""
    _end_with_parent()
    try:
        return app.build(service, settings)
    except SettingsError as exc:
        sys.stderr.write(f"{exc.public}\n")
        sys.exit(1)


def _check(service: str, settings: Settings) -> None:
    """Raise SettingsError if a setting that the service requires is missing, before a process starts."""
    required = {"gateway": ("pepper",), "console": ("pepper", "session_key"), "sharing": ()}[service]
    missing = [f"GATEHOUSE_{name.upper()}" for name in required if getattr(settings, name) is None]
    if missing:
        raise SettingsError(f"the {service} service needs {' and '.join(missing)}")


def _check_port(service: str, settings: Settings) -> None:
    """Raise SettingsError if the port is in use. With SO_REUSEPORT, two gateways would silently share the requests of a port."""
    port: int = getattr(settings, f"{service}_port")
    family = socket.AF_INET6 if ":" in settings.bind else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.bind, port))
        except OSError as exc:
            hint = f"set GATEHOUSE_{service.upper()}_PORT or GATEHOUSE_BIND, or stop the program that uses the port"
            raise SettingsError(
                f"cannot listen on {settings.bind}:{port} for the {service} service: {exc.strerror}; {hint}"
            ) from None


def _end_with_parent() -> None:
    """Send SIGTERM to this process when its parent ends, even if the parent was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:

        def watch() -> None:
            parent.join()
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=watch, name="parent-watch", daemon=True).start()


@contextlib.contextmanager
def _metrics_folder(workers: int) -> Iterator[int]:
    """Temporary directory in which several workers aggregate their metrics. One worker needs none."""
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
    if workers == 1:
        yield workers
        return
    try:
        folder = tempfile.mkdtemp(prefix="gatehouse-metrics-")
    except OSError:
        raise SettingsError("GATEHOUSE_WORKERS above 1 needs a writable temporary folder (TMPDIR) for metrics") from None
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    try:
        yield workers
    finally:
        shutil.rmtree(folder, ignore_errors=True)
