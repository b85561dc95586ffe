"""Starts Granian: one server a service, each on its own port; several services are sibling processes that live and end together."""

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

#: Connections that wait to be accepted. Granian also admits at most this many requests at once, shared by its workers: low
#: values starve connections (measured), so it stays at Granian's recommended size.
BACKLOG = 2048


#: Requests under way get this long to end after SIGTERM; ECS kills after 30 s.
STOP_S = 5


def serve(services: Sequence[str], settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT. Exits with status 1 when a service could not start or ended by itself.

    Raises SettingsError when a service lacks a setting.
    """
    # `fork` would copy threads of the parent half-alive; `spawn` starts clean and is what other systems do anyway.
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
    # One service that ends takes the others with it: a container that is half alive would not be replaced.
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
    """Runs in the worker. A setting that is wrong is said in one line, like everything else that a worker says."""
    _end_with_parent()
    try:
        return app.build(service, settings)
    except SettingsError as exc:
        sys.stderr.write(f"{exc.public}\n")
        sys.exit(1)


def _check(service: str, settings: Settings) -> None:
    """What a service would miss is said before any process is started, in one line."""
    needed = {"gateway": ("pepper",), "console": ("pepper", "session_key"), "sharing": ()}[service]
    missing = [f"GATEHOUSE_{name.upper()}" for name in needed if getattr(settings, name) is None]
    if missing:
        raise SettingsError(f"the {service} service needs {' and '.join(missing)}")


def _check_port(service: str, settings: Settings) -> None:
    """Granian's workers share a port (SO_REUSEPORT), so a second gateway would silently take half of the first one's requests."""
    port: int = getattr(settings, f"{service}_port")
    family = socket.AF_INET6 if ":" in settings.bind else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.bind, port))
        except OSError as exc:
            hint = f"set GATEHOUSE_{service.upper()}_PORT or GATEHOUSE_BIND, or stop the program that has it"
            raise SettingsError(
                f"cannot listen on {settings.bind}:{port} for the {service} service: {exc.strerror}; {hint}"
            ) from None


def _end_with_parent() -> None:
    """A child ends when its parent does, even when that was killed and could tell nobody."""
    parent = multiprocessing.parent_process()
    if parent is not None:

        def watch() -> None:
            parent.join()
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=watch, name="parent-watch", daemon=True).start()


@contextlib.contextmanager
def _metrics_folder(workers: int) -> Iterator[int]:
    """Several workers add their metrics up through files in a folder of their own; one worker needs none."""
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
