"""Every error that the runtime raises on purpose: one tree, one row each.

    GatehouseError                code                       status  retryable
    |-- BadRequest                bad_request                400     no      malformed; carries errors[{location, message, fix}]
    |   |-- BodyTooLarge          body_too_large             413     no
    |   `-- UnsupportedMediaType  unsupported_media_type     415     no      the body is not JSON in UTF-8 (RFC 9110, 15.5.16)
    |-- Unauthorized              unauthorized               401     no      no or wrong credential (WWW-Authenticate is added)
    |   `-- StepUpRequired        step_up_required           401     no      a session has to show its credential again (RFC 9470)
    |-- Forbidden                 forbidden                  403     no
    |   |-- CrossSite             cross_site                 403     no      another site may have made the browser send it
    |   `-- NotServed             not_served                 403     no      a Core has it and keeps it (a link, a device)
    |-- NotFound                  not_found                  404     no
    |-- MethodNotAllowed          method_not_allowed         405     no
    |-- Conflict                  conflict                   409     no
    |   `-- RequestInProgress     request_in_progress        409     yes     the first request with this Idempotency-Key runs yet
    |-- IdempotencyKeyReused      idempotency_key_reused     422     no      the Idempotency-Key came with another request before
    |-- PreconditionFailed        precondition_failed        412     no      If-Match names another version than the present one
    |-- PreconditionRequired      precondition_required      428     no      If-Match is missing (RFC 6585)
    |-- UsageExceeded             usage_exceeded             402     no      no credits left; waiting does not help by itself
    |-- RateLimited               rate_limited               429     later
    |-- UpgradeUnsupported        upgrade_unsupported        501     no      WebSocket and other upgrades through the gateway
    |-- CoreUnreachable           core_unreachable           502     yes     no connection to the Core, or it was dropped
    |-- CoreTimeout               core_timeout               504     yes     the Core took too long
    |-- CoreNotRegistered         core_not_registered        503     yes     the name is known, its lease has run out
    |-- CoreCircuitOpen           core_circuit_open          503     yes     it failed repeatedly; not asked until Retry-After
    |-- Unavailable               unavailable                503     yes     a dependency of the gateway is away
    `-- SettingsError             settings                   -       no      start-up only: a variable is missing or wrong

An outcome of a decision (expired, rate limited key ...) is a value, `types.Code`, and never raised by core/.
`public` is what a caller may read. `detail` goes to the log alone. Neither ever holds a token, key or secret."""

from __future__ import annotations

from typing import ClassVar

import msgspec


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that is wrong with a request: where (`body.limits[0].quota`), what, and what to send instead."""

    location: str
    message: str
    fix: str = ""


class GatehouseError(Exception):
    """Base of all; never raised itself."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    retryable: ClassVar[bool] = False

    def __init__(self, public: str = "", *, detail: str = "", errors: tuple[Problem, ...] = ()) -> None:
        super().__init__(public or self.title)
        self.public = public or self.title
        self.detail = detail
        self.errors = errors


class BadRequest(GatehouseError):
    code, status, title = "bad_request", 400, "The request is malformed"


class BodyTooLarge(BadRequest):
    code, status, title = "body_too_large", 413, "The request body is too large"


class UnsupportedMediaType(BadRequest):
    code, status, title = "unsupported_media_type", 415, "The request body is not of a kind that is read here"


class Unauthorized(GatehouseError):
    code, status, title = "unauthorized", 401, "A valid credential is needed"


class StepUpRequired(Unauthorized):
    code, status, title = "step_up_required", 401, "The credential has to be shown again"


class Forbidden(GatehouseError):
    code, status, title = "forbidden", 403, "This credential may not do that"


class CrossSite(Forbidden):
    code, status, title = "cross_site", 403, "The request may come from another site"


class NotServed(Forbidden):
    code, status, title = "not_served", 403, "This file is not served"


class NotFound(GatehouseError):
    code, status, title = "not_found", 404, "There is nothing at this address"


class MethodNotAllowed(GatehouseError):
    code, status, title = "method_not_allowed", 405, "The method is not allowed here"


class Conflict(GatehouseError):
    code, status, title = "conflict", 409, "The request conflicts with the current state"


class RequestInProgress(Conflict):
    code, title, retryable = "request_in_progress", "The first request with this Idempotency-Key is being worked on", True


class IdempotencyKeyReused(GatehouseError):
    code, status, title = "idempotency_key_reused", 422, "The Idempotency-Key belongs to another request"


class PreconditionFailed(GatehouseError):
    code, status, title = "precondition_failed", 412, "The key has changed since it was read"


class PreconditionRequired(GatehouseError):
    code, status, title = "precondition_required", 428, "The request must say which version it changes"


class UsageExceeded(GatehouseError):
    code, status, title = "usage_exceeded", 402, "The credits of this key are used up"


class RateLimited(GatehouseError):
    code, status, title, retryable = "rate_limited", 429, "A rate limit of this key is used up", True


class UpgradeUnsupported(GatehouseError):
    code, status, title = "upgrade_unsupported", 501, "The gateway does not pass on connection upgrades"


class CoreUnreachable(GatehouseError):
    """`sent`: something of the request may have reached the Core; False when no connection came about."""

    code, status, title, retryable = "core_unreachable", 502, "The Core could not be reached", True

    def __init__(self, public: str = "", *, detail: str = "", errors: tuple[Problem, ...] = (), sent: bool = True) -> None:
        super().__init__(public, detail=detail, errors=errors)
        self.sent = sent


class CoreTimeout(GatehouseError):
    code, status, title, retryable = "core_timeout", 504, "The Core took too long to answer", True


class CoreNotRegistered(GatehouseError):
    code, status, title, retryable = "core_not_registered", 503, "The Core is not registered at the moment", True


class CoreCircuitOpen(GatehouseError):
    code, status, title, retryable = "core_circuit_open", 503, "The Core failed repeatedly and is left alone for a moment", True

    def __init__(self, public: str = "", *, detail: str = "", errors: tuple[Problem, ...] = (), retry_after_s: int = 1) -> None:
        super().__init__(public, detail=detail, errors=errors)
        self.retry_after_s = retry_after_s


class Unavailable(GatehouseError):
    code, status, title, retryable = "unavailable", 503, "A dependency of the gateway is not available", True


class SettingsError(GatehouseError):
    code, title = "settings", "The configuration is wrong"
