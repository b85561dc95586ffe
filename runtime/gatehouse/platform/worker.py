"""A worker process of a service: it serves a Unix socket until SIGTERM. Envoy has drained the
connections before.
"""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable
from typing import Any

import uvloop

from gatehouse.core.errors import GatehouseError
from gatehouse.platform.envoy.bootstrap import Worker
from gatehouse.platform.observability import origin_of
from gatehouse.platform.web.application import Application

#: An idle connection of Envoy is kept longer than Envoy keeps it.
_KEEP_ALIVE_S = 3700
_STOP_S = 2


def run_asgi(application: Application, worker: Worker) -> bool:
    """Serves an ASGI application with uvicorn until SIGTERM. False if it does not start."""
    import uvicorn  # the gateway does not need it

    logging.getLogger("uvicorn").disabled = True
    worker.socket.unlink(missing_ok=True)
    config = uvicorn.Config(
        application,
        uds=str(worker.socket),
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_STOP_S,
    )
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]  # it sends the process the signals again
    logging.getLogger("uvicorn.error").disabled = True  # the application logs all errors
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        loop = runner.get_loop()
        loop.set_exception_handler(_error_log(application))
        loop.add_signal_handler(signal.SIGTERM, setattr, server, "should_exit", True)
        loop.add_signal_handler(signal.SIGINT, lambda: None)  # the parent process stops the worker
        runner.run(server.serve())
    return server.started


def run_workers(application: Application, on_drained: Callable[[], None]) -> bool:
    """Runs a service that listens itself until SIGTERM. on_drained: called after SIGUSR1, when no
    more requests arrive. False if it does not start.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        loop = runner.get_loop()
        loop.set_exception_handler(_error_log(application))
        loop.add_signal_handler(signal.SIGUSR1, on_drained)
        return runner.run(_run(application))


async def _run(application: Application) -> bool:
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    loop.add_signal_handler(signal.SIGINT, lambda: None)  # the parent process stops the worker
    try:
        async with application.running():
            await stopped.wait()
    except GatehouseError:
        return False
    return True


def _error_log(
    application: Application,
) -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]:
    """Logs errors outside of a request in a line, without their text, which may contain secret
    values or what a client has sent.
    """

    def write(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception") or RuntimeError()
        detail = f"{type(error).__name__} at {origin_of(error)}"
        application.observer.log.warning("event loop error", detail=detail)

    return write
