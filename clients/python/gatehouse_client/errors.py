"""Errors of the clients, from the problem documents of the services (RFC 9457).

    ApiError
      BadRequest            400, 408, 413, 414, 415, 431: the request is malformed
      Unauthorized          401: the credential is missing or not valid
      Forbidden             403
      NotFound              404
      Conflict              409
      PreconditionFailed    412: the resource has changed since it was read
      TooManyRequests       429
      Unavailable           there is no valid response, or the status is 5xx

No error contains a credential, the content of a secret, or the error of a library, whose text can
contain both.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import httpx
import msgspec


class Problem(msgspec.Struct, frozen=True):
    """One invalid part of a request: location (such as `body.limits[0].quota`), error message and
    suggested fix.
    """

    location: str
    message: str
    fix: str = ""


class ApiError(Exception):
    """A request that failed. Raised directly for a status without a class of its own.

    message: for users; the text of the error also has the problems in `errors`. code: stable code
    of the problem document, empty without one. status: 0 if there is no response. request_id: to
    give to the operator. retry_after_s: Retry-After, if any. target_id: ID of the object that an
    earlier request with the same Idempotency-Key created or changed, if its response was lost.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        status: int = 0,
        request_id: str = "",
        errors: tuple[Problem, ...] = (),
        retry_after_s: float | None = None,
        target_id: str = "",
    ) -> None:
        super().__init__(
            " ".join((message, *(f"{each.location} {each.message}." for each in errors)))
        )
        self.message = message
        self.code = code
        self.status = status
        self.request_id = request_id
        self.errors = errors
        self.retry_after_s = retry_after_s
        self.target_id = target_id


class BadRequest(ApiError):
    pass


class Unauthorized(ApiError):
    pass


class Forbidden(ApiError):
    pass


class NotFound(ApiError):
    pass


class Conflict(ApiError):
    pass


class PreconditionFailed(ApiError):
    pass


class TooManyRequests(ApiError):
    pass


class Unavailable(ApiError):
    pass


_KINDS: dict[int, type[ApiError]] = {
    **dict.fromkeys((400, 408, 413, 414, 415, 431), BadRequest),
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    412: PreconditionFailed,
    429: TooManyRequests,
}


class _Document(msgspec.Struct):
    """The members of a problem document that clients of all versions use."""

    code: str
    detail: str = ""
    request_id: str = ""
    errors: tuple[Problem, ...] = ()
    target_id: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """A response that was received. That of httpx costs a tenth of a verification."""

    status_code: int
    headers: httpx.Headers
    content: bytes

    @property
    def is_success(self) -> bool:
        return 200 <= self.status_code < 300


def problem(
    reply: httpx.Response | Reply, service: str, redact: Callable[[str], str] = lambda text: text
) -> ApiError:
    """The error for a response that is not successful. service: its name, such as `console`.
    redact: removes the secrets of the request from a text of the server.
    """
    status = reply.status_code
    kind = _KINDS.get(status, ApiError if 400 <= status < 500 else Unavailable)
    try:
        document = msgspec.json.decode(reply.content, type=_Document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        text = f"the {service} returned {status} without a problem document: check its URL"
        return kind(text, status=status, retry_after_s=retry_after_s(reply))
    code = redact(document.code)
    detail = redact(document.detail) or f"the {service} returned {status} ({code})"
    if status == 405:  # of another service, or of another version
        detail = f"the {service} does not have this operation: check its URL"
    return kind(
        detail,
        code=code,
        status=status,
        request_id=redact(document.request_id),
        errors=tuple(
            Problem(redact(item.location), redact(item.message), redact(item.fix))
            for item in document.errors
        ),
        retry_after_s=retry_after_s(reply),
        target_id=redact(document.target_id),
    )


def retry_after_s(reply: httpx.Response | Reply) -> float | None:
    """Retry-After, which can be a date, in seconds. None if it is missing or malformed."""
    text = reply.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        seconds = parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
    return float(max(0, math.ceil(seconds)))
