"""Runs the server processes. Each service listens on a separate port, and the gateway has one or
more workers. A worker that is killed is replaced; otherwise, all processes stop together."""

import asyncio
import contextlib
import heapq
import importlib
import multiprocessing
import multiprocessing.connection
import os
import resource
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Sequence
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import FrameType
from typing import Any

import uvloop

from gatehouse.core.addresses import ClientAddresses, network_of
from gatehouse.core.errors import GatehouseError, SettingsError
from gatehouse.platform.executions import Execution
from gatehouse.platform.http.asgi import BODY_MEMORY, App, Message, Uses, origin_of
from gatehouse.platform.http.connections import Connections
from gatehouse.platform.http.listening import BACKLOG, bound_socket, listen, reject_handshakes
from gatehouse.platform.http.protocol import HttpProtocol
from gatehouse.platform.settings import METRICS_FOLDER_VARIABLE, ConnectionSettings, Settings
from gatehouse.platform.startup import no_collection

#: Time within which the application closes its connections and writes pending data.
_CLOSE_S = 5

#: Interval at which a stopping server checks whether requests are in progress.
_TICK_S = 0.1

#: Time for TCP handshakes in progress to complete.
_HANDSHAKE_S = 0.1

#: Time for a client that has just connected to send a request.
_FIRST_REQUEST_S = 0.5

#: Maximum number of connections that are accepted in an iteration of the event loop. A server of
#: libuv accepts one (libuv, pull request 3696), and in each iteration, each connection responds to
#: a request: beside 200 connections, a new one waited for 2 s of CPU time.
_ACCEPTED_MAX = 64

#: Size of the receive buffer of a connection with TLS, which limits a read, because TLS keeps the
#: memory for the largest read. The kernel doubles the size.
_TLS_READ_BYTES = 32_768

#: Time until the server accepts connections again after an error.
_ACCEPT_RETRY_S = 0.1

#: Workers that are replaced within the window. If another one is killed, all processes stop.
_RESTARTS_MAX = 5
_RESTART_WINDOW_S = 60.0


