"""Endpoints for leak reports. The signature of the body authenticates the reporter; no other
credential is required.
"""

from __future__ import annotations

from functools import partial

from gatehouse.core.actor import Actor
from gatehouse.features.leaks.schemas import LeakLabels, LeakReports, label
from gatehouse.features.leaks.service import LeakService, Reporter
from gatehouse.platform.http.endpoint import SIGNATURE, Endpoint
from gatehouse.platform.http.request import Request
from gatehouse.platform.http.validation import decode_body


async def report_github_leaks(request: Request, leaks: LeakService) -> LeakLabels:
    """Report leaked keys (GitHub).

    For GitHub secret scanning. The body must be signed as specified by the partner program, with
    one of the configured keys.
    """
    return await _report(request, leaks, "github")


async def report_leaks(request: Request, leaks: LeakService) -> LeakLabels:
    """Report leaked keys.

    For other scanners. The body and the response have the same format as for GitHub. The signature
    follows Standard Webhooks.
    """
    return await _report(request, leaks, "webhook")


async def _report(request: Request, leaks: LeakService, reporter: Reporter) -> LeakLabels:
    """Verifies the signature before the body is parsed, so that an unsigned body reveals
    nothing.
    """
    leaks.check_signature(reporter, request.http.headers, request.content)
    reports = decode_body(request.content, LeakReports)
    actor = Actor("system", f"leaks-{reporter}", request.request_id, request.source_address)
    results = await leaks.report(reports, actor)
    return [label(report, is_key=is_key) for report, is_key in zip(reports, results, strict=True)]


_leak = partial(Endpoint, method="POST", tag="leaks", security=(SIGNATURE,), body=LeakReports)

ENDPOINTS = (
    _leak(path="/v1/leaks/github", handler=report_github_leaks),
    _leak(path="/v1/leaks", handler=report_leaks),
)
