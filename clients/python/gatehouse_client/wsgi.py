"""WSGI middleware, which requires a key for a whole application. For single views, see
`gatehouse_client.flask` and `gatehouse_client.django`.

    app.wsgi_app = KeyMiddleware(app.wsgi_app, GatewayClient(url), scopes=["orders:read"])  # Flask
    application = KeyMiddleware(get_wsgi_application(), GatewayClient(url))  # Django, wsgi.py

The decision is `request.environ["gatehouse"]`, a `Verification`.
"""

from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Unpack

from gatehouse_client._sync.gateway import GatewayClient
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

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class KeyMiddleware:
    """Requires an API key with the scopes for every request.

    The address of the client is REMOTE_ADDR: let the server set it from X-Forwarded-For of your
    proxy only, for example with werkzeug's ProxyFix as the outermost middleware.
    """

    def __init__(
        self,
        app: "WSGIApplication",
        gateway: GatewayClient,
        scopes: Iterable[str] = (),
        **options: Unpack[KeyOptions],
    ) -> None:
        self._app = app
        self._gateway = gateway
        self._guard = guard(scopes, **options)

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        try:
            verify(self._gateway, environ, self._guard)
        except Denial as exc:
            status = f"{exc.status} {HTTPStatus(exc.status).phrase}"
            start_response(status, list(exc.all_headers.items()))
            return [b"" if environ["REQUEST_METHOD"] == "HEAD" else exc.body]

        def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            names = {name.lower() for name, _ in headers}
            decided = environ[DECISION].headers.items()
            added = [item for item in decided if item[0].lower() not in names]
            return start_response(status, [*headers, *added], *exc_info)

        return self._app(environ, start)


def verify(gateway: GatewayClient, environ: "WSGIEnvironment", guard: Guard) -> Verification:
    """The decision on the key of a request, which is also `environ["gatehouse"]`. WSGI joins the
    values of a repeated header with a comma. Raises Denial.
    """
    request = KeyRequest(
        gateway.url,
        presented_token(lambda name: _values(environ, name), guard.key_header),
        client_address(environ.get("REMOTE_ADDR", "")),
        environ["REQUEST_METHOD"],
    )
    if earlier := request.earlier(environ, guard):
        return earlier
    try:
        decision = gateway.verify(request.token, **request.arguments(environ, guard))
    except ApiError as exc:
        raise denial(exc) from None
    return request.record(environ, guard, decision)


def _values(environ: "WSGIEnvironment", name: str) -> list[str]:
    variable = f"HTTP_{name.upper().replace('-', '_')}"
    return [environ[variable]] if variable in environ else []
