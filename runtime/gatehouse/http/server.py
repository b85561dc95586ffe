"""Runs the server processes. Each service listens on a separate port, and the gateway has one or more workers. All processes stop
together."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Generator, Sequence
from functools import partial
from types import FrameType

import uvicorn
import uvloop

from gatehouse.errors import GatehouseError, SettingsError
from gatehouse.http.asgi import App
from gatehouse.http.client_address import ClientAddresses
from gatehouse.http.connections import Connections
from gatehouse.http.protocol import HttpProtocol
from gatehouse.settings import METRICS_FOLDER_VARIABLE, Settings

_BACKLOG = 2048

#: Number of seconds within which requests in flight must complete after SIGTERM. ECS sends SIGKILL after 30 s.
STOP_S = 5


class Server(uvicorn.Server):
    """Serves an ASGI application until SIGTERM or SIGINT, or until `should_exit` is set. The application writes all logs."""

    def __init__(self, application: App, connections: Connections, *, handle_signals: bool = True) -> None:
        self._handle_signals = handle_signals
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL + 1)
        super().__init__(
            uvicorn.Config(
                application,
                http=partial(HttpProtocol, worker=connections, respond_now=getattr(application, "respond_now", {})),  # type: ignore[arg-type]
                interface="asgi3",
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                backlog=_BACKLOG,
                timeout_keep_alive=connections.settings.idle_timeout_s,
                timeout_graceful_shutdown=STOP_S,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Unlike uvicorn's method, this method does not raise the signal again, so that the process ends with status 0."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT) if self._handle_signals else ():
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


def listen(bind: str, port: int, *, shared: bool = False) -> socket.socket:
    """Opens a listening socket. `shared`: several processes listen on the port. Raises OSError if the address cannot be used."""
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    dual_stack = bind == "::" and socket.has_dualstack_ipv6()
    return socket.create_server((bind, port), family=family, backlog=_BACKLOG, reuse_port=shared, dualstack_ipv6=dual_stack)


def serve(services: Sequence[str], settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Exits with status 1 if a process fails to start or stops unexpectedly.

    Raises SettingsError if a required setting is missing or a port is in use.
    """
    for service in services:
        _check(service, settings)
        _check_port(service, settings)
    workers = [service for service in services for _ in range(settings.workers if service == "gateway" else 1)]
    if len(workers) == 1:
        _work(services[0], settings, "")
        return
    with _metrics_folder(settings.workers) as folder:
        _serve_together(workers, settings, folder)


def _serve_together(workers: Sequence[str], settings: Settings, metrics_folder: str) -> None:
    # `fork` is unsafe in a process with threads.
    context = multiprocessing.get_context("spawn")
    children = [
        context.Process(target=_work, args=(service, settings, metrics_folder if service == "gateway" else ""), name=service)
        for service in workers
    ]
    stopping = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True
        for child in children:
            if child.pid is not None and child.is_alive():
                child.terminate()

    for child in children:
        child.start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    # If one process stops, stop all processes, because ECS replaces a container only when its first process ends.
    multiprocessing.connection.wait([child.sentinel for child in children])
    failed = not stopping
    stop(signal.SIGTERM, None)
    for child in children:
        child.join(STOP_S + 5)
        if child.is_alive():
            child.kill()
    if failed:
        sys.exit(1)


def _work(service: str, settings: Settings, metrics_folder: str) -> None:
    """Runs one worker. Prints the error for an invalid setting in one line. Exits with status 1 if the service does not start."""
    _end_with_parent()
    os.environ.pop(METRICS_FOLDER_VARIABLE, None)
    if metrics_folder:
        os.environ[METRICS_FOLDER_VARIABLE] = metrics_folder
    try:
        # Imported here so that a gateway worker does not load the dependencies of the console (measured: a second of start-up
        # time and 35 MB per worker).
        application: App = importlib.import_module(f"gatehouse.{service}.app").build(settings)
    except SettingsError as exc:
        sys.stderr.write(f"{exc.public}\n")
        sys.exit(1)
    on_reject = _rejection_log(service, settings)
    connections = Connections(settings, ClientAddresses(settings.trusted_proxies), on_reject)
    server = Server(application, connections)
    sock = listen(settings.bind, getattr(settings, f"{service}_port"), shared=bool(metrics_folder))
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(server.serve([sock]))
    except SystemExit:  # the application did not start, and logged the reason
        sys.exit(1)


def _rejection_log(service: str, settings: Settings) -> Callable[[GatehouseError, str], None]:
    """Logs requests that are rejected before they reach the application."""
    from gatehouse import observability  # imports prometheus_client

    log = observability.logger(settings.log_level, observability.Stream(), service=service, environment=settings.environment)
    return lambda error, address: log.info("rejected", status=error.status, code=error.code, detail=error.public, client=address)


def _check(service: str, settings: Settings) -> None:
    """Raise SettingsError if a setting that the service requires is missing, before a process starts."""
    required = {"gateway": ("pepper",), "console": ("pepper", "session_key"), "sharing": ()}[service]
    missing = [f"GATEHOUSE_{name.upper()}" for name in required if getattr(settings, name) is None]
    if missing:
        raise SettingsError(f"the {service} service requires {' and '.join(missing)}")


def _check_port(service: str, settings: Settings) -> None:
    """Raise SettingsError if the port is in use. With SO_REUSEPORT, two gateways would silently share the requests to a port."""
    port: int = getattr(settings, f"{service}_port")
    try:
        listen(settings.bind, port).close()
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
def _metrics_folder(workers: int) -> Generator[str]:
    """Temporary directory in which the workers of the gateway aggregate their metrics. Empty string for one worker. Raises
    SettingsError."""
    if workers == 1:
        yield ""
        return
    try:
        directory = tempfile.TemporaryDirectory(prefix="gatehouse-metrics-", ignore_cleanup_errors=True)
    except OSError:
        raise SettingsError("GATEHOUSE_WORKERS above 1 requires a writable temporary folder (TMPDIR) for metrics") from None
    with directory as folder:
        yield folder
