"""A decorator for the views of Django.

require_key = RequireKey(GatewayClient("http://127.0.0.1:8080"))

@require_key(["orders:read"])
def orders(request):
    return HttpResponse(f"orders of {request.META['gatehouse'].customer_id}")

For a method of a view class, use `method_decorator` of Django.
"""

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, TypeVar, Unpack, cast

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.http import HttpRequest, HttpResponse

from gatehouse_client import wsgi
from gatehouse_client._sync.gateway import GatewayClient
from gatehouse_client.middleware import DECIDED, DECISION, Denial, Guard, KeyOptions, guard

_View = TypeVar("_View", bound=Callable[..., Any])


class RequireKey:
    """Requires an API key for a view, which can be asynchronous. The decision is
    `request.META["gatehouse"]`, a `Verification`. For the address of the client, see
    `wsgi.KeyMiddleware`.
    """

    def __init__(self, gateway: GatewayClient) -> None:
        self._gateway = gateway

    def __call__(
        self, scopes: Iterable[str] = (), **options: Unpack[KeyOptions]
    ) -> Callable[[_View], _View]:
        required = guard(scopes, **options)

        def decorate(view: _View) -> _View:
            @wraps(view)
            def guarded(request: HttpRequest, *arguments: Any, **values: Any) -> HttpResponse:
                denied = self._denied(request, required)
                if denied is not None:
                    return denied
                return _with_limits(request, view(request, *arguments, **values))

            @wraps(view)
            async def awaited(request: HttpRequest, *arguments: Any, **values: Any) -> HttpResponse:
                decide = sync_to_async(self._denied, thread_sensitive=False)
                denied = await decide(request, required)
                if denied is not None:
                    return denied
                return _with_limits(request, await view(request, *arguments, **values))

            return cast(_View, awaited if iscoroutinefunction(view) else guarded)

        return decorate

    def _denied(self, request: HttpRequest, required: Guard) -> HttpResponse | None:
        scope = getattr(request, "scope", {})  # of an ASGI server, which may have middleware
        request.META.update({name: scope[name] for name in (DECISION, DECIDED) if name in scope})
        try:
            wsgi.verify(self._gateway, request.META, required)
        except Denial as exc:
            return HttpResponse(exc.body, status=exc.status, headers=exc.all_headers)
        return None


def _with_limits(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    for name, value in request.META[DECISION].headers.items():
        response.setdefault(name, value)
    return response
