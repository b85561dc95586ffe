"""Runs the processes of services: Envoy, which accepts all connections, and the workers behind it.

A worker that is killed is replaced. If Envoy or any other process ends, all end, because ECS
replaces a container only when its first process ends. This process publishes what Envoy responds: a
worker cannot count the requests that fail because of its own end.

After SIGTERM, `/readyz` returns status 503, and requests are accepted for the drain time, because
load balancers and clients continue to send requests. Envoy closes each connection after the
response, so that clients connect to another server. SIGINT ends the drain time. Requests in
progress must then complete within the stop timeout, or until the next SIGINT.
"""

import contextlib
import fcntl
import functools
import importlib
import multiprocessing
import multiprocessing.connection
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from gatehouse.core.errors import SettingsError
from gatehouse.platform.envoy import bootstrap, certificate, process, response_counts
from gatehouse.platform.envoy.bootstrap import Service, Worker, log_path
from gatehouse.platform.envoy.process import Envoy, wait_until
from gatehouse.platform.envoy.response_counts import Responses
from gatehouse.platform.settings import METRICS_FOLDER_VARIABLE, PUBLISH_S, Settings
from gatehouse.platform.startup import allow_files, no_collection

if TYPE_CHECKING:
    from gatehouse.platform.observability import Observer

#: Time for a worker to start, and to close its connections and write pending data.
_START_S, _CLOSE_S = 60.0, 5.0

#: Time for clients that have connected at the end of the drain time to send a request.
_FIRST_REQUEST_S = 0.5

#: Interval at which a stopping process checks whether requests are in progress.
_TICK_S = 0.05

#: Time after its start for which a task publishes its requests to Cores as those of a new task,
#: which an alarm compares with those of the other tasks: longer than a deployment shifts traffic.
NEW_TASK_S = 1800.0

#: Workers that are replaced within the window. If another one is killed, all processes stop.
_RESTARTS_MAX = 5
_RESTART_WINDOW_S = 60.0

#: Size of the pipe with the access log, which a worker that is replaced does not read for a second.
_PIPE_BYTES = 1 << 20


def serve(services: Sequence[str], settings: Settings, start_method: str = "spawn") -> None:
    """Serves until SIGTERM or SIGINT. Exits with status 1 if a process fails to start or ends
    unexpectedly.

    Raises SettingsError if a required setting is missing, a port is in use, or Envoy is missing.
    """
    program = process.program()
    allow_files()  # of this process, Envoy and the workers
    for service in services:
        _check(service, settings)
        _check_port(service, settings)
    with _folder() as folder:
        _Processes(services, settings, folder, start_method, program).run()


