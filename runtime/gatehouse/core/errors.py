"""The tree of runtime errors. Each error has a code, a status and a title.

Outcomes of a verification (expired, rate limited, ...) are values (`core.verification.Code`) and
are not raised. `public` is the message that is sent to the caller, in full sentences. `detail` is
only logged. Neither contains a token, key or secret.
"""

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
    """Base class. Raised directly only for internal errors."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"

    def __init__(
        self,
        public: str = "",
        *,
        detail: str = "",
        errors: tuple[Problem, ...] = (),
        retry_after_s: int = 1,
    ) -> None:
        self.public = public or f"{self.title}."
        super().__init__(self.public)
        self.detail = detail
        self.errors = errors
        self.retry_after_s = retry_after_s


class BadRequest(GatehouseError):
    code, status, title = "bad_request", 400, "The request is malformed"


class BodyTooLarge(BadRequest):
    code, status, title = "body_too_large", 413, "The request body is too large"


class TargetTooLong(BadRequest):
    code, status, title = "target_too_long", 414, "The request target is too long"


class HeadersTooLarge(BadRequest):
    code, status, title = "headers_too_large", 431, "The request headers are too large"


class RequestTimeout(BadRequest):
    code, status, title = "request_timeout", 408, "The request was not received in time"


class UnsupportedMediaType(BadRequest):
    """The body is not JSON in UTF-8 (RFC 9110, section 15.5.16)."""

    code, status = "unsupported_media_type", 415
    title = "The media type of the request body is not supported"


class Unauthorized(GatehouseError):
    code, status, title = "unauthorized", 401, "A valid credential is required"


class StepUpRequired(Unauthorized):
    """The user must sign in again (RFC 9470)."""

    code, status, title = "step_up_required", 401, "The credential must be presented again"


class Forbidden(GatehouseError):
    code, status, title = "forbidden", 403, "The credential does not allow this action"


class CrossSite(Forbidden):
    code, status, title = "cross_site", 403, "The request may originate from another site"


class NotFound(GatehouseError):
    code, status, title = "not_found", 404, "The resource does not exist"


class MethodNotAllowed(GatehouseError):
    code, status, title = "method_not_allowed", 405, "The method is not allowed for this resource"


class Conflict(GatehouseError):
    code, status, title = "conflict", 409, "The request conflicts with the current state"


class CoreDrained(Conflict):
    code = "core_drained"
    title = "An operator drained this instance of the Core, or its registration was replaced"


class RequestInProgress(Conflict):
    code, title = "request_in_progress", "A request with this Idempotency-Key is in progress"


class IdempotencyKeyReused(GatehouseError):
    code, status = "idempotency_key_reused", 422
    title = "The Idempotency-Key was used for a different request"


class PreconditionFailed(GatehouseError):
    code, status, title = "precondition_failed", 412, "The resource has changed since it was read"


class PreconditionRequired(GatehouseError):
    """The If-Match header is missing (RFC 6585)."""

    code, status = "precondition_required", 428
    title = "The request must specify the version of the resource to change"


class UsageExceeded(GatehouseError):
    code, status, title = "usage_exceeded", 402, "The credits of the key are used up"


class RateLimited(GatehouseError):
    code, status, title = "rate_limited", 429, "A rate limit is exceeded"


class TooManyRequests(GatehouseError):
    code, status = "too_many_requests", 429
    title = "The client has too many requests or connections open"


class UpgradeRequired(GatehouseError):
    """The version of the WebSocket handshake is not supported (RFC 6455, section 4.4)."""

    code, status, title = "upgrade_required", 426, "The WebSocket version is not supported"


class CoreUnreachable(GatehouseError):
    code, status, title = "core_unreachable", 502, "The Core could not be reached"


class CoreMalformed(GatehouseError):
    code, status, title = "core_malformed", 502, "The response of the Core is malformed"


class CoreTimeout(GatehouseError):
    code, status, title = "core_timeout", 504, "The Core did not respond in time"


class CoreNotRegistered(GatehouseError):
    """The lease of the Core has expired."""

    code, status, title = "core_not_registered", 503, "The Core is not registered"


class CoreOverloaded(GatehouseError):
    code, status, title = "core_overloaded", 503, "The Core has too many requests in progress"


class Unavailable(GatehouseError):
    code, status, title = "unavailable", 503, "A dependency is not available"


class SettingsError(GatehouseError):
    """An environment variable is missing or invalid. Raised only at startup."""

    code, title = "settings", "The configuration is invalid"
