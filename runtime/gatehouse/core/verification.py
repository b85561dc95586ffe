"""Input and output of a verification, and of the rate limiter.

Times are Unix seconds (UTC). Field names include the unit.
"""

from enum import StrEnum

import msgspec

from gatehouse.core.keys import KeyRecord, RateLimit


class Code(StrEnum):
    """Outcome codes of a verification, in the order of the checks."""

    # Malformed, unknown or wrong token.
    NOT_FOUND = "NOT_FOUND"
    # Also a deleted key. Only for administrators: public responses contain NOT_FOUND instead.
    REVOKED = "REVOKED"
    DISABLED = "DISABLED"
    EXPIRED = "EXPIRED"
    # Wrong environment, or an address, method or Core that the key does not allow.
    FORBIDDEN = "FORBIDDEN"
    INSUFFICIENT_PERMISSIONS = "INSUFFICIENT_PERMISSIONS"
    SIGNATURE_INVALID = "SIGNATURE_INVALID"  # `VerificationResult.reason` has the SignatureError
    RATE_LIMITED = "RATE_LIMITED"
    USAGE_EXCEEDED = "USAGE_EXCEEDED"  # not enough credits
    # no reliable decision possible: key state too old, or a dependency is unavailable
    UNAVAILABLE = "UNAVAILABLE"
    VALID = "VALID"

    #: The hash of `Enum` is a Python function, which takes longer.
    __hash__ = str.__hash__


#: Looking up a variable takes less time than looking up a member of an enumeration.
VALID = Code.VALID


#: In usage, a valid request of the agent of a Core, which is not a request of a customer.
AGENT = "AGENT"

#: In usage, requests that were denied without a decision on a key, or after it.
NO_CREDENTIAL, INVALID_REQUEST, UNKNOWN_CORE = "NO_CREDENTIAL", "INVALID_REQUEST", "UNKNOWN_CORE"


class CreditState(msgspec.Struct, frozen=True, gc=False):
    """Credit balance of a key family. `exceeded`: the balance is lower than the cost, and nothing
    was deducted.
    """

    remaining: int
    exceeded: bool
    refills_at: float | None  # None: no refill


class RateLimitState(msgspec.Struct, frozen=True, gc=False):
    """State of a rate limit. `remaining` >= 0; `reset_s` >= 0: seconds until the full burst is
    available again.
    """

    limit: RateLimit
    remaining: int
    reset_s: float
    retry_after_s: float  # 0 if the request is allowed
    exceeded: bool
    degraded: bool = False  # counted without Redis


class SignedRequest(msgspec.Struct, frozen=True, gc=False):
    """An HTTP request as the client signed it. `query` excludes the question mark. Names in
    `fields` are lowercase.
    """

    method: str
    scheme: str
    authority: str
    path: str
    query: str
    fields: tuple[tuple[str, str], ...]
    body: bytes = b""
    # Digests of a body that is not known, by the names of the algorithms in RFC 9530.
    digests: tuple[tuple[str, bytes], ...] = ()


class VerificationRequest(msgspec.Struct, frozen=True, gc=False):
    """A verification request. Fields that are None are not checked."""

    scopes: tuple[str, ...] = ()
    core: str | None = None
    cost: int = 1  # 0 reads limits and credits without any effect on them
    address: str = ""  # client address, as reported by trusted proxies
    method: str | None = None
    signed: SignedRequest | None = None  # None: no signature for the gateway
    charge_id: str = ""  # a UUID, the same when the proxy repeats a request; empty if it cannot


class VerificationResult(msgspec.Struct, frozen=True, gc=False):
    """Result of a verification. `record` is None unless the token proved possession of a known
    key.
    """

    code: Code
    decided_at: float
    staleness_ms: int
    record: KeyRecord | None = None
    limits: tuple[RateLimitState, ...] = ()
    credits: CreditState | None = None  # None: the key has no credits, or they were not checked
    shared_credits: CreditState | None = None  # of the customer
    reason: str = ""  # a SignatureError, only with SIGNATURE_INVALID

    @property
    def valid(self) -> bool:
        return self.code is Code.VALID


class Charge(msgspec.Struct, frozen=True, gc=False):
    """Cost of a request against the rate limits of one or several subjects. If one limit is
    exceeded, the request counts against no limit.

    others: further subjects with their limits, such as the customer of a key.
    """

    subject: str  # ID of the key family; never the token
    limits: tuple[RateLimit, ...]
    cost: int
    others: tuple[tuple[str, tuple[RateLimit, ...]], ...] = ()

    @property
    def all_limits(self) -> tuple[RateLimit, ...]:
        limits = self.limits
        for _, more in self.others:
            limits += more
        return limits