class Server:
    """Serves an ASGI application until SIGTERM or SIGINT, or until `stop`. The application writes
    all logs.

    After SIGTERM, the server is not ready but accepts requests for the drain time, because load
    balancers and clients continue to send requests. The server closes each connection after the
    response, so that clients connect to another server. SIGINT ends the drain time. Requests in
    progress must then complete within the stop timeout, or until the next SIGINT.
    """

    def __init__(
        self, application: App, connections: Connections, *, handle_signals: bool = True
    ) -> None:
        self._application = application
        self._handle_signals = handle_signals
        self._connections = connections
        self._tls = _tls(connections.settings)
        self._state = {BODY_MEMORY: connections}
        #: Accepted connections that are being opened.
        self._opening: set[Any] = set()
        self._opening_by_network = Uses()
        #: True after the application has started, and the server listens.
        self.started = False
        self._stopping, self._drained, self._aborted = asyncio.Event(), asyncio.Event(), False
        if not connections.settings.drain_s:
            self._drained.set()

    def stop(self, number: int = signal.SIGTERM) -> None:
        if number == signal.SIGINT:
            self._aborted = self._stopping.is_set() and self._drained.is_set()
            self._drained.set()
        self._stopping.set()

    async def serve(self, sockets: Sequence[socket.socket]) -> None:
        """Serves on the sockets. If the application does not start, `started` is false."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT) if self._handle_signals else ():
            loop.add_signal_handler(number, self.stop, number)
        lifespan = _Lifespan(self._application)
        if not await lifespan.send("startup"):
            return
        for sock in sockets:
            sock.setblocking(False)
            if self._tls:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _TLS_READ_BYTES)
            self._listen(sock)
        self.started = True
        await self._stopping.wait()
        self._connections.draining = True
        if not self._drained.is_set():
            await self._drain()
            await self._accept_last(sockets)
        await self._close(sockets)
        if not self._aborted:
            await lifespan.send("shutdown")

    async def _drain(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._connections.settings.drain_s):
                await self._drained.wait()
        self._drained.set()

    def _listen(self, sock: socket.socket) -> None:
        if sock.fileno() >= 0:  # not closed
            asyncio.get_running_loop().add_reader(sock, self._accept, sock)

    def _accept(self, sock: socket.socket, connections_max: int = _ACCEPTED_MAX) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(connections_max):
            try:
                connection, (address, *_) = sock.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError:  # no file descriptor is free
                loop.remove_reader(sock)
                loop.call_later(_ACCEPT_RETRY_S, self._listen, sock)
                return
            opening = _Opening(self._opening_by_network, network_of(address))
            if self._connections.exceeds_limit(address, opening.number):
                connection.close()  # clients that do not complete the TLS handshake
                opening.ended()
                continue
            if len(self._opening) >= self._connections.settings.connections_max:
                self._end_handshakes()
            connection.setblocking(False)
            opening.execute(self._open(connection), self._opening)

    def _end_handshakes(self) -> None:
        """Ends several handshakes of the networks with the most, the oldest first, because others
        are soon completed.
        """
        number, networks = len(self._opening) // 64 or 1, self._opening_by_network

        def order(opening: _Opening) -> tuple[int, float]:
            return -networks[opening.network], opening.began

        for each in heapq.nsmallest(number, self._opening, key=order):
            self._opening.discard(each)
            each.cancel()

    async def _open(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(
            lambda: HttpProtocol(self._application, self._connections, self._state),
            sock,
            **self._tls,
        )

    async def _accept_last(self, sockets: Sequence[socket.socket]) -> None:
        """Rejects clients, and accepts the connections that the kernel has established. Otherwise,
        closing the listening socket would reset these connections, and the clients could not repeat
        their requests."""
        for sock in sockets:
            reject_handshakes(sock)
        await asyncio.sleep(_HANDSHAKE_S)
        for sock in sockets:
            self._accept(sock, BACKLOG + 1)  # Linux keeps one more
        await asyncio.sleep(_FIRST_REQUEST_S)

    async def _close(self, sockets: Sequence[socket.socket]) -> None:
        """Stops listening, and waits for the requests in progress until the stop timeout."""
        for sock in sockets:
            asyncio.get_running_loop().remove_reader(sock)
            sock.close()
        open_, running = self._connections.protocols, self._connections.running
        for connection in tuple(open_):
            connection.shutdown()
        try:
            async with asyncio.timeout(self._connections.settings.stop_timeout_s):
                await asyncio.sleep(_TICK_S)
                while (open_ or running or self._opening) and not self._aborted:
                    await asyncio.sleep(_TICK_S)
        except TimeoutError:
            for request in tuple(running):
                request.cancel()


class _Opening(Execution):
    """The opening of an accepted connection. An error, such as that of a TLS handshake, ends it."""

    def __init__(self, uses: Uses, network: str) -> None:
        """uses: counts the connections of each network that are being opened. `number`: the
        connections of this network.
        """
        self._uses, self.network = uses, network
        self.number, self.began = uses.add(network), time.monotonic()

    def ended(self) -> None:
        self._uses.remove(self.network)


class _Lifespan:
    """Starts and stops an application (ASGI specification, "Lifespan Protocol")."""

    def __init__(self, application: App) -> None:
        self._events: asyncio.Queue[Message] = asyncio.Queue()
        self._replies: asyncio.Queue[Message] = asyncio.Queue()
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}}
        self._task = asyncio.ensure_future(application(scope, self._events.get, self._replies.put))
        self._task.add_done_callback(lambda _: self._replies.put_nowait({"type": ""}))

    async def send(self, event: str) -> bool:
        """False if the application rejects the event. Raises the errors of the application."""
        self._events.put_nowait({"type": f"lifespan.{event}"})
        reply = await self._replies.get()
        if reply["type"] != f"lifespan.{event}.complete":
            await self._task
            return False
        return True


def _tls(settings: ConnectionSettings) -> dict[str, Any]:
    """Arguments of asyncio for TLS. Empty without TLS. Raises SettingsError."""
    if settings.tls == "off":
        return {}
    from gatehouse.platform.http import tls  # a server without TLS does not load the libraries

    return {
        "ssl": tls.self_signed_context(),
        "ssl_handshake_timeout": settings.request_timeout_s,
        "ssl_shutdown_timeout": tls.SHUTDOWN_TIMEOUT_S,
    }


def serve(services: Sequence[str], settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Exits with status 1 if a process fails to start or stops
    unexpectedly.

    Raises SettingsError if a required setting is missing or a port is in use.
    """
    for service in services:
        _check(service, settings)
        # With SO_REUSEPORT, two gateways would silently share the requests to a port. The socket
        # does not listen, because closing a listening socket resets the connections that clients
        # have established in the meantime.
        _open(bound_socket, service, settings, shared=False).close()
    workers = [
        service
        for service in services
        for _ in range(settings.workers if service == "gateway" else 1)
    ]
    with _metrics_folder(settings.workers) as folder:
        _serve_together(workers, settings, folder)


