"""A dependency for FastAPI.

require_key = RequireKey(AsyncGatewayClient("http://127.0.0.1:8080"))
app = FastAPI()
require_key.install(app)

@app.get("/orders")
async def orders(key: Annotated[Verification, Security(require_key, scopes=["orders:read"])]):
    return f"orders of {key.customer_id}"
"""

from fastapi import FastAPI, HTTPException, Request
from fastapi.openapi.models import HTTPBearer
from fastapi.requests import HTTPConnection
from fastapi.responses import Response
from fastapi.security import SecurityScopes
from fastapi.security.base import SecurityBase

from gatehouse_client import asgi
from gatehouse_client._async.gateway import AsyncGatewayClient
from gatehouse_client.gateway import Verification
from gatehouse_client.middleware import Denial


class RequireKey(SecurityBase):
    """Requires an API key with the scopes of the endpoint and of the dependencies above it. In the
    OpenAPI document, it is the security scheme `ApiKey`.
    """

    def __init__(self, gateway: AsyncGatewayClient) -> None:
        self._gateway = gateway
        self.model = HTTPBearer(description="A Gatehouse API key.")
        self.scheme_name = "ApiKey"

    def install(self, app: FastAPI) -> None:
        """Denied requests get a problem document, and allowed ones the headers of their limits.
        Otherwise, a denied request gets `{"detail": ...}`.
        """
        app.add_exception_handler(_Denied, _problem)
        app.add_middleware(_LimitHeaders)

    async def __call__(
        self, connection: HTTPConnection, security_scopes: SecurityScopes
    ) -> Verification:
        try:
            return await asgi.verify(self._gateway, connection.scope, security_scopes.scopes)
        except Denial as exc:
            raise _Denied(exc) from None


class _Denied(HTTPException):
    def __init__(self, denial: Denial) -> None:
        super().__init__(denial.status, denial.detail, denial.headers)
        self.denial = denial


async def _problem(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, _Denied)  # noqa: S101 - the handler is for this class
    denial = exc.denial
    return Response(denial.body, denial.status, denial.all_headers)


class _LimitHeaders:
    def __init__(self, app: asgi.App) -> None:
        self._app = app

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await self._app(scope, receive, asgi.with_headers(scope, send))
