"""The gateway as one raw ASGI callable: a table of routes, and what is the same for every request.

Raw ASGI because the framework, not our own code, decides the speed here (measured: 1.6 times Starlette, 3.5 times FastAPI)."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping

from gatehouse.errors import GatehouseError, MethodNotAllowed, NotFound
from gatehouse.gateway.request_context import RequestContext
from gatehouse.http import asgi
from gatehouse.observability import Observer
from gatehouse.usage.service import UsageCounter

Endpoint = Callable[[RequestContext], Awaitable[None]]


_PATH_CHARS_LOGGED = 200


class Route:
    """`methods` None: every method goes to `any_method`. A GET endpoint answers HEAD too."""

    __slots__ = ("allow", "any_method", "methods", "template")

    def __init__(self, template: str, methods: Mapping[str, Endpoint] | None = None, any_method: Endpoint | None = None) -> None:
        self.template = template
        self.methods = dict(methods or {})
        if "GET" in self.methods:
            self.methods["HEAD"] = self.methods["GET"]
        self.any_method = any_method
        self.allow = ", ".join(sorted({*self.methods, "OPTIONS"})).encode()


class GatewayApp:
    """exact: raw path -> route. prefixes: raw path prefix -> route, tried in order. secret_mark: the start of every key."""

    def __init__(
        self,
        exact: Mapping[bytes, Route],
        prefixes: Mapping[bytes, Route],
        observer: Observer,
        *,
        secret_mark: str,
        usage: UsageCounter,
        addresses: asgi.ClientAddresses,
    ) -> None:
        self._exact = dict(exact)
        self._prefixes = tuple(prefixes.items())
        self._observer = observer
        self._secret_mark = secret_mark
        self._usage = usage
        self._addresses = addresses

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        if scope["type"] != "http":
            await _refuse_websocket(scope, receive, send)
            return
        started = time.perf_counter()
        exchange = RequestContext(scope, receive, send)
        try:
            await self._answer(exchange)
        except asgi.ClientGone:
            exchange.detail = "client left"
            exchange.status = exchange.status or 499
        except GatehouseError as exc:
            if exchange.status:
                exchange.detail = f"broken off: {exc.code} {exc.detail}"
                raise  # the server closes the connection, so that the client does not take half an answer for a whole one
            await exchange.fail(exc)
        except Exception as exc:
            exchange.detail = f"{type(exc).__name__}"
            self._observer.log.exception("failure", request_id=exchange.request_id, where=_where(exc))
            if exchange.status:
                raise
            await exchange.fail(GatehouseError("Something went wrong here; the request id finds it in the logs"))
        finally:
            for key_id, core, code, behalf in exchange.counted:
                self._usage.count(key_id, core, code, "" if behalf else exchange.client(self._addresses))
            self._observe(exchange, time.perf_counter() - started)

    async def _answer(self, exchange: RequestContext) -> None:
        raw = exchange.raw_path
        route = self._exact.get(raw)
        if route is None:
            route = next((route for prefix, route in self._prefixes if raw.startswith(prefix)), None)
        if route is None:
            raise NotFound
        exchange.template = route.template
        if route.any_method is not None:
            await route.any_method(exchange)
            return
        endpoint = route.methods.get(exchange.method)
        if endpoint is not None:
            await endpoint(exchange)
        elif exchange.method == "OPTIONS":
            await exchange.reply(204, headers=[(b"allow", route.allow)])
        else:
            error = MethodNotAllowed(f"Allowed here: {route.allow.decode()}")
            await exchange.fail(error, headers=[(b"allow", route.allow)])

    def _observe(self, exchange: RequestContext, seconds: float) -> None:
        path = exchange.raw_path.decode("latin-1")[:_PATH_CHARS_LOGGED]
        # Some clients put their key into the path by mistake; a log line must not keep it.
        if self._secret_mark in path:
            path = "(hidden: it holds what looks like a key)"
        self._observer.request(
            request_id=exchange.request_id,
            method=exchange.method,
            route=exchange.template or "(none)",
            path=path,
            status=exchange.status,
            seconds=seconds,
            key_id=exchange.key_id,
            code=exchange.code,
            detail=exchange.detail,
        )


def _where(exc: BaseException) -> str:
    """File and line that raised, without the text of the exception or any value."""
    last = exc.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return "" if last is None else f"{last.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{last.tb_lineno}"


async def _refuse_websocket(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1011})
