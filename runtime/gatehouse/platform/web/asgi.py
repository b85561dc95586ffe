"""Request IDs, responses and problem documents of all services."""

import random
import time
import traceback
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

import msgspec
from starlette import responses

from gatehouse.core.actor import RequestId
from gatehouse.core.errors import (
    BodyTooLarge,
    GatehouseError,
    Problem,
    Unauthorized,
    UnsupportedMediaType,
    UpgradeRequired,
    UsageExceeded,
)
from gatehouse.platform.tracing.context import trace_id_of

Header = tuple[bytes, bytes]
JSON = b"application/json"
#: Default headers of responses.
NO_STORE: tuple[Header, ...] = ((b"cache-control", b"no-store"),)
#: Path of the readiness check of every service.
READY_PATH = "/readyz"
PROBLEM_JSON = b"application/problem+json"

#: Prefix of the problem type, which must be a URI (RFC 9457). The `code` follows the prefix;
#: programs should evaluate `code`.
PROBLEM_TYPE = "urn:gatehouse:problem:"

#: Statuses of errors with the header Retry-After.
RETRY_STATUSES = (429, 503)

#: Challenge in a 401 response (RFC 6750, section 3).
BEARER_CHALLENGE = 'Bearer realm="gatehouse"'
_encoder = msgspec.json.Encoder()


class Response(responses.Response):
    """A complete response with encoded headers."""

    body: bytes

    def __init__(self, status_code: int, raw_headers: list[Header], body: bytes = b"") -> None:
        self.status_code, self.raw_headers, self.body = status_code, raw_headers, body
        self.background = None


class StreamedResponse(responses.StreamingResponse):
    """A response whose body is sent in parts, with encoded headers."""

    body_iterator: AsyncIterator[bytes]

    def __init__(
        self, status_code: int, raw_headers: list[Header], parts: AsyncIterator[bytes]
    ) -> None:
        self.status_code, self.raw_headers, self.body_iterator = status_code, raw_headers, parts
        self.background = None


class ProblemDocument(msgspec.Struct, omit_defaults=True):
    """Problem document (RFC 9457). `errors` and `refills_at` are omitted if they are empty.
    `trace_id`: ID of the trace (W3C Trace Context).
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


def request_id(end: str = "") -> RequestId:
    """Request ID, sortable by time: 44 bits of the time in milliseconds, and 60 random bits. A
    request ID is not secret, so the random bits are not cryptographically secure. end: its last
    hexadecimal digits.
    """
    number = time.time_ns() // 1_000_000 << 60 | random.getrandbits(60)
    text = "req_" + number.to_bytes(13).hex()
    return text[: -len(end)] + end if end else text  # type: ignore[return-value]  # calling RequestId takes longer


def requested_at(request_id: str) -> int:
    """Time in Unix milliseconds that `request_id` wrote into an ID."""
    return int(request_id[4:], 16) >> 60


def encode(value: object) -> bytes:
    return _encoder.encode(value)


def problem(
    error: GatehouseError, request: RequestId, trace_id: str = "", *, code: str = ""
) -> bytes:
    """Problem document for an error, without the `detail` of the error. `code` overrides the code
    of the error.

    trace_id: by default, the trace ID of a request without a trace context.
    """
    return encode(
        ProblemDocument(
            type=PROBLEM_TYPE + (code or error.code).lower(),
            title=error.title,
            status=error.status,
            detail=error.public,
            code=code or error.code,
            request_id=request,
            trace_id=trace_id or trace_id_of(request),
            errors=error.errors,
            refills_at=_refills_at(error),
        )
    )


def problem_members(error: GatehouseError, request: str) -> dict[str, Any]:
    """The members of the problem document for an error that the proxy responds with. The detail is
    the title, if the error has none.
    """
    return {
        "type": PROBLEM_TYPE + error.code.lower(),
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


def problem_headers(error: GatehouseError) -> list[Header]:
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


def response_headers(
    body: bytes,
    content_type: bytes,
    headers: Sequence[Header],
    defaults: Sequence[Header] = NO_STORE,
) -> list[Header]:
    """Headers of a response: the headers that describe the body, `headers`, and those of `defaults`
    with another name.
    """
    media_type = [(b"content-type", content_type)] if body else []
    length = (b"content-length", str(len(body)).encode())
    return [length, *missing(defaults, headers), *headers, *media_type]


def missing(defaults: Iterable[Header], headers: Iterable[Header]) -> list[Header]:
    names = dict(headers)
    return [header for header in defaults if header[0] not in names]


def too_large_error(bytes_max: int) -> BodyTooLarge:
    return BodyTooLarge(f"The request body is larger than {bytes_max} bytes.")


def check_json(content_type: str, *, lenient: bool = False) -> None:
    """Raises UnsupportedMediaType unless the Content-Type of a request is JSON.

    lenient: also accept a missing header, and the types that `curl -d` and `fetch` send by default.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == "application/json" or (
        lenient and media_type in ("", "application/x-www-form-urlencoded", "text/plain")
    ):
        return
    fix = "send Content-Type: application/json"
    problem = Problem("header.content-type", "is not application/json", fix)
    raise UnsupportedMediaType("The request cannot be read.", errors=(problem,))


def origin_of(exc: BaseException) -> str:
    """Stack frames of an exception, the last one first. The text of the exception is omitted,
    because it may contain secret values."""
    frames = traceback.extract_tb(exc.__traceback__)[-6:]
    return " < ".join(
        f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in reversed(frames)
    )
