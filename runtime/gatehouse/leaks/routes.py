"""The class of the routes that take leak reports: who signed the body decides, not a credential; then the endpoint.

Whose leak reports are believed, and the desk that they go to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
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
from gatehouse.leaks import report_signatures as leak
from gatehouse.leaks import schemas as wire
from gatehouse.leaks.service import LeakService
from gatehouse.notifications import webhook_signatures as webhook

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
            ours = await parts.leaks.desk.take(reports, actor)
            labels = [wire.label(one, ours=known) for one, known in zip(reports, ours, strict=True)]
            return Response(asgi.encode(labels), media_type="application/json")

        return handler


async def report_github_leaks() -> None:
    """Take keys that GitHub's secret scanning found. Signed by one of the pinned keys, in the form of its partner programme."""


async def report_leaks() -> None:
    """Take keys that any other scanner found: the same body and answer, signed as Standard Webhooks says."""


#: (headers of the request, its body, now) -> whether a reporter that we know signed it.
Signed = Callable[[Mapping[str, str], bytes, float], bool]


@dataclass(frozen=True, slots=True)
class LeakReporters:
    """github_keys: GitHub's public keys by identifier. secret: of reports by Standard Webhooks. Either may be none."""

    desk: LeakService
    github_keys: Mapping[str, EllipticCurvePublicKey]
    secret: bytes | None

    def signed(self, reporter: str) -> Signed | None:
        """How reports of this reporter are checked; None when none are taken."""
        if reporter == "github":
            return self._githubs if self.github_keys else None
        return self._webhooks if self.secret is not None else None

    def _githubs(self, headers: Mapping[str, str], body: bytes, now: float) -> bool:
        identifier = headers.get("github-public-key-identifier", "")
        return leak.is_githubs(body, identifier, headers.get("github-public-key-signature", ""), self.github_keys)

    def _webhooks(self, headers: Mapping[str, str], body: bytes, now: float) -> bool:
        names = ("webhook-id", "webhook-timestamp", "webhook-signature")
        notice_id, timestamp, signature = (headers.get(name, "") for name in names)
        return webhook.is_signed(self.secret or b"", notice_id, timestamp, signature, body, now=now)
