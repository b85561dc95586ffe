"""Starts and stops an application in the event loop of the server (ASGI lifespan protocol)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from gatehouse.core.errors import GatehouseError
from gatehouse.platform.http import asgi
from gatehouse.platform.http.exchange import SynchronousRoutes
from gatehouse.platform.observability import Observer


class LifespanApp:
    """`start` connects, yields the application and disconnects. A failed start is logged in one
    line and ends the process.
    """

    def __init__(
        self, start: Callable[[], AbstractAsyncContextManager[asgi.App]], observer: Observer
    ) -> None:
        self._start = start
        self._observer = observer
        self._app: asgi.App | None = None
        #: Filled with the entries of the application when it has started.
        self.respond_now = SynchronousRoutes()

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        if self._app is not None and scope["type"] != "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)

    async def _lifespan(self, receive: asgi.Receive, send: asgi.Send) -> None:
        await receive()
        try:
            async with self._start() as self._app:
                self.respond_now.add(getattr(self._app, "respond_now", SynchronousRoutes()))
                await send({"type": "lifespan.startup.complete"})
                self._observer.log.info("started", service=self._observer.service)
                await receive()
        except GatehouseError as exc:
            if self._app is None:
                self._observer.log.error(
                    "not started", service=self._observer.service, reason=exc.public
                )
                await send({"type": "lifespan.startup.failed", "message": ""})
                return
            self._observer.log.error(
                "stopped with an error", service=self._observer.service, reason=exc.public
            )
        self._observer.log.info("stopped", service=self._observer.service)
        await send({"type": "lifespan.shutdown.complete"})
