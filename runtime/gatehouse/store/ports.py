"""What the flows need from the outside world, as small protocols; adapters live in sibling files, one a technology.

Adapters translate foreign exceptions: nothing above this line sees the name of a driver. A method that cannot reach its
technology raises `errors.Unavailable`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from gatehouse.types import (
    AuditEvent,
    CoreName,
    CoreRecord,
    CreditPlan,
    CreditState,
    KeyId,
    KeyRecord,
    KeyState,
    Limit,
    LimitState,
)


class Clock(Protocol):
    """Unix seconds, UTC."""

    def now(self) -> float: ...


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
    limits: tuple[Limit, ...]
    cost: int


class Limits(Protocol):
    async def take(self, charge: Charge) -> tuple[LimitState, ...]:
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


class Cores(Protocol):
    """The gateway's view of the registered Cores."""

    def find(self, name: str) -> CoreRecord | None:
        """From memory, which follows the database as the keys do. Leases that have run out are found too."""
        ...

    async def register(self, record: CoreRecord, *, now: float, event: AuditEvent) -> CoreRecord:
        """Takes the name under a new lease, in one transaction with its audit event.

        Raises Conflict while another key's lease on the name is live at `now`, Unavailable without a database.
        """
        ...

    async def renew(self, record: CoreRecord, *, event: AuditEvent | None) -> CoreRecord | None:
        """Sets url and expiry of the lease `record.lease_id` held by `record.registered_by`; None when they do not hold the name.

        An empty `record.url` keeps the one that is stored.
        `event` is written in the same transaction (None for a heartbeat that changes nothing but the time).
        """
        ...

    async def drain(self, name: str, lease_id: str, *, registered_by: KeyId, event: AuditEvent) -> bool:
        """Marks as draining; False when another lease or another key holds the name."""
        ...


class Resolver(Protocol):
    async def addresses(self, host: str, port: int) -> tuple[str, ...]:
        """Every address behind a host name (or the address itself); empty when there is none."""
        ...


class UpstreamReply(Protocol):
    """The head of a Core's answer, and its body piece by piece. Header names are lower case."""

    status: int
    headers: list[tuple[str, str]]

    async def read_all(self) -> bytes:
        """The whole body. Raises CoreUnreachable or CoreTimeout when it breaks off."""
        ...

    async def read(self) -> bytes | None:
        """The next piece, None at the end. Raises CoreUnreachable or CoreTimeout when it breaks off."""
        ...


class UpstreamRequest(msgspec.Struct, frozen=True):
    """What is sent to a Core. `target` is the raw path and query; `body` is None, bytes, or a stream of them."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes | AsyncIterator[bytes] | None


class Upstream(Protocol):
    def exchange(self, core: CoreRecord, request: UpstreamRequest) -> AbstractAsyncContextManager[UpstreamReply]:
        """Sends a request to a Core; leaving the block ends it.

        Raises CoreUnreachable, CoreTimeout, and BadRequest for a request that cannot be sent at all.
        """
        ...


class Directory(Protocol):
    """Management's view of the registered Cores."""

    async def page(self, *, after: CoreName | None, size: int) -> tuple[tuple[CoreRecord, ...], CoreName | None]:
        """Cores by name, and the position behind the last one, None on the last page."""
        ...


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


class Surroundings(msgspec.Struct, frozen=True):
    """What a change of a key may depend on besides the key.

    last_admin: it can manage keys, and no other that can lives LAST_ADMIN_MARGIN_S more, or as long as this one.
    """

    last_admin: bool


class Alteration(msgspec.Struct, frozen=True):
    """What a change writes, in one transaction: the key as it shall be, and its audit event.

    successor: a new key beside it. others_end_at: every other generation of the lineage that still works ends then.
    """

    key: StoredKey
    event: AuditEvent
    successor: StoredKey | None = None
    others_end_at: float | None = None


Alter = Callable[[StoredKey, Surroundings], Alteration | None]


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

    async def alter(self, key_id: KeyId, work: Alter) -> tuple[StoredKey, int] | None:
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


class AuditPage(msgspec.Struct, frozen=True):
    events: tuple[AuditRow, ...]
    next_before: int | None


class AuditRow(msgspec.Struct, frozen=True):
    seq: int
    event: AuditEvent
    previous_hash: bytes
    hash: bytes


class AuditFilter(msgspec.Struct, frozen=True):
    """Which rows are wanted; None: all. `action` may end in `*`, such as `key.*`. Times are Unix seconds, `until` is left out."""

    target_id: str | None = None
    action: str | None = None
    actor_id: str | None = None
    outcome: str | None = None
    since: float | None = None
    until: float | None = None


EVERY_ROW = AuditFilter()


class AuditTrail(Protocol):
    async def append(self, event: AuditEvent) -> None:
        """For acts that change no other row (a denied attempt)."""
        ...

    async def page(
        self,
        *,
        before: int | None,
        size: int,
        target_id: str | None = None,
        action: str | None = None,
        more: AuditFilter = EVERY_ROW,
    ) -> AuditPage:
        """Newest first. `more` narrows further than the two most used conditions."""
        ...

    async def following(self, after: int, size: int, wanted: AuditFilter) -> tuple[AuditRow, ...]:
        """Up to `size` rows behind row `after`, oldest first."""
        ...

    async def verify(self) -> tuple[int, int | None]:
        """(rows read, sequence number of the first row that breaks the chain or None)."""
        ...


class Probe(Protocol):
    """A dependency, as /readyz asks for it."""

    name: str

    async def check(self) -> None:
        """Returns when the dependency answers; raises Unavailable otherwise."""
        ...


Probes = Sequence[Probe]
