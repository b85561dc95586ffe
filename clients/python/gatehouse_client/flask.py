"""A decorator for the views of Flask. It belongs below the route, which is on top.

require_key = RequireKey(GatewayClient("http://127.0.0.1:8080"))

@app.get("/orders")
@require_key(["orders:read"])
def orders():
    return f"orders of {request.environ['gatehouse'].customer_id}"
"""

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, TypeVar, Unpack, cast

from flask import Response, after_this_request, current_app, request

from gatehouse_client import wsgi
from gatehouse_client._sync.gateway import GatewayClient
from gatehouse_client.middleware import Denial, KeyOptions, guard

_View = TypeVar("_View", bound=Callable[..., Any])


class RequireKey:
    """Requires an API key for a view. The decision is `request.environ["gatehouse"]`, a
    `Verification`. For the address of the client, see `wsgi.KeyMiddleware`.
    """

    def __init__(self, gateway: GatewayClient) -> None:
        self._gateway = gateway

    def __call__(
        self, scopes: Iterable[str] = (), **options: Unpack[KeyOptions]
    ) -> Callable[[_View], _View]:
        required = guard(scopes, **options)

        def decorate(view: _View) -> _View:
            @wraps(view)
            def guarded(*arguments: Any, **values: Any) -> Any:
                try:
                    decision = wsgi.verify(self._gateway, request.environ, required)
                except Denial as exc:
                    return Response(exc.body, exc.status, exc.all_headers)

                @after_this_request
                def add_limits(response: Response) -> Response:
                    for name, value in decision.headers.items():
                        response.headers.setdefault(name, value)
                    return response

                return current_app.ensure_sync(view)(*arguments, **values)

            return cast(_View, guarded)

        return decorate
