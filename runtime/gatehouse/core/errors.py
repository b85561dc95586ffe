"""The tree of runtime errors. Each error has a code, a status and a title.

Outcomes of a verification (expired, rate limited, ...) are values (`core.verification.Code`) and
are not raised. `public` is the message that is sent to the caller, in full sentences. `detail` is
only logged. Neither contains a token, key or secret.
"""

import re
from typing import ClassVar

import msgspec


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """One invalid part of a request: location (such as `body.limits[0].quota`), error message and
    suggested fix.
    """

    location: str
    message: str
    fix: str = ""


class GatehouseError(Exception):
    """Base class. Raised directly only for internal errors. The code of a class with a title is its
    name, such as `not_found`.

    temporary: the same request can succeed later, for which a class has to declare. retry_after_s:
        seconds until then, which the response contains. None if time does not help; an error that
        is not temporary in general can have it.
    """

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    temporary: ClassVar[bool] = False

    def __init_subclass__(cls, *, temporary: bool) -> None:
        cls.temporary = temporary
        if {"code", "title"} & vars(cls).keys() == {"title"}:
            cls.code = re.sub(r"\B([A-Z])", r"_\1", cls.__name__).lower()

    def __init__(
        self,
        public: str = "",
        *,
        detail: str = "",
        errors: tuple[Problem, ...] = (),
        retry_after_s: int | None = None,
    ) -> None:
        self.public = public or f"{self.title}."
        super().__init__(self.public)
        self.detail = detail
        self.errors = errors
        self.retry_after_s = retry_after_s or (1 if self.temporary else None)


class BadRequest(GatehouseError, temporary=False):
    status, title = 400, "The request is malformed"


class BodyTooLarge(BadRequest, temporary=False):
    status, title = 413, "The request body is too large"


class TargetTooLong(BadRequest, temporary=False):
    status, title = 414, "The request target is too long"


class HeadersTooLarge(BadRequest, temporary=False):
    status, title = 431, "The request headers are too large"


class RequestTimeout(BadRequest, temporary=False):
    status, title = 408, "The request was not received in time"


class UnsupportedMediaType(BadRequest, temporary=False):
    """The body is not JSON in UTF-8 (RFC 9110, section 15.5.16)."""

    status, title = 415, "The media type of the request body is not supported"


class Unauthorized(GatehouseError, temporary=False):
    status, title = 401, "A valid credential is required"


class StepUpRequired(Unauthorized, temporary=False):
    """The user must sign in again (RFC 9470)."""

    status, title = 401, "The credential must be presented again"


class Forbidden(GatehouseError, temporary=False):
    status, title = 403, "The credential does not allow this action"


class CrossSite(Forbidden, temporary=False):
    status, title = 403, "The request may originate from another site"


class NotFound(GatehouseError, temporary=False):
    status, title = 404, "The resource does not exist"


class MethodNotAllowed(GatehouseError, temporary=False):
    status, title = 405, "The method is not allowed for this resource"


class Conflict(GatehouseError, temporary=False):
    status, title = 409, "The request conflicts with the current state"


class CoreDrained(Conflict, temporary=False):
    title = "An operator drained this instance of the Core, or its registration was replaced"


class RequestInProgress(Conflict, temporary=True):
    title = "A request with this Idempotency-Key is in progress"


class ResponseNotStored(Conflict, temporary=False):
    title = "No response is stored for this Idempotency-Key"


class ResponseLost(Conflict, temporary=False):
    """target_id: ID of the object that the request created or changed."""

    title = "The response to the request with this Idempotency-Key was lost"

    def __init__(self, public: str, *, target_id: str) -> None:
        super().__init__(public)
        self.target_id = target_id


class TooManyKeys(GatehouseError, temporary=False):
    status, title = 409, "The customer has the maximum number of keys"


class IdempotencyKeyReused(GatehouseError, temporary=False):
    status, title = 422, "The Idempotency-Key was used for a different request"


class PreconditionFailed(GatehouseError, temporary=False):
    status, title = 412, "The resource has changed since it was read"


class PreconditionRequired(GatehouseError, temporary=False):
    """The If-Match header is missing (RFC 6585)."""

    status, title = 428, "The request must specify the version of the resource to change"


class UsageExceeded(GatehouseError, temporary=False):
    """refills_at: time of the next refill (RFC 3339), `retry_after_s` seconds from now. Empty if
    the credits are not refilled; then, time does not help.
    """

    status, title = 402, "The credits of the key are used up"

    def __init__(self, public: str = "", *, refills_at: str = "", retry_after_s: int = 1) -> None:
        super().__init__(public, retry_after_s=retry_after_s if refills_at else None)
        self.refills_at = refills_at


class RateLimited(GatehouseError, temporary=True):
    status, title = 429, "A rate limit is exceeded"


class TooManyRequests(GatehouseError, temporary=True):
    status, title = 429, "The client has too many requests in progress"


class UpgradeRequired(GatehouseError, temporary=False):
    """The version of the WebSocket handshake is not supported (RFC 6455, section 4.4)."""

    status, title = 426, "The WebSocket version is not supported"


class CoreUnreachable(GatehouseError, temporary=False):
    status, title = 502, "The Core could not be reached"


class CoreMalformed(GatehouseError, temporary=False):
    status, title = 502, "The response of the Core is malformed"


class CoreTimeout(GatehouseError, temporary=False):
    status, title = 504, "The Core did not respond in time"


class CoreNotRegistered(GatehouseError, temporary=True):
    """The lease of the Core has expired."""

    status, title = 503, "The Core is not registered"


class CoreOverloaded(GatehouseError, temporary=True):
    status, title = 503, "The Core has too many requests in progress"


class Unavailable(GatehouseError, temporary=True):
    status, title = 503, "A dependency is not available"


class SettingsError(GatehouseError, temporary=False):
    """An environment variable is missing or invalid. Raised only at startup."""

    code, title = "settings", "The configuration is invalid"
