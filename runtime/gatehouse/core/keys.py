"""API keys: the record that the gateway caches, the full key, and changes to a key.

Times are Unix seconds (UTC). Field names include the unit.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, NewType

import msgspec
from msgspec import UNSET, Meta, UnsetType
from msgspec.structs import replace

from gatehouse.core.audit_events import AuditEvent, Details
from gatehouse.core.errors import NotFound
from gatehouse.core.key_fields import FREE_TEXT, IDENTITY, INTERNAL, SETTING, Purge, decisions

# 12 base62 characters; part of the token in plain text and safe to log.
KeyId = NewType("KeyId", str)

CREDITS_MAX = 1_000_000_000_000


class KeyEnvironment(StrEnum):
    """Environment of a key or a Core. A `test` key is denied in a `live` deployment and vice
    versa.
    """

    TEST = "test"
    LIVE = "live"


class KeyState(StrEnum):
    """Stored state of a key. Expiry is not a state, because it depends on `expires_at` and the
    current time.
    """

    ACTIVE = "active"
    DISABLED = "disabled"  # can be enabled again
    REVOKED = "revoked"  # final, except that the key can be deleted or purged
    DELETED = "deleted"  # can be restored to its previous state for a limited time
    PURGED = "purged"  # all data is erased; the ID stays reserved


#: Scheme of a key whose token has Gatehouse's own format. Imported keys have a different scheme
#: (imported_tokens.py).
OWN_SCHEME = "own"


class RateLimit(msgspec.Struct, frozen=True, gc=False):
    """Rate limit (GCRA): `quota` units per `window_s` seconds, of which at most `burst` can be used
    at once.
    """

    example: ClassVar = {"name": "requests"}

    name: str
    quota: int
    window_s: int
    burst: int
    cost: int = 1  # units per request, multiplied by the cost of the verification request

    def __str__(self) -> str:
        cost = f", cost {self.cost}" if self.cost != 1 else ""
        return f"{self.name} {self.quota}/{self.window_s}s, burst {self.burst}{cost}"


class CustomerState(StrEnum):
    """State of a customer. The gateway denies the keys of a customer that is not active, whatever
    their own states are.
    """

    ACTIVE = "active"
    DISABLED = "disabled"  # can be enabled again
    DELETED = "deleted"  # can be restored, or purged together with its keys


class PlanRecord(msgspec.Struct, frozen=True, gc=False):
    """Fields of a plan that a verification needs: what the keys and customers that follow the plan
    inherit. None: the plan does not specify them.
    """

    name: str
    limits: tuple[RateLimit, ...] | None  # of each key
    shared_limits: tuple[RateLimit, ...]  # of all keys of a customer together
    scopes: tuple[str, ...] | None
    version: int
    ttl_s: int | None = None  # lifetime of each key

    @property
    def id(self) -> str:
        return self.name


class LimitRecord(msgspec.Struct, frozen=True, gc=False):
    """A rate limit for subjects that a caller names, such as users or addresses."""

    name: str
    quota: int
    window_s: int
    burst: int
    is_deleted: bool
    version: int

    @property
    def id(self) -> str:
        return self.name


class CustomerRecord(msgspec.Struct, frozen=True, gc=False):
    """Fields of a customer that a verification of its keys needs."""

    id: str
    name: str
    state: CustomerState
    plan: str | None
    #: Limits that all keys of the customer share. None: those of the plan.
    limits: tuple[RateLimit, ...] | None
    has_credits: bool
    version: int

    @property
    def subject(self) -> str:
        """The subject of the shared limits and credits. The ID of a key family has no `@`."""
        return f"@{self.id}"


class KeyRecord(msgspec.Struct, frozen=True, gc=False):
    """Fields of a key that a verification needs. Contains the HMAC of the token, never the token.

    The garbage collector does not track records, because a worker caches many of them, and a full
    collection over a million tracked objects would block the event loop.
    """

    id: Annotated[KeyId, replace(IDENTITY, search="start", listed=True)]
    digest: Annotated[bytes, replace(INTERNAL, purged=Purge.SET)]
    pepper_generation: Annotated[int, replace(IDENTITY, audit="value")]
    environment: Annotated[
        KeyEnvironment, replace(SETTING, set_by="create", purged=Purge.KEPT, listed=True)
    ]
    state: Annotated[KeyState, replace(INTERNAL, purged=Purge.SET, listed=True)]
    name: Annotated[str, replace(SETTING, purged="", search="part", listed=True)]
    scopes: Annotated[tuple[str, ...], replace(SETTING, listed=True)]
    #: Cores that the key may call. Empty: every Core in the environment of the key.
    cores: Annotated[tuple[str, ...], SETTING]
    limits: Annotated[tuple[RateLimit, ...], SETTING]
    expires_at: Annotated[float | None, replace(SETTING, purged=None, listed=True)]
    version: Annotated[int, IDENTITY]  # incremented by every change to the row
    family_id: Annotated[KeyId, IDENTITY] = KeyId("")  # ID of the first key of the family
    #: CIDR networks from which the key may be used. Empty: any.
    addresses: Annotated[tuple[str, ...], SETTING] = ()
    # HTTP methods with which the key may be used; empty: all.
    methods: Annotated[tuple[str, ...], SETTING] = ()
    has_credits: Annotated[bool, replace(INTERNAL, purged=False)] = False
    scheme: Annotated[str, IDENTITY] = OWN_SCHEME
    #: Ed25519 key that verifies the signatures of requests, in base64. Requests without a signature
    #: are denied. Empty: requests need no signature.
    public_key: Annotated[str, replace(SETTING, purged="")] = ""
    #: Customer to which the key belongs.
    customer_id: Annotated[
        str | None, replace(SETTING, purged=None, search="part", listed=True)
    ] = None
    #: Plan that a key without a customer follows. A key of a customer follows the customer's plan.
    plan: Annotated[str | None, replace(SETTING, purged=None, listed=True)] = None
    #: Fields whose values are those of the plan: `limits`, `scopes`.
    inherits: Annotated[tuple[str, ...], replace(INTERNAL, purged=())] = ()
    #: The customer and the plan from which the inherited fields were resolved, and the limits that
    #: all keys of the customer share (customers.py). Not in the row of the key.
    customer: Annotated[CustomerRecord | None, INTERNAL] = None
    terms: Annotated[PlanRecord | None, INTERNAL] = None
    shared_limits: Annotated[tuple[RateLimit, ...], replace(INTERNAL, purged=())] = ()

    @property
    def subject(self) -> str:
        """ID of the key family, to which rate limit counters and credits belong."""
        return self.family_id or self.id

    @property
    def shared_subject(self) -> str:
        """Subject of the limits and credits of the customer, or empty without a customer."""
        return self.customer.subject if self.customer else ""

    @property
    def uses_credits(self) -> bool:
        return self.has_credits or (self.customer is not None and self.customer.has_credits)

    @property
    def credit_subjects(self) -> list[str]:
        """Subjects of the credits that each request consumes."""
        subjects = [self.subject] if self.has_credits else []
        if self.customer is not None and self.customer.has_credits:
            subjects.append(self.customer.subject)
        return subjects


class Refill(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """At the start of every period (UTC), the remaining credits are raised to at least `amount`.
    Credits do not accumulate.
    """

    amount: Annotated[int, Meta(ge=1, le=CREDITS_MAX)]
    every: Literal["hour", "day", "week", "month"]

    def __str__(self) -> str:
        return f"{self.amount} every {self.every}"


class Credits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Credits, shared by all keys in a key family. Each allowed request consumes as many credits as
    the `cost` of its verification request (default: 1)."""

    example: ClassVar = {"remaining": 5000, "refill": {"amount": 5000, "every": "month"}}

    remaining: Annotated[
        int,
        Meta(
            ge=0,
            le=CREDITS_MAX,
            description="Remaining credits. A refill that is due is applied at the next use.",
        ),
    ]
    refill: Refill | None = None

    def __str__(self) -> str:
        return f"{self.remaining}, {self.refill}" if self.refill else str(self.remaining)


