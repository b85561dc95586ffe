"""Verifications: requests to the gateway, and its decisions."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from msgspec import structs

from gatehouse_client.credentials import trimmed
from gatehouse_client.errors import ApiError, Reply, Unavailable, retry_after_s
from gatehouse_client.models import SignedRequestInput, Take, TakeReply, VerifyReply
from gatehouse_client.transport import Retries

#: The status for each code, the same as that of the gateway for requests to Cores.
STATUS = {
    "VALID": 200,
    "NOT_FOUND": 401,
    "DISABLED": 401,
    "EXPIRED": 401,
    "SIGNATURE_INVALID": 401,
    "USAGE_EXCEEDED": 402,
    "FORBIDDEN": 403,
    "INSUFFICIENT_PERMISSIONS": 403,
    "RATE_LIMITED": 429,
    "UNAVAILABLE": 503,
}
#: A burst of 10,000 verifications takes several seconds of CPU.
TIMEOUT_S = 30.0
RESPONSE_TIMEOUT_S = 2.0
IN_PROGRESS_MAX = 64
#: A request waits for the decision, so there is one short retry.
RETRIES = Retries(attempts=2, wait_s=0.05, wait_s_max=0.25)
_PASSED_ON = ("RateLimit", "RateLimit-Policy", "Retry-After")
VERIFY, REVOKE_SELF, TAKE = "/v1/keys/verify", "/v1/keys/revoke-self", "/v1/limits/take"
_CHALLENGE = 'Bearer realm="gatehouse"'


class Verification(VerifyReply, frozen=True, kw_only=True):
    """The decision on a key. Fields that describe the key are None unless the key is known.

    headers: fields for the response to the client: RateLimit, RateLimit-Policy, Retry-After,
        WWW-Authenticate.
    error: why there is no decision, for a log. The message can contain the URL of the gateway.
    """

    headers: dict[str, str] = {}  # noqa: RUF012 - msgspec copies the dictionary
    error: str = ""

    @property
    def status(self) -> int:
        """The status for the client: 200 if the key is valid."""
        return 200 if self.valid else STATUS.get(self.code, 403)


class Taken(TakeReply, frozen=True, kw_only=True):
    """The decision on limits for subjects without a key. `headers` and `error`: as for a key."""

    headers: dict[str, str] = {}  # noqa: RUF012 - msgspec copies the dictionary
    error: str = ""


def challenge(*, invalid: bool) -> str:
    """WWW-Authenticate. Without an error if the request had no credential (RFC 6750, section 3)."""
    return _CHALLENGE + (', error="invalid_token"' if invalid else "")


def verification_request(
    token: str,
    scopes: Iterable[str],
    core: str | None,
    cost: int,
    address: str | None,
    method: str | None,
    request: SignedRequestInput | None,
) -> dict[str, Any]:
    optional = {"core": core, "address": address, "method": method, "request": request}
    present = {name: value for name, value in optional.items() if value is not None}
    return {"token": trimmed(token), "scopes": list(scopes), "cost": cost, **present}


def take_request(takes: Iterable[Take], dry_run: bool) -> dict[str, Any]:
    return {"takes": list(takes), "dry_run": dry_run}


def check_positive(*values: float) -> None:
    if not all(value > 0 for value in values):
        raise ValueError("timeout_s, response_timeout_s and in_progress_max must be positive")


def decision(verification: Verification, reply: Reply) -> Verification:
    """The decision in a response. Raises Unavailable if the gateway could not make one."""
    if not verification.valid and verification.code == "UNAVAILABLE":
        raise Unavailable(
            "the gateway could not make a decision",
            request_id=verification.request_id,
            retry_after_s=retry_after_s(reply),
        )
    headers = passed_on(reply)
    if verification.status == 401:
        headers["WWW-Authenticate"] = challenge(invalid=True)
    return structs.replace(verification, headers=headers, error="")


def passed_on(reply: Reply) -> dict[str, str]:
    return {name: reply.headers[name] for name in _PASSED_ON if name in reply.headers}


def retry_after(error: ApiError) -> dict[str, str]:
    """The header of a response to a client while there is no decision."""
    return {"Retry-After": f"{error.retry_after_s or 1:.0f}"}


def check_undecided(error: ApiError) -> None:
    """Raises the error of a malformed request, and that of a URL that is not the one of a
    gateway. After any other, there is no decision.
    """
    is_unavailable = isinstance(error, Unavailable) and error.status not in range(300, 400)
    if not is_unavailable and error.status not in (408, 429):
        raise error


def taken_without_decision(error: ApiError, fail_open: bool) -> Taken:
    check_undecided(error)
    return Taken(
        allowed=fail_open,
        limits=[],
        request_id=error.request_id,
        error=str(error),
        headers={} if fail_open else retry_after(error),
    )


def without_decision(error: ApiError, fail_open: bool) -> Verification:
    """The result if there is no decision on a key."""
    check_undecided(error)
    return Verification(
        valid=fail_open,
        code="UNAVAILABLE",
        reason=None,
        key_id=None,
        name=None,
        customer_id=None,
        environment=None,
        scopes=None,
        expires_at=None,
        limits=[],
        credits=None,
        shared_credits=None,
        staleness_ms=0,
        decided_at=datetime.now(UTC),
        request_id=error.request_id,
        error=str(error),
        headers={} if fail_open else retry_after(error),
    )
