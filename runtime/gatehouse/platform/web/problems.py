"""Problem documents (RFC 9457) of all services, and the headers of errors."""

from typing import Any

import msgspec

from gatehouse.core.actor import RequestId
from gatehouse.core.errors import (
    BodyTooLarge,
    GatehouseError,
    Problem,
    ResponseLost,
    Unauthorized,
    UpgradeRequired,
    UsageExceeded,
)
from gatehouse.platform.tracing.context import trace_id_of
from gatehouse.platform.web import responses

PROBLEM_JSON = b"application/problem+json"

#: Prefix of the problem type if the deployment has no site with the documentation.
PROBLEM_TYPE = "urn:gatehouse:problem:"
#: The page of the site that has a section for each problem type (docs/errors.md).
ERRORS_PAGE = "docs/errors.html"

#: Statuses of errors with the header Retry-After.
RETRY_STATUSES = (429, 503)

#: Challenge in a 401 response (RFC 6750, section 3).
BEARER_CHALLENGE = 'Bearer realm="gatehouse"'


def problem_type(code: str, docs_url: str) -> str:
    """The URI that identifies a kind of problem (RFC 9457, section 3.1.1). It names the section of
    docs/errors.md. Programs should evaluate `code`.

    docs_url: URL of the site, or "" for a URN.
    """
    name = code.lower()
    return f"{docs_url}/{ERRORS_PAGE}#{name}" if docs_url else f"{PROBLEM_TYPE}{name}"


class ProblemDocument(msgspec.Struct, omit_defaults=True):
    """Problem document (RFC 9457). `errors`, `refills_at` and `target_id` are omitted if they are
    empty. `target_id`: of the object that an earlier request with the same Idempotency-Key created
    or changed, if its response was lost.
    `type`: ends with the name of a section of the page "Errors" of the documentation, which says
    what to do. `trace_id`: ID of the trace (W3C Trace Context).
    """

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    trace_id: str
    errors: tuple[Problem, ...] = ()
    refills_at: str = ""
    target_id: str = ""


def problem(
    error: GatehouseError, request: RequestId, trace_id: str = "", *, docs_url: str, code: str = ""
) -> bytes:
    """Problem document for an error, without the `detail` of the error. `code` overrides the code
    of the error.

    trace_id: by default, the trace ID of a request without a trace context.
    """
    return responses.encode(
        ProblemDocument(
            type=problem_type(code or error.code, docs_url),
            title=error.title,
            status=error.status,
            detail=error.public,
            code=code or error.code,
            request_id=request,
            trace_id=trace_id or trace_id_of(request),
            errors=error.errors,
            refills_at=_refills_at(error),
            target_id=error.target_id if isinstance(error, ResponseLost) else "",
        )
    )


def problem_members(error: GatehouseError, request: str, docs_url: str = "") -> dict[str, Any]:
    """The members of the problem document for an error that the proxy responds with. The detail is
    the title, if the error has none.
    """
    return {
        "type": problem_type(error.code, docs_url),
        "title": error.title,
        "status": error.status,
        "detail": error.public,
        "code": error.code,
        "request_id": request,
    }


def openai_members(error: GatehouseError, code: str) -> dict[str, Any]:
    """The error as in the OpenAI API, whose clients show only the message of such errors."""
    kind = "server_error" if error.status >= 500 else "invalid_request_error"
    fields = {"message": error.public, "type": kind, "param": None}
    if refills_at := _refills_at(error):
        fields["refills_at"] = refills_at
    return {"error": {**fields, "code": (code or error.code).lower()}}


def _refills_at(error: GatehouseError) -> str:
    return error.refills_at if isinstance(error, UsageExceeded) else ""


def problem_headers(error: GatehouseError) -> list[responses.Header]:
    """Headers that the status of an error requires: WWW-Authenticate for 401, Upgrade for 426,
    and Retry-After if the same request can succeed later.
    """
    if isinstance(error, Unauthorized):
        return [(b"www-authenticate", BEARER_CHALLENGE.encode())]
    if isinstance(error, UpgradeRequired):
        return [
            (b"upgrade", b"websocket"),  # with Connection: upgrade, Envoy would expect no body
            (b"sec-websocket-version", b"13"),
        ]
    if error.retry_after_s is not None:
        return [(b"retry-after", str(error.retry_after_s).encode())]
    return []


def too_large_error(bytes_max: int) -> BodyTooLarge:
    return BodyTooLarge(f"The request body is larger than {bytes_max} bytes.")
