"""WSGI middleware, for Flask, Django and other frameworks.

    app.wsgi_app = KeyMiddleware(app.wsgi_app, GatewayClient(url), scopes=["orders:read"])  # Flask
    application = KeyMiddleware(get_wsgi_application(), GatewayClient(url))  # Django, wsgi.py

The decision is `request.environ["gatehouse"]`, a `Verification`.
"""

from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from gatehouse_client.errors import ApiError
from gatehouse_client.gateway import GatewayClient, Verification
from gatehouse_client.middleware import (
    DECISION,
    Denial,
    Scopes,
    allowed,
    client_address,
    denial,
    presented_token,
    required,
)

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class KeyMiddleware:
    """Requires an API key for every request. scopes: as for `asgi.KeyMiddleware`.

    The address of the client is REMOTE_ADDR: let the server set it from X-Forwarded-For of your
    proxy only, for example with werkzeug's ProxyFix as the outermost middleware.
    """

    def __init__(self, app: "WSGIApplication", gateway: GatewayClient, scopes: Scopes = ()) -> None:
        self._app = app
        self._gateway = gateway
        self._scopes = scopes

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        path = (environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")) or "/"
        scopes = required(self._scopes, method, path)
        if scopes is None:
            return self._app(environ, start_response)
        try:
            decision = environ[DECISION] = self._verify(environ, scopes)
        except Denial as exc:
            status = f"{exc.status} {HTTPStatus(exc.status).phrase}"
            start_response(status, list(exc.all_headers.items()))
            return [b"" if method == "HEAD" else exc.body]

        def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            names = {name.lower() for name, _ in headers}
            added = [item for item in decision.headers.items() if item[0].lower() not in names]
            return start_response(status, [*headers, *added], *exc_info)

        return self._app(environ, start)

    def _verify(self, environ: "WSGIEnvironment", scopes: Iterable[str]) -> Verification:
        """Raises Denial. WSGI joins the values of a repeated header with a comma."""
        token = presented_token(
            _values(environ, "HTTP_AUTHORIZATION"), _values(environ, "HTTP_X_API_KEY")
        )
        try:
            verification = self._gateway.verify(
                token,
                scopes=scopes,
                address=client_address(environ.get("REMOTE_ADDR", "")),
                method=environ["REQUEST_METHOD"],
            )
        except ApiError as exc:
            raise denial(exc) from None
        return allowed(verification)


def _values(environ: "WSGIEnvironment", name: str) -> list[str]:
    return [environ[name]] if name in environ else []