class UpdateCredits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Changes to the credits of a key, which requests consume at the same time. Omitted fields keep
    their values.
    """

    example: ClassVar = {"add": 1000}

    add: Annotated[
        int,
        Meta(
            ge=-CREDITS_MAX,
            le=CREDITS_MAX,
            description="Credits to add to the remaining credits. A negative number deducts, at "
            "most what remains.",
        ),
    ] = 0
    remaining: Annotated[
        Annotated[int, Meta(ge=0, le=CREDITS_MAX)] | UnsetType,
        Meta(
            description="New remaining credits, instead of `add`. Replaces the remaining credits "
            "together with what requests consumed since they were read. Required for a key "
            "without credits."
        ),
    ] = UNSET
    refill: Annotated[Refill | UnsetType | None, Meta(description="Null: no refill.")] = UNSET

    def __post_init__(self) -> None:
        if self.add and self.remaining is not UNSET:
            raise ValueError("add and remaining are mutually exclusive; send only one of them")
        if not self.add and self.remaining is UNSET and self.refill is UNSET:
            raise ValueError("changes nothing; send add, remaining or refill")

    def __str__(self) -> str:
        parts = [f"{self.add:+}"] if self.add else []
        if self.remaining is not UNSET:
            parts.append(str(self.remaining))
        if self.refill is not UNSET:
            parts.append(f"refill {self.refill or 'none'}")
        return ", ".join(parts)


class Key(KeyRecord, frozen=True, kw_only=True):
    """A key with all of its fields, as the management API reads and writes it."""

    created_at: Annotated[float, replace(INTERNAL, purged=Purge.SET, imported=True)]
    created_by: Annotated[str, replace(INTERNAL, purged="")]
    tags: Annotated[tuple[str, ...], replace(SETTING, search="item")] = ()
    metadata: Annotated[dict[str, str], replace(FREE_TEXT, purged={})] = {}
    notes: Annotated[str, FREE_TEXT] = ""
    #: E-mail address or ID of a webhook of the holder, to which events of the key are sent.
    contact: Annotated[str, FREE_TEXT] = ""
    credits: Annotated[Credits | None, replace(SETTING, purged=None, imported=False)] = None
    #: Position in the key family; incremented by each rotation.
    generation: Annotated[int, IDENTITY] = 1
    #: Key that replaces this key after a rotation.
    successor_id: Annotated[KeyId | None, INTERNAL] = None
    rotated_at: Annotated[float | None, INTERNAL] = None
    revoked_at: Annotated[float | None, INTERNAL] = None
    revoked_by: Annotated[str | None, INTERNAL] = None
    revoke_reason: Annotated[str | None, INTERNAL] = None
    deleted_at: Annotated[float | None, INTERNAL] = None
    deleted_by: Annotated[str | None, INTERNAL] = None
    #: State to which a deleted key can be restored.
    state_before: Annotated[KeyState | None, INTERNAL] = None
    purged_at: Annotated[float | None, replace(INTERNAL, purged=Purge.SET)] = None
    #: Pepper generation of the mark in the ID. 0: the ID has no mark.
    id_generation: Annotated[int, replace(INTERNAL, purged=0)] = 0
    last_used_at: Annotated[float | None, INTERNAL] = None


KEY_FIELDS = decisions(Key)

#: Fields of a key that are in the rows of its customer and its plan.
RESOLVED = ("customer", "terms", "shared_limits")


def key_fields(**options: object) -> tuple[str, ...]:
    """The fields of a key on which these decisions were made, such as `key_fields(listed=True)`."""
    return tuple(
        name
        for name, field in KEY_FIELDS.items()
        if all(getattr(field, option) == value for option, value in options.items())
    )


#: Field values for a key that is created or changed, by field name.
KeyFields = Mapping[str, Any]


#: Another key that can manage keys counts as an administrator if its remaining lifetime exceeds
#: this number of seconds, or if it expires no earlier than the key that is changed.
LAST_ADMIN_MARGIN_S = 86_400


class LockedKey(msgspec.Struct, frozen=True):
    """A key whose row and family are locked in the current transaction.

    is_last_admin: the key can manage keys, and every other such key in its environment expires both
        earlier and within LAST_ADMIN_MARGIN_S.
    """

    key: Key
    is_last_admin: bool


class KeyChange(msgspec.Struct, frozen=True):
    """Result of an action: the changed key, the details of the audit event, and changes to other
    keys in the family.

    successor: a new key of the family. others_end_at: new expiry of all other active or disabled
    keys in the family that would expire later. credits: change to the credits of the family, which
    `key.credits` does not show. None removes them.
    """

    key: Key
    details: Details
    successor: Key | None = None
    others_end_at: float | None = None
    credits: UpdateCredits | UnsetType | None = UNSET


#: Computes the change to a locked key and the audit event. If the result is None, nothing is
#: written. An error rolls the transaction back.
Update = Callable[[LockedKey], tuple[KeyChange, AuditEvent] | None]


ADMIN_SCOPE = "admin"


#: A key with either scope has the console role `owner` (roles.py) and can manage keys.
OWNER_SCOPES = (ADMIN_SCOPE, "role:owner")


def can_manage_keys(key: Key) -> bool:
    """True for an active key with an owner scope. A key with a public key cannot sign in, because
    the console does not verify signatures."""
    if key.public_key:
        return False
    return key.state is KeyState.ACTIVE and not set(OWNER_SCOPES).isdisjoint(key.scopes)


def no_key() -> NotFound:
    """The error for an ID of no key, and of a key that the caller may not know."""
    return NotFound("No key has this ID.")