def _serve_together(workers: Sequence[str], settings: Settings, metrics_folder: str) -> None:
    # `fork` is unsafe in a process with threads.
    context = multiprocessing.get_context("spawn")
    children: list[SpawnProcess] = []
    restarted: list[tuple[str, float]] = []  # service and time
    stopping = False

    def start(service: str) -> None:
        shared = metrics_folder if service == "gateway" else ""
        restarts = sum(name == service for name, _ in restarted)
        arguments = (service, settings, shared, restarts)
        child = context.Process(target=work, args=arguments, name=service)
        children.append(child)
        child.start()
        if stopping:  # the signal arrived before the start
            child.terminate()

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True
        for child in children:
            if child.pid is not None and child.is_alive():
                child.terminate()

    for service in workers:
        start(service)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    while True:
        ended = multiprocessing.connection.wait([child.sentinel for child in children])
        child = next(child for child in children if child.sentinel in ended)
        child.join()
        now = time.monotonic()
        recent = [at for _, at in restarted if at > now - _RESTART_WINDOW_S]
        was_killed = (child.exitcode or 0) < 0  # by a signal, such as of the kernel's OOM killer
        if stopping or not was_killed or len(recent) >= _RESTARTS_MAX:
            break
        _log_restart(child, settings, metrics_folder)
        children.remove(child)
        restarted.append((child.name, now))
        start(child.name)
    # If one process stops, stop all processes, because ECS replaces a container only when its first
    # process ends.
    failed = not stopping
    stop(signal.SIGTERM, None)
    for child in children:
        child.join(settings.drain_s + settings.stop_timeout_s + _CLOSE_S)
        if child.is_alive():
            child.kill()
    if failed:
        sys.exit(1)


def _log_restart(child: SpawnProcess, settings: Settings, metrics_folder: str) -> None:
    """Logs that a killed worker is replaced. Deletes its gauges, and files that it had created but
    not written, which prometheus_client cannot read.
    """
    from prometheus_client.multiprocess import mark_process_dead

    _logger(child.name, settings).error("worker restarted", signal=-(child.exitcode or 0))
    if metrics_folder:
        mark_process_dead(child.pid, metrics_folder)  # type: ignore[no-untyped-call]
        for file in Path(metrics_folder).glob(f"*_{child.pid}.db"):
            if not file.stat().st_size:
                file.unlink()