@dataclass(eq=False)
class _Processes:
    """The processes of services. folder: with the sockets and pipes between them."""

    services: Sequence[str]
    settings: Settings
    folder: Path
    start_method: str
    program: str
    _workers: dict[int, tuple[Worker, BaseProcess]] = field(default_factory=dict)
    _restarts: Counter[str] = field(default_factory=Counter)  # by service
    _restarted_at: deque[float] = field(default_factory=lambda: deque(maxlen=_RESTARTS_MAX))
    _pipes: list[int] = field(default_factory=list)
    _reports: "list[_Report]" = field(default_factory=list)
    #: Signals that were received: SIGTERM, then SIGINT.
    _signals: int = 0
    _wake: tuple[int, int] = field(default_factory=os.pipe)

    def run(self) -> None:
        self._prepare()
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, self._receive)
        for service in self._services:
            for number in range(service.workers):
                self._start(Worker(service.name, number, self.folder))
        envoy, failed = None, True
        try:
            if all(self._wait_for(*each) for each in tuple(self._workers.values())):
                envoy = Envoy(
                    self.program,
                    self.folder,
                    concurrency=self._concurrency,
                    drain_s=self.settings.drain_s,
                )
                if envoy.wait_until_ready():
                    self._reports = [_Report(each, self.settings) for each in self.services]
                    failed = not self._watch(envoy)
            if not failed and envoy is not None:
                self._drain(envoy)
                self._publish(envoy)
        finally:
            if envoy is not None:
                envoy.stop()
            self._end_workers()
        if failed and not self._signals:
            sys.exit(1)

    @property
    def _services(self) -> list[Service]:
        settings = self.settings
        return [
            Service(
                name,
                getattr(settings, f"{name}_port"),
                settings.workers if name == "gateway" else 1,
            )
            for name in self.services
        ]

    @property
    def _concurrency(self) -> int:
        return self.settings.workers if "gateway" in self.services else 1

    def _prepare(self) -> None:
        """Writes the configuration of Envoy, and creates the pipes."""
        settings, folder = self.settings, self.folder
        (folder / process.CLUSTERS).mkdir(mode=0o700)
        process.write_clusters(folder, b'{"version_info":"0","resources":[]}')
        if settings.tls != "off":
            certificate.write(folder)
        document = bootstrap.document(folder, self._services, settings)
        process.write(folder / process.BOOTSTRAP, document.encode())
        for service in self._services:
            for number in range(service.workers if service.name == "gateway" else 0):
                self._open_pipe(log_path(folder, number))

    def _open_pipe(self, path: Path) -> None:
        os.mkfifo(path, 0o600)
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)  # never read, only kept open
        self._pipes.append(descriptor)
        if sys.platform == "linux":
            with contextlib.suppress(OSError):  # the user has too many large pipes
                fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1 if number == signal.SIGTERM else 2
        os.write(self._wake[1], b"x")

    # Workers

    def _start(self, worker: Worker) -> None:
        settings = self.settings
        is_shared = worker.service == "gateway" and settings.workers > 1
        metrics = str(self.folder / "metrics") if is_shared else ""
        if metrics:
            Path(metrics).mkdir(mode=0o700, exist_ok=True)
        restarts = self._restarts[worker.service]
        # `fork` is unsafe in a process with threads.
        context: Any = multiprocessing.get_context(self.start_method)
        child = context.Process(
            target=work, args=(worker, settings, metrics, restarts), name=worker.service
        )
        child.start()
        self._workers[child.sentinel] = worker, child

    def _wait_for(self, worker: Worker, child: BaseProcess) -> bool:
        """Waits until a worker listens. False if it ends before, or a signal arrives."""
        return wait_until(
            worker.socket.exists, _START_S, lambda: child.is_alive() and not self._signals
        )

    def _watch(self, envoy: Envoy) -> bool:
        """Replaces workers that are killed. Returns True after a signal, and False if a process
        has ended for another reason.
        """
        publish_at = time.monotonic() + PUBLISH_S
        while True:
            waited = [*self._workers, envoy.ended, self._wake[0]]
            remaining_s = max(0.0, publish_at - time.monotonic())
            ended = multiprocessing.connection.wait(waited, remaining_s)
            if self._signals:
                return True
            for sentinel in ended:
                if sentinel not in self._workers or not self._replace(sentinel):
                    self._publish(envoy)
                    return False
            if not ended:
                self._publish(envoy)
                publish_at = time.monotonic() + PUBLISH_S

    def _publish(self, envoy: Envoy) -> None:
        if self.settings.metrics_namespace:
            statistics = envoy.statistics(response_counts.PATH)
            for report in self._reports:
                report.publish(statistics, self._restarts[report.service])

    def _replace(self, sentinel: Any) -> bool:
        worker, child = self._workers[sentinel]
        child.join()
        now = time.monotonic()
        recent = [at for at in self._restarted_at if at > now - _RESTART_WINDOW_S]
        was_killed = (child.exitcode or 0) < 0  # by a signal, such as of the kernel's OOM killer
        if not was_killed or len(recent) >= _RESTARTS_MAX:
            return False
        del self._workers[sentinel]
        _log_restart(child, self.settings, str(self.folder / "metrics"))
        self._restarts[worker.service] += 1
        self._restarted_at.append(now)
        self._start(worker)
        return True

    def _end_workers(self) -> None:
        for _, child in self._workers.values():
            if child.is_alive():
                child.terminate()
        deadline = time.monotonic() + _CLOSE_S
        for _, child in self._workers.values():
            child.join(max(0.0, deadline - time.monotonic()))
            if child.is_alive():
                child.kill()
                child.join()

    # End

    def _drain(self, envoy: Envoy) -> None:
        envoy.post("/healthcheck/fail")
        if self._signals == 1:
            envoy.post("/drain_listeners?graceful&skip_exit")
            deadline = time.monotonic() + self.settings.drain_s
            while self._signals == 1 and time.monotonic() < deadline and envoy.is_running():
                time.sleep(_TICK_S)
        envoy.post("/drain_listeners")
        if self.settings.drain_s and self._signals == 1:
            time.sleep(_FIRST_REQUEST_S)
        for worker, child in self._workers.values():
            if worker.service == "gateway" and child.pid is not None and child.is_alive():
                os.kill(child.pid, signal.SIGUSR1)  # closes WebSockets
        aborted = min(self._signals + 2, 4)  # SIGINT, or SIGINT twice within the drain time
        wait_until(
            lambda: not envoy.active_requests(),
            self.settings.stop_timeout_s,
            lambda: envoy.is_running() and self._signals < aborted,
        )


