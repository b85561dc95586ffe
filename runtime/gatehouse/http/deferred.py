"""Sends responses that are not available when the request has been received, without a task for each request.

A task and an ASGI cycle take longer than all other work for a request that is forwarded. An application therefore can return a
`Deferred` from `RespondNow`, and sends the response from a callback. If the response turns out to need a task after all, for
example because the body is streamed, an ASGI application takes over.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from typing import cast
from urllib.parse import unquote

from uvicorn._types import ASGI3Application, HTTPScope
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from gatehouse.http import asgi
from gatehouse.http.draining import DrainingProtocol


class DeferredCycle:
    """The state of a deferred response. Has the attributes of uvicorn's RequestResponseCycle that a protocol uses."""

    def __init__(self, protocol: DeferringProtocol, deferred: asgi.Deferred, body: bytes, *, keep_alive: bool) -> None:
        self.scope = deferred.scope
        self.keep_alive = keep_alive
        self.disconnected = False
        self.response_started = False
        self.response_complete = False
        self._protocol = protocol
        self._deferred: asgi.Deferred | None = deferred
        self._body = body

    @property
    def message_event(self) -> DeferredCycle:
        return self

    def set(self) -> None:
        """Called by the protocol when the client has disconnected."""
        deferred, self._deferred = self._deferred, None
        if deferred is not None:
            deferred.disconnected()

    def respond(self, response: asgi.Response | asgi.EncodedResponse) -> None:
        """Sends the complete response."""
        self._deferred = None
        self.response_started = self.response_complete = True
        self._protocol.send_deferred(response, keep_alive=self.keep_alive)

    def call(self, app: asgi.App) -> None:
        """Lets an ASGI application send the response. The application can read the body of the request again."""
        self._deferred = None
        self._protocol.call_for_deferred(self, app, self._body)


class DeferringProtocol(DrainingProtocol):
    """Supports deferred responses."""

    def _defer(self, deferred: asgi.Deferred, body: bytes, *, keep_alive: bool) -> None:
        cycle = DeferredCycle(self, deferred, body, keep_alive=keep_alive)
        self.cycle = self._running = cast("RequestResponseCycle", cycle)
        deferred.begin(cycle)

    def _is_running(self) -> bool:
        """True while the application handles a request from this connection."""
        return self._running is not None and not self._running.response_complete

    @abstractmethod
    def send_deferred(self, response: asgi.Response | asgi.EncodedResponse, *, keep_alive: bool) -> None:
        """Sends the response to the request in progress."""

    def call_for_deferred(self, deferred: DeferredCycle, app: asgi.App, body: bytes) -> None:
        """Replaces a deferred response with a call of an application."""
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
        cycle.body += body
        cycle.more_body = False
        cycle.disconnected = deferred.disconnected
        cycle.message_event.set()
        if self.cycle is cast("RequestResponseCycle", deferred):
            self.cycle = cycle
        self._start_asgi_task(cycle, cast("ASGI3Application", app))
