"""Endpoints of leak reports. The signature of the body authenticates the reporter; there is no credential."""

from __future__ import annotations

from functools import partial

from gatehouse.console.authentication import check_lockout
from gatehouse.console.dependencies import Request
from gatehouse.errors import NotFound, Unauthorized
from gatehouse.http.endpoint import SIGNATURE, Endpoint
from gatehouse.identity.models import Actor
from gatehouse.leaks.schemas import LeakLabels, LeakReports, decode, label

#: Failed signatures of an address are counted under this name, separately from failed authentications.
_PRINCIPAL = "leaks"


async def report_github_leaks(request: Request) -> LeakLabels:
    """Report leaked keys (GitHub).

    For GitHub secret scanning. The body must be signed as specified by the partner program, with one of the configured keys.
    """
    return await _report(request, "github")


async def report_leaks(request: Request) -> LeakLabels:
    """Report leaked keys.

    For other scanners. Body and response are the same as for GitHub; the signature follows Standard Webhooks.
    """
    return await _report(request, "webhook")


async def _report(request: Request, reporter: str) -> LeakLabels:
    """Verify the signature before the body is parsed, so that an unsigned body reveals nothing."""
    dependencies, address = request.dependencies, request.source_address
    is_signed = dependencies.leaks.signed(reporter) if dependencies.leaks is not None else None
    if dependencies.leaks is None or is_signed is None:
        raise NotFound("Leak reports of this kind are not enabled. See the GATEHOUSE_LEAK_* settings.")
    check_lockout(request, _PRINCIPAL, "Too many reports with invalid signatures from this address.")
    body = await request.read_body()
    if not is_signed(request.http.headers, body, dependencies.clock.now()):
        request.lockout.failed(address, _PRINCIPAL)
        await request.denied.record(address, request.request_id, Unauthorized.code)
        raise Unauthorized("The signature is not from a configured reporter.")
    request.lockout.succeeded(address, _PRINCIPAL)
    reports = decode(body)
    actor = Actor("system", f"leaks-{reporter}", request.request_id, address)
    results = await dependencies.leaks.service.report(reports, actor)
    return [label(report, is_key=is_key) for report, is_key in zip(reports, results, strict=True)]


_leak = partial(Endpoint, method="POST", tag="leaks", security=(SIGNATURE,), body=LeakReports)

ENDPOINTS = (
    _leak(path="/v1/leaks/github", handler=report_github_leaks),
    _leak(path="/v1/leaks", handler=report_leaks),
)
