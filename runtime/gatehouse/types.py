"""The values that every layer of the runtime speaks in; no behaviour beyond construction, no I/O.

Times are Unix seconds (float, UTC) inside the runtime and RFC 3339 text at its edges. Limits and windows carry their
unit in the name. `KeyRecord` is a `msgspec.Struct` outside the garbage collector's sight: a worker holds many of them, and
a full collection over a million tracked objects stops the event loop for 0.3 s (measured; see bench/).
"""

from __future__ import annotations

from enum import StrEnum
from typing import NewType

import msgspec

KeyId = NewType("KeyId", str)  # 12 base62 characters, in clear inside the token and safe to log
CoreName = NewType("CoreName", str)  # lower-case DNS label, 1 to 40 characters
RequestId = NewType("RequestId", str)


class KeyEnvironment(StrEnum):
    """What a key or a Core belongs to; a `test` key never opens a `live` Core."""

    TEST = "test"
    LIVE = "live"


class KeyState(StrEnum):
    """The stored state of a key. Expiry is not a state: it is a fact of the clock."""

    ACTIVE = "active"
    DISABLED = "disabled"  # may be enabled again
    REVOKED = "revoked"  # never usable again
    DELETED = "deleted"  # may be restored within a window, to the state it had
    PURGED = "purged"  # nothing is left but the id, which stays taken


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


#: The scheme of a key whose token is in our own format; the others are those of imported keys (core/foreign.py).
OWN_SCHEME = "own"


class Limit(msgspec.Struct, frozen=True, gc=False):
    """A rate limit of a key: `quota` units per `window_s` seconds, of which `burst` may come at once (GCRA)."""

    name: str
    quota: int
    window_s: int
    burst: int
    cost: int = 1  # units that one request uses; multiplied by the cost of the question


class SignatureAlgorithm(StrEnum):
    """How a key's requests are signed, by the names of RFC 9421, section 6.2.2."""

    HMAC_SHA256 = "hmac-sha256"
    ED25519 = "ed25519"


class Signing(msgspec.Struct, frozen=True, gc=False):
    """What checks the signatures of a key's requests. `required`: an unsigned request is refused."""

    algorithm: SignatureAlgorithm
    key: bytes  # HMAC: the secret, sealed for the lineage (core/seal.py); Ed25519: the 32 bytes of the public key
    pepper_generation: int  # that it is sealed under; 0 for a public key
    required: bool


class KeyRecord(msgspec.Struct, frozen=True, gc=False):
    """What the gateway knows of one key. Holds the HMAC of the token, never the token."""

    id: KeyId
    digest: bytes
    pepper_generation: int
    environment: KeyEnvironment
    state: KeyState
    name: str
    owner: str
    scopes: tuple[str, ...]
    cores: tuple[str, ...]  # Cores that the key opens; empty = every Core of its environment
    limits: tuple[Limit, ...]
    expires_at: float | None
    version: int  # grows by one with every change of the row; a fill with a lower one never replaces a higher one
    lineage: KeyId = KeyId("")  # the first generation's id: limits and credits are counted under it, over all generations
    addresses: tuple[str, ...] = ()  # CIDR networks that it may be used from; empty = from anywhere
    methods: tuple[str, ...] = ()  # HTTP methods that it may be used with; empty = all
    has_credits: bool = False
    scheme: str = OWN_SCHEME
    signing: Signing | None = None

    @property
    def subject(self) -> str:
        """Under what its limits and credits are counted: never the token, never a configuration."""
        return self.lineage or self.id


class CreditPlan(msgspec.Struct, frozen=True):
    """What a lineage may still spend, and what it gets when: at every begin of the UTC period at least `refill_amount`."""

    remaining: int
    refill_amount: int | None = None
    refill_every: str | None = None  # hour | day | week | month


class CreditState(msgspec.Struct, frozen=True, gc=False):
    """What the purse answered. `exceeded`: it holds less than the request costs, and nothing was taken."""

    remaining: int
    exceeded: bool
    refills_at: float | None  # Unix seconds; None when nobody refills it


class LimitState(msgspec.Struct, frozen=True, gc=False):
    """What a rate limit answered. `remaining` >= 0; `reset_s` >= 0 seconds until the limit is whole again."""

    limit: Limit
    remaining: int
    reset_s: float
    retry_after_s: float  # 0 when the request passed
    exceeded: bool
    degraded: bool = False  # answered without Redis


class LimitWish(msgspec.Struct, frozen=True, gc=False):
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


class Question(msgspec.Struct, frozen=True, gc=False):
    """What is asked about a token: the scopes that are needed and the Core that shall be opened (None: neither)."""

    scopes: tuple[str, ...] = ()
    core: str | None = None
    cost: int = 1  # 0 = look at the limits and credits without using them
    address: str = ""  # who uses the key, as far as our proxies can be believed
    method: str | None = None  # with which HTTP method; None: not asked
    limits: tuple[LimitWish, ...] = ()
    signed: SignedRequest | None = None  # None: it carries no signature for us


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """The answer to a question. `record` is None unless the token proved possession of a known key."""

    code: Code
    record: KeyRecord | None
    limits: tuple[LimitState, ...]
    decided_at: float
    staleness_ms: int
    credits: CreditState | None = None  # None: the key has none, or they were not reached
    reason: str = ""  # of SIGNATURE_INVALID: what is wrong with the signature (core/signature.Flaw)

    @property
    def valid(self) -> bool:
        return self.code is Code.VALID


class CoreRecord(msgspec.Struct, frozen=True):
    """A registered Core: where it is now, until when it says so, and who registered it."""

    name: CoreName
    url: str  # origin only: http(s)://host[:port]
    environment: KeyEnvironment
    lease_id: str
    registered_by: KeyId
    pepper_generation: int  # under which the Core's own secret was derived
    expires_at: float
    draining: bool
    version: int


class AuditEvent(msgspec.Struct, frozen=True):
    """One act, as it is written to the audit trail. `details` never holds a token, key or secret."""

    occurred_at: float
    actor_type: str  # bootstrap | key | system
    actor_id: str
    action: str  # key.create, key.revoke, core.register ...
    target_type: str  # key | core
    target_id: str
    outcome: str  # success | denied
    request_id: str
    source_address: str
    details: dict[str, str | int | float | bool | list[str] | None]
