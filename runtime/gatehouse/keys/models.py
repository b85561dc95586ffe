"""The values that every layer of the runtime speaks in; no behaviour beyond construction, no I/O.

Times are Unix seconds (float, UTC) inside the runtime and RFC 3339 text at its edges. Limits and windows carry their
unit in the name. `KeyRecord` is a `msgspec.Struct` outside the garbage collector's sight: a worker holds many of them, and
a full collection over a million tracked objects stops the event loop for 0.3 s (measured; see bench/).

What the flows need from the outside world, as small protocols; adapters live in sibling files, one a technology.

Adapters translate foreign exceptions: nothing above this line sees the name of a driver. A method that cannot reach its
technology raises `errors.Unavailable`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import NewType, Protocol

import msgspec

from gatehouse.audit.models import AuditEvent

KeyId = NewType("KeyId", str)  # 12 base62 characters, in clear inside the token and safe to log


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


#: The scheme of a key whose token is in our own format; the others are those of imported keys (core/foreign.py).
OWN_SCHEME = "own"


class RateLimit(msgspec.Struct, frozen=True, gc=False):
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
    limits: tuple[RateLimit, ...]
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


class StoredKey(msgspec.Struct, frozen=True):
    """A key as management sees it: the gateway's record and the facts that no decision needs.

    `record.scopes` holds all scopes; `own_scopes` those that it has besides the ones of its roles.
    """

    record: KeyRecord
    created_at: float
    created_by: str
    own_scopes: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    metadata: dict[str, str] = {}
    notes: str = ""
    credits: CreditPlan | None = None
    generation: int = 1  # 1 for a key that was made, one more with every rotation
    successor_id: KeyId | None = None  # the key that replaces this one; until `record.expires_at` both work
    rotated_at: float | None = None
    revoked_at: float | None = None
    revoked_by: str | None = None
    revoke_reason: str | None = None
    deleted_at: float | None = None
    deleted_by: str | None = None
    state_before: KeyState | None = None  # of a deleted key: what a restore leads back to
    purged_at: float | None = None
    id_generation: int = 0  # pepper generation that marks its id as ours; 0: made without a mark
    last_used_at: float | None = None


class Page(msgspec.Struct, frozen=True):
    keys: tuple[StoredKey, ...]
    next_after: KeyId | None  # position behind the last row, None on the last page


class KeyFilter(msgspec.Struct, frozen=True):
    """Which keys a list shows; None: all. `state`: one of KeyState, or `expired` (active, but past its date)."""

    owner: str | None = None
    state: str | None = None
    environment: str | None = None
    tag: str | None = None
    lineage: str | None = None
    expires_within_s: int | None = None  # active keys that end within this time: whom to remind
    unused_for_s: int | None = None  # active keys that were made and last used before this time ago: what to clean up


#: An owner's key that ends sooner than this does not count as one that is left: there would be no time to make another.
LAST_ADMIN_MARGIN_S = 86_400


class LockedKey(msgspec.Struct, frozen=True):
    """What a change of a key may depend on besides the key.

    last_admin: it can manage keys, and no other that can lives LAST_ADMIN_MARGIN_S more, or as long as this one.
    """

    last_admin: bool


class KeyUpdate(msgspec.Struct, frozen=True):
    """What a change writes, in one transaction: the key as it shall be, and its audit event.

    successor: a new key beside it. others_end_at: every other generation of the lineage that still works ends then.
    """

    key: StoredKey
    event: AuditEvent
    successor: StoredKey | None = None
    others_end_at: float | None = None


Update = Callable[[StoredKey, LockedKey], KeyUpdate | None]


class GenerationUse(msgspec.Struct, frozen=True):
    """How many keys (not purged) are stored under a pepper generation, and how many ids are marked with it."""

    generation: int
    keys: int
    ids: int
    cores: int  # live Cores whose secret was derived with it
    imported: int = 0  # keys from elsewhere that are found by ids derived with it
    signing: int = 0  # signing secrets that are sealed under it


class KeyStore(Protocol):
    """Management of keys. Every write takes its audit event and stores both in one transaction, or neither."""

    async def add(self, key: StoredKey, event: AuditEvent) -> None:
        """Raises Conflict when the id exists."""
        ...

    async def get(self, key_id: KeyId) -> StoredKey | None: ...

    async def page(self, *, after: KeyId | None, size: int, only: KeyFilter) -> Page: ...

    async def alter(self, key_id: KeyId, work: Update) -> tuple[StoredKey, int] | None:
        """Locks the key and its lineage, asks `work` what to write, and writes it. The key and its change number; None: unknown.

        `work` returns None to change nothing, and may raise: then nothing was changed.
        """
        ...

    async def writable_generation(self, held: Sequence[int]) -> int | None:
        """The newest pepper generation of `held` that every live gateway worker can read; None while a worker reads none of them."""
        ...

    async def generations(self) -> tuple[GenerationUse, ...]: ...

    async def confirmed_everywhere(self, change_seq: int, *, timeout_s: float) -> bool:
        """True once every live gateway worker has seen this change, False when `timeout_s` passed first."""
        ...


class SelfRevocations(Protocol):
    async def revoke(self, key_id: KeyId, *, at: float, by: str, reason: str, event: AuditEvent) -> tuple[KeyRecord, int] | None:
        """Revokes a key that is active or disabled, with its audit event: the key and its change number; None when it is neither.

        Raises Unavailable.
        """
        ...

    async def confirmed_everywhere(self, change_seq: int, *, timeout_s: float) -> bool:
        """True once every live gateway worker has seen this change, False when `timeout_s` passed first or nobody can say."""
        ...
