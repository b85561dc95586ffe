"""The same service in each framework, on a real server. Guards are on routes, and /health needs no
key. The service responds with the customer of the key, and with the scope in the field `Content`.
"""

import asyncio
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Unpack

import django
import flask
import pytest
import uvicorn
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import include, path, re_path
from django.utils.decorators import method_decorator
from django.views import View
from django.views.static import serve
from fastapi import APIRouter, FastAPI, Security
from fastapi.responses import PlainTextResponse
from gatehouse_client import AsyncGatewayClient, GatewayClient, Verification, asgi, wsgi
from gatehouse_client.django import RequireKey as DjangoKey
from gatehouse_client.fastapi import RequireKey as FastapiKey
from gatehouse_client.flask import RequireKey as FlaskKey
from gatehouse_client.middleware import KeyOptions
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.serving import make_server

from tests import requires
from tests.clients.drivers.programs import go_driver
from tests.http_servers import running

READ, WRITE, ITEMS, FILES = "orders:read", "orders:write", "items:read", "files:read"
MOUNTED, OPEN = "mounted:read", "open"
SCOPES = (READ, WRITE, ITEMS, FILES, MOUNTED)
#: The options of /mounted/priced, and of /mounted/partner.
PRICED: KeyOptions = {"core": "docs", "cost": 5}
PARTNER: KeyOptions = {"key_header": "X-Partner-Key"}


def text_of(decision: Any) -> str:
    return f"orders of {decision and decision.customer_id}"


def starlette_service(url: str, files: Path) -> Starlette:
    gateway = AsyncGatewayClient(url)

    def requires(scope: str, **options: Unpack[KeyOptions]) -> list[Middleware]:
        return [Middleware(asgi.KeyMiddleware, gateway=gateway, scopes=[scope], **options)]

    def endpoint(scope: str) -> Callable[[Request], Any]:
        async def respond(request: Request) -> Response:
            text = text_of(request.scope.get("gatehouse"))
            return Response(text, headers={"Content": scope}, media_type="text/plain")

        return respond

    def route(path: str, scope: str, method: str = "GET", **options: Unpack[KeyOptions]) -> Route:
        guards = requires(scope, **options)
        return Route(path, endpoint(scope), methods=[method], middleware=guards)

    mounted = Starlette(
        routes=[
            route("/api/orders", MOUNTED),
            route("/priced", MOUNTED, **PRICED),
            route("/partner", MOUNTED, **PARTNER),
        ]
    )
    return Starlette(
        routes=[
            route("/api/orders", READ),
            route("/api/orders", WRITE, "POST"),
            route("/api/items/{name}", ITEMS),
            Mount("/files", StaticFiles(directory=files), middleware=requires(FILES)),
            Mount("/mounted", mounted),
            Route("/health", endpoint(OPEN)),
        ]
    )


def fastapi_service(url: str, files: Path, scopes: tuple[str, ...] = ()) -> FastAPI:
    """scopes: that the application requires, too."""
    gateway = AsyncGatewayClient(url)
    require_key, mounted = FastapiKey(gateway), FastAPI()
    app = FastAPI(dependencies=[Security(require_key, scopes=scopes)] if scopes else [])
    require_key.install(app)
    require_priced, require_partner = FastapiKey(gateway, **PRICED), FastapiKey(gateway, **PARTNER)
    router = APIRouter(prefix="/api")

    def response(key: Any, scope: str) -> PlainTextResponse:
        return PlainTextResponse(text_of(key), headers={"Content": scope})

    @router.get("/orders")
    async def orders(
        key: Annotated[Verification, Security(require_key, scopes=[READ])],
    ) -> PlainTextResponse:
        return response(key, READ)

    @router.post("/orders")
    async def create(
        key: Annotated[Verification, Security(require_key, scopes=[WRITE])],
    ) -> PlainTextResponse:
        return response(key, WRITE)

    @router.get("/items/{name}")
    async def items(
        name: str, key: Annotated[Verification, Security(require_key, scopes=[ITEMS])]
    ) -> PlainTextResponse:
        return response(key, ITEMS)

    @mounted.get("/api/orders")
    async def mounted_orders(
        key: Annotated[Verification, Security(require_key, scopes=[MOUNTED])],
    ) -> PlainTextResponse:
        return response(key, MOUNTED)

    @mounted.get("/priced")
    async def priced(
        key: Annotated[Verification, Security(require_priced, scopes=[MOUNTED])],
    ) -> PlainTextResponse:
        return response(key, MOUNTED)

    @mounted.get("/partner")
    async def partner(
        key: Annotated[Verification, Security(require_partner, scopes=[MOUNTED])],
    ) -> PlainTextResponse:
        return response(key, MOUNTED)

    @app.get("/health")
    async def health() -> PlainTextResponse:
        return response(None, OPEN)

    app.include_router(router)
    app.mount("/mounted", mounted)
    app.mount("/files", asgi.KeyMiddleware(StaticFiles(directory=files), gateway, [FILES]))
    return app


