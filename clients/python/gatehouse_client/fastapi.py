"""A dependency for FastAPI.

require_key = RequireKey(AsyncGatewayClient("http://127.0.0.1:8080"))
app = FastAPI()
require_key.install(app)

@app.get("/orders")
async def orders(key: Annotated[Verification, Security(require_key, scopes=["orders:read"])]):
    return f"orders of {key.customer_id}"
"""

from dataclasses import replace
from typing import Any, Unpack

from fastapi import FastAPI, HTTPException, Request
from fastapi.openapi.models import APIKey, HTTPBearer
from fastapi.openapi.models import SecurityBase as SecurityModel
from fastapi.requests import HTTPConnection
from fastapi.responses import Response
from fastapi.security import SecurityScopes
from fastapi.security.base import SecurityBase

from gatehouse_client import asgi
from gatehouse_client._async.gateway import AsyncGatewayClient
from gatehouse_client.gateway import Verification
from gatehouse_client.middleware import TITLES, Denial, KeyOptions, guard

_SCHEME = "ApiKey"
_INSTALLED = "gatehouse.installed"
_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_PROBLEM = {
    "title": "ApiKeyProblem",
    "description": "Why a request was denied (RFC 9457).",
    "type": "object",
    "properties": {
        **{name: {"type": "string"} for name in ("type", "title", "detail", "code", "request_id")},
        "status": {"type": "integer"},
    },
}


class RequireKey(SecurityBase):
    """Requires an API key with the scopes of the endpoint and of the dependencies above it. For an
    endpoint with another cost or Core, create another one: `RequireKey(gateway, cost=5)`.

    In the OpenAPI document, it is the security scheme `ApiKey`, and with `key_header`
    `ApiKey_<header>`.
    """

    def __init__(self, gateway: AsyncGatewayClient, **options: Unpack[KeyOptions]) -> None:
        self._gateway = gateway
        self._guard = guard((), **options)
        header, description = self._guard.key_header, "A Gatehouse API key."
        self.model: SecurityModel = HTTPBearer(description=description)
        self.scheme_name = _SCHEME
        if header is not None and header.lower() != "authorization":
            fields = {"in": "header", "name": header, "description": description}
            self.model = APIKey.model_validate(fields)
            self.scheme_name = f"{_SCHEME}_{header}"

    def install(self, app: FastAPI) -> None:
        """Denied requests get a problem document, and allowed ones the headers of their limits,
        also in applications that are mounted on this one. The OpenAPI document of this one has the
        responses to denied requests. Without, a denied request gets `{"detail": ...}`.
        """
        app.add_middleware(_Installed)
        create = app.openapi

        def openapi() -> dict[str, Any]:
            return _with_denials(create())

        app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI documents it

    async def __call__(
        self, connection: HTTPConnection, security_scopes: SecurityScopes
    ) -> Verification:
        scope = connection.scope
        required = replace(self._guard, scopes=tuple(security_scopes.scopes))
        try:
            return await asgi.verify(self._gateway, scope, required)
        except Denial as exc:
            if _INSTALLED in scope and "starlette.exception_handlers" in scope:
                # Of the application that responds, which can be mounted on another one.
                scope["starlette.exception_handlers"][0].setdefault(_Denied, _problem)
            raise _Denied(exc) from None


class _Denied(HTTPException):
    def __init__(self, denial: Denial) -> None:
        super().__init__(denial.status, denial.detail, denial.headers)
        self.denial = denial


async def _problem(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, _Denied)  # noqa: S101 - the handler is for this class
    denial = exc.denial
    return Response(denial.body, denial.status, denial.all_headers)


class _Installed:
    def __init__(self, app: asgi.App) -> None:
        self._app = app

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        scope[_INSTALLED] = True
        await self._app(scope, receive, asgi.with_headers(scope, send))


def _with_denials(document: dict[str, Any]) -> dict[str, Any]:
    """Adds the responses to denied requests to the operations that require a key. Idempotent."""
    for path in document.get("paths", {}).values():
        for method in _METHODS:
            operation = path.get(method, {})
            schemes = {name for item in operation.get("security", ()) for name in item}
            if not any(name.partition("_")[0] == _SCHEME for name in schemes):
                continue
            schemas = document["components"].setdefault("schemas", {})
            schemas.setdefault(_PROBLEM["title"], _PROBLEM)
            schema = {"$ref": f"#/components/schemas/{_PROBLEM['title']}"}
            content = {"application/problem+json": {"schema": schema}}
            for status, title in TITLES.items():
                response = {"description": title, "content": content}
                operation.setdefault("responses", {}).setdefault(str(status), response)
    return document
