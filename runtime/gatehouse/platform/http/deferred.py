"""Sends responses that are not available when the request has been received, without a task for
each request.

A task and an ASGI cycle take longer than all other work for a request that is forwarded. An
application therefore can return a `Deferred` from `RespondNow`, and sends the response from a
callback. If the response turns out to need a task after all, for example because the body is
streamed, an ASGI application takes over.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from typing import TYPE_CHECKING, cast
from urllib.parse import unquote

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from gatehouse.platform.http import asgi
from gatehouse.platform.http.draining import DrainingProtocol

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application, HTTPScope


class DeferringProtocol(DrainingProtocol):
    """Supports deferred responses."""

    def _defer(self, deferred: asgi.Deferred, body: bytes, *, keep_alive: bool) -> None:
        deferred.connection, deferred.body, deferred.keep_alive = self, body, keep_alive
        self.cycle = self._running = deferred  # type: ignore[assignment]  # has the attributes that the protocol uses
        deferred.begin()

    def _is_running(self) -> bool:
        """True while the application handles a request from this connection."""
        return self._running is not None and not self._running.response_complete

    @abstractmethod
    def send_deferred(
        self, response: asgi.Response | asgi.EncodedResponse, *, keep_alive: bool
    ) -> None:
        """Implements asgi.DeferringConnection."""

    def call_for_deferred(self, deferred: asgi.Deferred, app: asgi.App) -> None:
        """Implements asgi.DeferringConnection."""
        path = deferred.scope["raw_path"].decode("ascii")
        deferred.scope["path"] = unquote(path) if "%" in path else path
        cycle = RequestResponseCycle(
            scope=cast("HTTPScope", deferred.scope),
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=deferred.keep_alive,
            on_response=self.on_response_complete,
        )
        cycle.body += deferred.body
        cycle.more_body = False
        cycle.disconnected = deferred.disconnected
        cycle.message_event.set()
        if self.cycle is cast("RequestResponseCycle", deferred):
            self.cycle = cycle
        self._start_asgi_task(cycle, cast("ASGI3Application", app))