def flask_service(url: str, files: Path) -> flask.Flask:
    require_key = FlaskKey(GatewayClient(url))

    def response(scope: str) -> flask.Response:
        text = text_of(flask.request.environ.get("gatehouse"))
        return flask.Response(text, headers={"Content": scope}, mimetype="text/plain")

    app, mounted = flask.Flask("orders", static_folder=None), flask.Flask("mounted")
    api = flask.Blueprint("api", __name__, url_prefix="/api")

    @api.get("/orders")
    @require_key([READ])
    def orders() -> flask.Response:
        return response(READ)

    @api.post("/orders", strict_slashes=False)
    @require_key([WRITE])
    async def create() -> flask.Response:
        return response(WRITE)

    @api.get("/items/<name>")
    @require_key([ITEMS])
    def items(name: str) -> flask.Response:
        return response(ITEMS)

    @app.get("/files/<path:name>")
    @require_key([FILES])
    def file(name: str) -> flask.Response:
        return flask.send_from_directory(files, name)

    @mounted.get("/api/orders")
    @require_key([MOUNTED])
    def mounted_orders() -> flask.Response:
        return response(MOUNTED)

    @mounted.get("/priced")
    @require_key([MOUNTED], **PRICED)
    def priced() -> flask.Response:
        return response(MOUNTED)

    @mounted.get("/partner")
    @require_key([MOUNTED], **PARTNER)
    def partner() -> flask.Response:
        return response(MOUNTED)

    @app.get("/health")
    def health() -> flask.Response:
        return response(OPEN)

    app.register_blueprint(api)
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/mounted": mounted})  # type: ignore[method-assign]
    return app


def _respond(request: HttpRequest, scope: str) -> HttpResponse:
    text = text_of(request.META.get("gatehouse"))
    return HttpResponse(text, headers={"Content": scope}, content_type="text/plain")


def django_views(url: str, files: Path) -> list[Any]:
    require_key = DjangoKey(GatewayClient(url))

    class Orders(View):  # type: ignore[misc]
        @method_decorator(require_key([READ]))  # type: ignore[untyped-decorator]
        def get(self, request: HttpRequest) -> HttpResponse:
            return _respond(request, READ)

        @method_decorator(require_key([WRITE]))  # type: ignore[untyped-decorator]
        def post(self, request: HttpRequest) -> HttpResponse:
            return _respond(request, WRITE)

    @require_key([ITEMS])
    async def items(request: HttpRequest, name: str) -> HttpResponse:
        return _respond(request, ITEMS)

    def mounted(request: HttpRequest) -> HttpResponse:
        return _respond(request, MOUNTED)

    urls_of_mounted = [
        path("api/orders", require_key([MOUNTED])(mounted)),
        path("priced", require_key([MOUNTED], **PRICED)(mounted)),
        path("partner", require_key([MOUNTED], **PARTNER)(mounted)),
    ]

    return [
        re_path("(?i)^api/orders/?$", Orders.as_view()),
        path("api/items/<name>", items),
        path("files/<path:path>", require_key([FILES])(serve), {"document_root": files}),
        path("mounted/", include(urls_of_mounted)),
        path("health", lambda request: _respond(request, OPEN)),
    ]


urlpatterns: list[Any] = []


def django_service(url: str, files: Path) -> None:
    if not settings.configured:
        settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="x")
        settings.MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
        django.setup()
    django.urls.clear_url_caches()
    urlpatterns[:] = django_views(url, files)


@asynccontextmanager
async def on_uvicorn(app: Any, **options: Any) -> AsyncIterator[int]:
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", **options))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        task = asyncio.create_task(server.serve([listener]))
        yield listener.getsockname()[1]
        server.should_exit = True
        await task


@asynccontextmanager
async def on_werkzeug(app: Any) -> AsyncIterator[int]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    with running(server):
        yield server.server_port


@asynccontextmanager
async def go_server(url: str, files: Path, *scopes: str) -> AsyncIterator[int]:
    program = await asyncio.to_thread(go_driver)
    scope = scopes[0] if scopes else ""
    arguments = (str(program), "serve", url, str(files), scope)
    service = await asyncio.create_subprocess_exec(*arguments, stdout=subprocess.PIPE)
    assert service.stdout is not None
    try:
        yield int(await service.stdout.readline())
    finally:
        service.terminate()
        await service.wait()


def _asgi(app: Any, url: str, scopes: tuple[str, ...]) -> Any:
    return asgi.KeyMiddleware(app, AsyncGatewayClient(url), scopes) if scopes else app


def _wsgi(app: Any, url: str, scopes: tuple[str, ...]) -> Any:
    return wsgi.KeyMiddleware(app, GatewayClient(url), scopes) if scopes else app


def starlette_server(url: str, files: Path, *scopes: str) -> Any:
    return on_uvicorn(_asgi(starlette_service(url, files), url, scopes))


def fastapi_server(url: str, files: Path, *scopes: str) -> Any:
    app = fastapi_service(url, files, scopes)
    return on_uvicorn(_asgi(app, url, scopes), root_path="/root")


def flask_server(url: str, files: Path, *scopes: str) -> Any:
    return on_werkzeug(_wsgi(flask_service(url, files), url, scopes))


def django_wsgi_server(url: str, files: Path, *scopes: str) -> Any:
    django_service(url, files)
    return on_werkzeug(_wsgi(get_wsgi_application(), url, scopes))


def django_asgi_server(url: str, files: Path, *scopes: str) -> Any:
    django_service(url, files)
    return on_uvicorn(_asgi(get_asgi_application(), url, scopes), root_path="/root")


#: Starts a service. Arguments: URL of the gateway, folder of files, and the scopes that the whole
#: application requires in addition to those of its routes.
SERVERS = {
    "starlette": starlette_server,
    "fastapi": fastapi_server,
    "flask": flask_server,
    "django": django_wsgi_server,
    "django-asgi": django_asgi_server,
    "go": go_server,
}
#: The parameters of tests.
FRAMEWORKS = [
    pytest.param(name, marks=requires.program("go") if name == "go" else ()) for name in SERVERS
]