def allow_files() -> int:
    """Allows the process as many open files as the system permits, and returns their number. By
    default, systemd, containerd and shells allow 1,024, as many as a client has connections.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # macOS has no hard limit, and accepts 10,240 (OPEN_MAX in sys/syslimits.h).
    number = 10_240 if hard == resource.RLIM_INFINITY else hard
    with contextlib.suppress(OSError, ValueError):  # a system can have a lower maximum
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def work(service: str, settings: Settings, metrics_folder: str = "", restarts: int = 0) -> None:
    """Runs one worker. `restarts`: workers of the service that were replaced. Prints the error for
    an invalid setting in one line. Exits with status 1 if the service does not start.
    """
    _end_with_parent()
    allow_files()
    os.environ.pop(METRICS_FOLDER_VARIABLE, None)
    if metrics_folder:
        os.environ[METRICS_FOLDER_VARIABLE] = metrics_folder
    try:
        # Imported here so that a gateway worker does not load the dependencies of the console
        # (measured: a second of start-up time and 35 MB per worker).
        with no_collection():
            from gatehouse.platform.observability import Metrics

            Metrics.restarts = restarts
            application: App = importlib.import_module(f"gatehouse.services.{service}.app").build(
                settings
            )
        sock = _open(listen, service, settings, shared=bool(metrics_folder))
        on_reject = _rejection_log(service, settings)
        workers = settings.workers if service == "gateway" else 1
        connections = Connections(
            settings, ClientAddresses(settings.trusted_proxies), on_reject, workers
        )
        server = Server(application, connections)
    except SettingsError as exc:
        sys.stderr.write(f"{exc.public}\n")
        sys.exit(1)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.get_loop().set_exception_handler(_error_log(service, settings))
        runner.run(server.serve([sock]))
    if not server.started:  # the application logged the reason
        sys.exit(1)


def _rejection_log(service: str, settings: Settings) -> Callable[[GatehouseError, str], None]:
    """Logs requests that are rejected before they reach the application."""
    log = _logger(service, settings)
    return lambda error, address: log.info(
        "rejected", status=error.status, code=error.code, detail=error.public, client=address
    )


def _error_log(
    service: str, settings: Settings
) -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]:
    """Logs errors outside of a request in a line, without their text, which may contain secret
    values or what a client has sent.
    """
    log = _logger(service, settings)

    def write(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception") or RuntimeError()
        log.warning("event loop error", detail=f"{type(error).__name__} at {origin_of(error)}")

    return write


def _logger(service: str, settings: Settings) -> Any:
    from gatehouse.platform import observability  # imports prometheus_client

    return observability.Logger(
        settings.log_level,
        observability.Stream(),
        service=service,
        environment=settings.environment,
    )


def _check(service: str, settings: Settings) -> None:
    """Raise SettingsError if a setting that the service requires is missing, before a process
    starts.
    """
    required = {"gateway": ("pepper",), "console": ("pepper", "session_key"), "sharing": ()}[
        service
    ]
    missing = [f"GATEHOUSE_{name.upper()}" for name in required if getattr(settings, name) is None]
    if missing:
        raise SettingsError(f"the {service} service requires {' and '.join(missing)}")


def _open(
    function: Callable[..., socket.socket], service: str, settings: Settings, *, shared: bool
) -> socket.socket:
    """Opens a socket on the port of a service with a function of `listening`. Raises SettingsError
    if the port cannot be used.
    """
    port: int = getattr(settings, f"{service}_port")
    try:
        return function(settings.bind, port, shared=shared)
    except OSError as exc:
        hint = (
            f"set GATEHOUSE_{service.upper()}_PORT or GATEHOUSE_BIND, or stop the program "
            f"that uses the port"
        )
        raise SettingsError(
            f"cannot listen on {settings.bind}:{port} for the {service} service: "
            f"{exc.strerror}; {hint}"
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
    """Temporary directory in which the workers of the gateway aggregate their metrics. Empty string
    for one worker. Raises SettingsError."""
    if workers == 1:
        yield ""
        return
    try:
        directory = tempfile.TemporaryDirectory(
            prefix="gatehouse-metrics-", ignore_cleanup_errors=True
        )
    except OSError:
        raise SettingsError(
            "GATEHOUSE_WORKERS above 1 requires a writable temporary folder (TMPDIR) for metrics"
        ) from None
    with directory as folder:
        yield folder
