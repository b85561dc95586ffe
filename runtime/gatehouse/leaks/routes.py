"""The class of the routes that take leak reports: who signed the body decides, not a credential; then the endpoint.

Whose leak reports are believed, and the desk that they go to.
"""

from __future__ import annotations

from fastapi import Request, Response
from fastapi.routing import APIRoute

from gatehouse.console.authentication import source_address
from gatehouse.console.dependencies import Dependencies
from gatehouse.console.endpoint import Handler
from gatehouse.errors import NotFound, RateLimited, Unauthorized
from gatehouse.http import asgi
from gatehouse.http.json_body import StrictRequest
from gatehouse.http.models import RequestId
from gatehouse.identity.lockout import Lockout
from gatehouse.identity.models import Actor
from gatehouse.leaks import schemas as wire

#: Under this name wrong signatures of an address are counted, apart from its guesses at credentials.
_PRINCIPAL = "leaks"


class SignedReportRoute(APIRoute):
    """A route for reporters. A wrong signature is answered before the body is understood, so nothing can be probed by one."""

    def get_route_handler(self) -> Handler:
        async def handler(request: Request) -> Response:
            parts: Dependencies = request.app.state.parts
            reporter = "github" if request.scope["route"].path.endswith("/github") else "webhook"
            signed = parts.leaks.signed(reporter) if parts.leaks is not None else None
            if parts.leaks is None or signed is None:
                raise NotFound("Leak reports of this kind are not taken here; GATEHOUSE_LEAK_* says whose are")
            lockout: Lockout = request.app.state.lockout
            address = source_address(request, parts)
            wait_s = lockout.wait_s(address, _PRINCIPAL)
            if wait_s:
                request.state.retry_after = str(wait_s)
                raise RateLimited("Too many reports with wrong signatures came from your address")
            body = await StrictRequest(request.scope, request.receive).body()
            if not signed(request.headers, body, parts.clock.now()):
                lockout.failed(address, _PRINCIPAL)
                await request.app.state.denied.record(address, request.state.request_id, Unauthorized.code)
                raise Unauthorized("The signature is not that of a reporter that is known here")
            lockout.succeeded(address, _PRINCIPAL)
            reports = wire.decode(body)
            actor = Actor("system", f"leaks-{reporter}", RequestId(request.state.request_id), address)
            ours = await parts.leaks.service.report(reports, actor)
            labels = [wire.label(one, ours=known) for one, known in zip(reports, ours, strict=True)]
            return Response(asgi.encode(labels), media_type="application/json")

        return handler


async def report_github_leaks() -> None:
    """Take keys that GitHub's secret scanning found. Signed by one of the pinned keys, in the form of its partner programme."""


async def report_leaks() -> None:
    """Take keys that any other scanner found: the same body and answer, signed as Standard Webhooks says."""
