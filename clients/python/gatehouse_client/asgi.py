"""ASGI middleware, for Starlette, FastAPI and other frameworks.

    key = Middleware(KeyMiddleware, gateway=AsyncGatewayClient(url), scopes=["orders:read"])
    app = Starlette(routes=[Route("/orders", orders, middleware=[key])])  # or Mount, or Starlette

The decision is `request.scope["gatehouse"]`, a `Verification`.
"""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Unpack

from gatehouse_client._async.gateway import AsyncGatewayClient
from gatehouse_client.errors import ApiError
from gatehouse_client.gateway import Verification
from gatehouse_client.middleware import (
    DECISION,
    Denial,
    Guard,
    KeyOptions,
    KeyRequest,
    client_address,
    denial,
    guard,
    presented_token,
)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_POLICY_VIOLATION = 1008


class KeyMiddleware:
    """Requires an API key with the scopes for every HTTP request and WebSocket handshake of the
    application, which can be a single route.

    The address of the client is that of the server (`scope["client"]`): run the server so that it
    reads X-Forwarded-For of your proxy only, with uvicorn `--forwarded-allow-ips`.
    """

    def __init__(
        self,
        app: App,
        gateway: AsyncGatewayClient,
        scopes: Iterable[str] = (),
        **options: Unpack[KeyOptions],
    ) -> None:
        self._app = app
        self._gateway = gateway
        self._guard = guard(scopes, **options)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self._app(scope, receive, send)
        try:
            await verify(self._gateway, scope, self._guard)
        except Denial as exc:
            return await respond(exc, scope, receive, send)
        return await self._app(scope, receive, with_headers(scope, send))


async def verify(gateway: AsyncGatewayClient, scope: Scope, guard: Guard) -> Verification:
    """The decision on the key of a request, which is also `scope["gatehouse"]`. Raises Denial."""
    client = scope.get("client")
    request = KeyRequest(
        gateway.url,
        presented_token(lambda name: _values(scope, name), guard.key_header),
        client_address(client[0]) if client else None,
        scope.get("method", "GET"),
    )
    if earlier := request.earlier(scope, guard):
        return earlier
    try:
        decision = await gateway.verify(request.token, **request.arguments(scope, guard))
    except ApiError as exc:
        raise denial(exc) from None
    return request.record(scope, guard, decision)


def with_headers(scope: Scope, send: Send) -> Send:
    """Adds the rate limits of the decision to the response, unless the application has set them."""

    async def send_with_headers(message: Message) -> None:
        decision = scope.get(DECISION)
        if decision is not None and message["type"] in ("http.response.start", "websocket.accept"):
            headers = list(message.get("headers") or ())
            names = {name.lower() for name, _ in headers}
            own = ((name.lower().encode(), value) for name, value in decision.headers.items())
            headers += [(name, value.encode()) for name, value in own if name not in names]
            message = {**message, "headers": headers}
        await send(message)

    return send_with_headers


async def respond(exc: Denial, scope: Scope, receive: Receive, send: Send) -> None:
    """Sends the response to a denied request. A server without the extension for responses to
    handshakes responds with 403.
    """
    prefix = ""
    if scope["type"] == "websocket":
        await receive()  # websocket.connect
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
            return
        prefix = "websocket."
    headers = [(name.lower().encode(), value.encode()) for name, value in exc.all_headers.items()]
    start = {"type": f"{prefix}http.response.start", "status": exc.status, "headers": headers}
    body = b"" if scope.get("method") == "HEAD" else exc.body
    await send(start)
    await send({"type": f"{prefix}http.response.body", "body": body})


def _values(scope: Scope, name: str) -> list[str]:
    expected = name.lower().encode()
    return [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == expected]
