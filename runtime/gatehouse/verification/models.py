"""The values that every layer of the runtime speaks in; no behaviour beyond construction, no I/O.

Times are Unix seconds (float, UTC) inside the runtime and RFC 3339 text at its edges. Limits and windows carry their
unit in the name. `KeyRecord` is a `msgspec.Struct` outside the garbage collector's sight: a worker holds many of them, and
a full collection over a million tracked objects stops the event loop for 0.3 s (measured; see bench/).

What the flows need from the outside world, as small protocols; adapters live in sibling files, one a technology.

Adapters translate foreign exceptions: nothing above this line sees the name of a driver. A method that cannot reach its
technology raises `errors.Unavailable`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

import msgspec

from gatehouse.keys.models import KeyId, KeyRecord, RateLimit


class Code(StrEnum):
    """Every outcome of the decision on a key, in the order in which the checks are made."""

    NOT_FOUND = "NOT_FOUND"  # malformed, unknown, wrong secret; and, for the public, revoked
    REVOKED = "REVOKED"  # or deleted: told to administrators only; the public sees NOT_FOUND
    DISABLED = "DISABLED"
    EXPIRED = "EXPIRED"
    FORBIDDEN = "FORBIDDEN"  # not here: other environment, or an address, method or Core that is not on the key's list
    INSUFFICIENT_PERMISSIONS = "INSUFFICIENT_PERMISSIONS"
    SIGNATURE_INVALID = "SIGNATURE_INVALID"  # missing, wrong, too old or used before; `Verdict.reason` says which
    RATE_LIMITED = "RATE_LIMITED"
    USAGE_EXCEEDED = "USAGE_EXCEEDED"  # the key has not enough credits left
    UNAVAILABLE = "UNAVAILABLE"  # the gateway cannot vouch for its answer (stale key state, limiter away and set to refuse)
    VALID = "VALID"


class CreditState(msgspec.Struct, frozen=True, gc=False):
    """What the purse answered. `exceeded`: it holds less than the request costs, and nothing was taken."""

    remaining: int
    exceeded: bool
    refills_at: float | None  # Unix seconds; None when nobody refills it


class RateLimitState(msgspec.Struct, frozen=True, gc=False):
    """What a rate limit answered. `remaining` >= 0; `reset_s` >= 0 seconds until the limit is whole again."""

    limit: RateLimit
    remaining: int
    reset_s: float
    retry_after_s: float  # 0 when the request passed
    exceeded: bool
    degraded: bool = False  # answered without Redis


class RateLimitOverride(msgspec.Struct, frozen=True, gc=False):
    """What a question says about one limit: another cost for a limit of the key, or (with `quota`) a limit of its own."""

    name: str
    cost: int = 1
    quota: int | None = None
    window_s: int | None = None
    burst: int | None = None


class SignedRequest(msgspec.Struct, frozen=True, gc=False):
    """A request as its client signed it. `query` without the question mark; names of `fields` in lower case."""

    method: str
    scheme: str
    authority: str
    path: str
    query: str
    fields: tuple[tuple[str, str], ...]
    has_body: bool
    digests: tuple[tuple[str, bytes], ...]  # of the body as received (core/signature.digests_of)


class VerificationRequest(msgspec.Struct, frozen=True, gc=False):
    """What is asked about a token: the scopes that are needed and the Core that shall be opened (None: neither)."""

    scopes: tuple[str, ...] = ()
    core: str | None = None
    cost: int = 1  # 0 = look at the limits and credits without using them
    address: str = ""  # who uses the key, as far as our proxies can be believed
    method: str | None = None  # with which HTTP method; None: not asked
    limits: tuple[RateLimitOverride, ...] = ()
    signed: SignedRequest | None = None  # None: it carries no signature for us


class VerificationResult(msgspec.Struct, frozen=True, gc=False):
    """The answer to a question. `record` is None unless the token proved possession of a known key."""

    code: Code
    record: KeyRecord | None
    limits: tuple[RateLimitState, ...]
    decided_at: float
    staleness_ms: int
    credits: CreditState | None = None  # None: the key has none, or they were not reached
    reason: str = ""  # of SIGNATURE_INVALID: what is wrong with the signature (core/signature.Flaw)

    @property
    def valid(self) -> bool:
        return self.code is Code.VALID


class Keys(Protocol):
    """The gateway's view of the keys: memory first, then the database."""

    async def find(self, key_id: KeyId) -> KeyRecord | None:
        """The record of a key, or None when no key has this id. Raises Unavailable when neither can be said."""
        ...

    def staleness_ms(self) -> int:
        """How old, at most, the picture behind `find` is."""
        ...


class Charge(msgspec.Struct, frozen=True, gc=False):
    """A request against the limits of one subject. All limits are tested together: a refusal consumes nothing."""

    subject: str  # key id; never the token
    limits: tuple[RateLimit, ...]
    cost: int


class Limits(Protocol):
    async def take(self, charge: Charge) -> tuple[RateLimitState, ...]:
        """One state a limit, in order. When Redis is away: `degraded` states, or Unavailable where the setting says refuse."""
        ...


class Nonces(Protocol):
    """Which signatures were used, over all workers."""

    async def is_new(self, key_id: KeyId, nonce: str, *, keep_s: int) -> bool:
        """False when this key's nonce was seen; else remembers it for `keep_s` (0: only looks). Raises Unavailable."""
        ...


class Counters(Protocol):
    async def forget(self, subject: str) -> bool:
        """Removes what is counted under a subject; False when nobody could be asked (counters end by themselves)."""
        ...


class Credits(Protocol):
    """The purses of keys that have one, exact over all workers: what is spent is stored before the request goes on."""

    async def spend(self, subject: str, cost: int) -> CreditState | None:
        """Takes `cost`, or nothing when the purse holds less; 0 only looks (and asks for one). None: there is no purse.

        Raises Unavailable; then it is not known whether something was taken, and never more than `cost`.
        """
        ...

    async def give_back(self, subject: str, cost: int) -> None:
        """Undoes a `spend` of a request that was refused after all. Never raises: what cannot be given back stays taken."""
        ...
