"""Connections of a server that is stopping: each response closes its connection, and the server is
not ready.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from gatehouse.platform.http import asgi
from gatehouse.platform.http.writing import WritingProtocol

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application


class DrainingProtocol(WritingProtocol):
    """Closes a connection after a response while `Connections.draining` is set."""

    #: The request to which the application is responding. `cycle` is the last request of the
    #: pipeline.
    _running: RequestResponseCycle | None = None

    def drain(self) -> None:
        """Closes the connection after the current request if its response has not begun, otherwise
        after the next request.

        Called when the server begins to stop. An idle connection stays open, because the client may
        be sending a request.
        """
        if self._running is not None and not self._running.response_started:
            self._close_after(self._running)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        if self._worker.draining:
            # Before the task runs, but after the requests have been parsed that arrived with this
            # request.
            self.loop.call_soon(self._close_after, cycle)
            if cycle.scope["path"] == asgi.READY_PATH:
                app = cast("ASGI3Application", _not_ready)
        super()._start_asgi_task(cycle, app)

    def _close_after(self, cycle: RequestResponseCycle) -> None:
        """Closes the connection after the response, unless the client has already sent another
        request.
        """
        cycle.keep_alive = cycle.keep_alive and bool(self.pipeline)


async def _not_ready(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
    await asgi.reply(send, 503, b'{"status":"unavailable","checks":{"server":"unavailable"}}')
