"""Endpoints for leak reports. The signature of the body authenticates the reporter; no other credential is required."""

from __future__ import annotations

from functools import partial

from gatehouse.core.actor import Actor
from gatehouse.core.errors import NotFound, Unauthorized
from gatehouse.features.leaks.schemas import LeakLabels, LeakReports, label
from gatehouse.features.leaks.service import Reporter
from gatehouse.platform.http.endpoint import SIGNATURE, Endpoint
from gatehouse.platform.http.validation import decode_body
from gatehouse.services.console.authentication import check_lockout
from gatehouse.services.console.dependencies import Request

#: Invalid signatures from an address are counted under this name, separately from failed authentications.
_PRINCIPAL = "leaks"


async def report_github_leaks(request: Request) -> LeakLabels:
    """Report leaked keys (GitHub).

    For GitHub secret scanning. The body must be signed as specified by the partner program, with one of the configured keys.
    """
    return await _report(request, "github")


async def report_leaks(request: Request) -> LeakLabels:
    """Report leaked keys.

    For other scanners. The body and the response have the same format as for GitHub. The signature follows Standard Webhooks.
    """
    return await _report(request, "webhook")


async def _report(request: Request, reporter: Reporter) -> LeakLabels:
    """Verifies the signature before the body is parsed, so that an unsigned body reveals nothing."""
    leaks, address = request.dependencies.leaks, request.source_address
    if leaks is None or not leaks.accepts(reporter):
        raise NotFound("Leak reports of this kind are not enabled. See the GATEHOUSE_LEAK_* settings.")
    check_lockout(request, _PRINCIPAL, "Too many reports with invalid signatures from this IP address.")
    body = await request.read_body()
    if not leaks.is_signed(reporter, request.http.headers, body):
        request.lockout.failed(address, _PRINCIPAL)
        await request.denied.record(address, request.request_id, Unauthorized.code)
        raise Unauthorized("The signature is not from a configured reporter.")
    request.lockout.succeeded(address, _PRINCIPAL)
    reports = decode_body(body, LeakReports)
    actor = Actor("system", f"leaks-{reporter}", request.request_id, address)
    results = await leaks.report(reports, actor)
    return [label(report, is_key=is_key) for report, is_key in zip(reports, results, strict=True)]


_leak = partial(Endpoint, method="POST", tag="leaks", security=(SIGNATURE,), body=LeakReports)

ENDPOINTS = (
    _leak(path="/v1/leaks/github", handler=report_github_leaks),
    _leak(path="/v1/leaks", handler=report_leaks),
)