class _Report:
    """Publishes what the clients of a service received, and the workers that were replaced."""

    def __init__(self, service: str, settings: Settings) -> None:
        self.service, self._settings = service, settings
        self._responses, self._restarts = Responses(), 0
        self._started_at = time.monotonic()

    def publish(self, statistics: str, restarts: int) -> None:
        """statistics: of Envoy; empty if it has ended. restarts: since the start."""
        counts, added = self._responses.added(statistics, self.service), restarts - self._restarts
        self._restarts = restarts
        self._observer.publish({"FailedRequests": counts.failed, "WorkerRestarts": added}, "Count")
        if counts.of_cores:
            is_new = time.monotonic() - self._started_at < NEW_TASK_S
            self._observer.publish(
                {"CoreResults": counts.of_cores, "CoreErrors": counts.errors_of_cores},
                "Count",
                Tasks="new" if is_new else "other",
            )

    @functools.cached_property
    def _observer(self) -> "Observer":
        from gatehouse.platform import observability  # imports prometheus_client

        settings, name = self._settings, self._settings.metrics_namespace
        return observability.Observer(
            self.service, settings.log_level, settings.environment, namespace=name
        )


def work(worker: Worker, settings: Settings, metrics_folder: str = "", restarts: int = 0) -> None:
    """Runs one worker. `restarts`: workers of the service that were replaced. Prints the error for
    an invalid setting in one line. Exits with status 1 if the service does not start.
    """
    _end_with_parent()
    os.environ.pop(METRICS_FOLDER_VARIABLE, None)
    if metrics_folder:
        os.environ[METRICS_FOLDER_VARIABLE] = metrics_folder
    try:
        # Imported here so that a gateway worker does not load the dependencies of the console
        # (measured: a second of start-up time and 35 MB per worker).
        with no_collection():
            from gatehouse.platform.metrics import Metrics

            Metrics.restarts = restarts
            service = importlib.import_module(f"gatehouse.services.{worker.service}.app")
        started = service.run(worker, settings)
    except SettingsError as exc:
        sys.stderr.write(f"{exc.public}\n")
        sys.exit(1)
    if not started:  # the application logged the reason
        sys.exit(1)


def _log_restart(child: BaseProcess, settings: Settings, metrics_folder: str) -> None:
    """Logs that a killed worker is replaced. Deletes its gauges, and files that it had created but
    not written, which prometheus_client cannot read.
    """
    from prometheus_client.multiprocess import mark_process_dead

    from gatehouse.platform import observability  # imports prometheus_client

    log = observability.Logger(
        settings.log_level,
        observability.Stream(),
        service=child.name,
        environment=settings.environment,
    )
    log.error("worker restarted", signal=-(child.exitcode or 0))
    if Path(metrics_folder).exists():
        mark_process_dead(child.pid, metrics_folder)  # type: ignore[no-untyped-call]
        for file in Path(metrics_folder).glob(f"*_{child.pid}.db"):
            if not file.stat().st_size:
                file.unlink()


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


def _check_port(service: str, settings: Settings) -> None:
    """Raises SettingsError if the port of a service cannot be used."""
    port: int = getattr(settings, f"{service}_port")
    family = socket.AF_INET6 if ":" in settings.bind else socket.AF_INET
    try:
        with socket.socket(family) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((settings.bind, port))
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
def _folder() -> Generator[Path]:
    """A temporary folder that only this user can read. Raises SettingsError."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="gatehouse-"))
    except OSError:
        raise SettingsError("a writable temporary folder is required (TMPDIR)") from None
    try:
        process.check_folder(folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
