"""What keys are made of in JSON: texts, names, networks, limits and credits, each with its bounds. Text is checked here, once.

The JSON shapes of keys: what may be asked for, bounded, and what is answered.

The JSON shapes of what is done to a key after it was made: change, rotate, delete, purge, explain.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator
from pydantic.config import JsonDict

from gatehouse.keys.lifecycle import GRACE_S_DEFAULT, GRACE_S_MAX
from gatehouse.keys.models import OWN_SCHEME, CreditPlan, Key, RateLimit
from gatehouse.keys.roles import ROLES
from gatehouse.timestamps import rfc3339
from gatehouse.verification.addresses import network
from gatehouse.verification.decision import Check

NAME_CHARS_MAX = 100


REASON_CHARS_MAX = 300


SCOPES_MAX = 50


CORES_MAX = 50


LIMITS_MAX = 10


ADDRESSES_MAX = 50


TAGS_MAX = 20


METADATA_MAX = 20


METADATA_CHARS_MAX = 500


NOTES_CHARS_MAX = 2000


COST_MAX = 1_000_000


CREDITS_MAX = 1_000_000_000_000


METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")


QUOTA_MAX = 1_000_000_000


WINDOW_S_MAX = 31 * 86_400


TTL_S_MAX = 10 * 365 * 86_400


_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)


#: Instants outside cannot be counted in Unix seconds everywhere, and none of them is meant.
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(3000, 1, 1, tzinfo=UTC)


EXAMPLE_LIMIT: JsonDict = {"name": "requests", "quota": 600, "window_s": 60, "burst": 100, "cost": 1}


_EXAMPLE_CREDITS: JsonDict = {"remaining": 5000, "refill": {"amount": 5000, "every": "month"}}


EXAMPLE_KEY: JsonDict = {
    "id": "3fGh82kLmQ0a",
    "name": "invoices, nightly export",
    "owner": "billing",
    "environment": "test",
    "state": "active",
    "scopes": ["cores:read"],
    "cores": ["docs"],
    "limits": [EXAMPLE_LIMIT],
    "roles": ["reader"],
    "methods": ["GET", "HEAD"],
    "addresses": ["192.0.2.0/24", "2001:db8::/48"],
    "credits": _EXAMPLE_CREDITS,
    "signing": {"algorithm": "hmac-sha256", "required": True},
    "tags": ["nightly"],
    "metadata": {"ticket": "OPS-1234"},
    "notes": "Asked for by the billing team.",
    "version": 3,
    "family_id": "3fGh82kLmQ0a",
    "generation": 1,
    "successor_id": None,
    "rotated_at": None,
    "last_used_at": "2030-06-01T04:00:00Z",
    "expires_at": "2031-01-01T00:00:00Z",
    "created_at": "2030-01-01T09:30:00.123456Z",
    "created_by": "bootstrap",
    "revoked_at": None,
    "revoked_by": None,
    "revoke_reason": None,
    "deleted_at": None,
    "deleted_by": None,
    "purged_at": None,
    "scheme": "own",
    "start": "gtk_test_3fGh82kLmQ0a",
}


def _text(value: str) -> str:
    if value != value.strip():
        raise ValueError("must not begin or end with a space")
    if not value.isprintable():
        raise ValueError("must not hold control characters or invisible characters")
    return value


def _lines(value: str) -> str:
    if not all(character.isprintable() or character in "\n\t" for character in value):
        raise ValueError("must not hold control characters or invisible characters but line ends and tabs")
    return value


def _networks(values: list[str]) -> list[str]:
    found = [network(value) for value in values]
    if None in found:
        raise ValueError('must be networks such as "192.0.2.0/24", "2001:db8::/48" or single addresses, host bits zero')
    return [one for one in found if one is not None]


def distinct(values: list[Any]) -> list[Any]:
    if len(set(values)) != len(values):
        raise ValueError("must not name anything twice")
    return values


def _instant(value: object) -> object:
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise ValueError('must be an RFC 3339 date with a time zone, such as "2031-01-01T00:00:00Z"')
    try:
        found = datetime.fromisoformat(_fraction(value.upper()))
    except ValueError:
        raise ValueError("is not a date that exists") from None
    if not _FIRST <= found < _LAST:
        raise ValueError("must lie in the years 1970 to 2999")
    return found


def _fraction(value: str) -> str:
    """Cuts nanoseconds to microseconds, the precision that is stored."""
    return re.sub(r"(\.\d{6})\d+", r"\1", value)


Name = Annotated[str, Field(min_length=1, max_length=NAME_CHARS_MAX), AfterValidator(_text)]


Owner = Annotated[str, Field(max_length=NAME_CHARS_MAX), AfterValidator(_text)]


Reason = Annotated[str, Field(max_length=REASON_CHARS_MAX), AfterValidator(_text)]


Notes = Annotated[str, Field(max_length=NOTES_CHARS_MAX), AfterValidator(_lines)]


Scope = Annotated[str, Field(pattern=r"^[a-z0-9:_.*-]{1,64}$")]


Core = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")]


Instant = Annotated[datetime, BeforeValidator(_instant)]


Role = Literal["reader", "agent", "admin"]


Method = Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]


Tag = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9:_./-]{0,63}$")]


Scopes = Annotated[list[Scope], Field(max_length=SCOPES_MAX), AfterValidator(distinct)]


Roles = Annotated[
    list[Role],
    Field(max_length=len(ROLES), description="Sets of scopes: reader (cores:read), agent (cores:register), admin."),
    AfterValidator(distinct),
]


Cores = Annotated[list[Core], Field(max_length=CORES_MAX), AfterValidator(distinct)]


Methods = Annotated[list[Method], Field(max_length=len(METHODS), description="Empty: every method."), AfterValidator(distinct)]


Addresses = Annotated[
    list[Annotated[str, Field(max_length=64)]],
    Field(max_length=ADDRESSES_MAX, description="Networks (CIDR, IPv4 or IPv6) that it may be used from. Empty: anywhere."),
    AfterValidator(_networks),
    AfterValidator(distinct),
]


Tags = Annotated[list[Tag], Field(max_length=TAGS_MAX), AfterValidator(distinct)]


Metadata = Annotated[
    dict[
        Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$")],
        Annotated[str, Field(max_length=METADATA_CHARS_MAX), AfterValidator(_lines)],
    ],
    Field(
        max_length=METADATA_MAX,
        description="Facts of your own, text by name. Not for secrets.",
        json_schema_extra={"additionalProperties": False},  # no name of another form
    ),
]


_strict = ConfigDict(extra="forbid", strict=True, frozen=True)


class RateLimitInput(BaseModel):
    """`quota` requests per `window_s` seconds, of which `burst` (default: all of them) may come at once."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, json_schema_extra={"examples": [EXAMPLE_LIMIT]})

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.-]{0,63}$", description="Seen by clients in the RateLimit header.")]
    quota: Annotated[int, Field(ge=1, le=QUOTA_MAX)]
    window_s: Annotated[int, Field(ge=1, le=WINDOW_S_MAX, description="Seconds, up to 31 days.")]
    burst: Annotated[int | None, Field(ge=1, le=QUOTA_MAX)] = None
    cost: Annotated[int, Field(ge=0, le=COST_MAX, description="Units that one request uses; 0: it is only looked at.")] = 1

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.burst is not None and self.burst > self.quota:
            raise ValueError("burst must not be larger than quota")
        return self

    def limit(self) -> RateLimit:
        return RateLimit(name=self.name, quota=self.quota, window_s=self.window_s, burst=self.burst or self.quota, cost=self.cost)


class Refill(BaseModel):
    """At the begin of every such period (UTC) the purse holds at least `amount` again; what is left over does not add up."""

    model_config = _strict

    amount: Annotated[int, Field(ge=1, le=CREDITS_MAX)]
    every: Literal["hour", "day", "week", "month"]


class CreditsInput(BaseModel):
    """What the key may still spend, counted exactly, over all generations of the key. A request costs its `cost`."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, json_schema_extra={"examples": [_EXAMPLE_CREDITS]})

    remaining: Annotated[int, Field(ge=0, le=CREDITS_MAX)]
    refill: Refill | None = None

    def plan(self) -> CreditPlan:
        refill = self.refill
        return CreditPlan(self.remaining, *((refill.amount, refill.every) if refill else (None, None)))


def distinct_names(limits: list[RateLimitInput]) -> list[RateLimitInput]:
    """Raises ValueError when two limits have one name."""
    distinct([limit.name for limit in limits])
    return limits


Limits = Annotated[list[RateLimitInput], Field(min_length=1, max_length=LIMITS_MAX), AfterValidator(distinct_names)]


DEFAULT_SCOPES = ("cores:read",)


class CreateKey(BaseModel):
    """A key to be made. Without `expires_at` and `ttl_s` it does not expire; without `cores` it opens all of its environment."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "name": "invoices, nightly export",
                    "owner": "billing",
                    "scopes": ["cores:read"],
                    "cores": ["docs"],
                    "limits": [EXAMPLE_LIMIT],
                    "ttl_s": 7776000,
                }
            ]
        },
    )

    name: Name
    owner: Owner = ""
    environment: Annotated[Literal["test", "live"] | None, Field(description="Default: the environment of this deployment.")] = (
        None
    )
    scopes: Annotated[
        list[Scope] | None, Field(max_length=SCOPES_MAX, description='Default: ["cores:read"], none when there are roles.')
    ] = None
    roles: Roles = []
    cores: Annotated[list[Core], Field(max_length=CORES_MAX)] = []
    methods: Methods = []
    addresses: Addresses = []
    limits: Annotated[
        list[RateLimitInput] | None, Field(min_length=1, max_length=LIMITS_MAX, description="Default: this deployment's.")
    ] = None
    expires_at: Annotated[Instant | None, Field(description="RFC 3339, at most ten years ahead.")] = None
    ttl_s: Annotated[int | None, Field(ge=1, le=TTL_S_MAX, description="Seconds from now, instead of expires_at.")] = None
    credits: CreditsInput | None = None
    tags: Tags = []
    metadata: Metadata = {}
    notes: Notes = ""

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.expires_at is not None and self.ttl_s is not None:
            raise ValueError("expires_at and ttl_s exclude each other; send one of them")
        distinct(self.scopes or [])
        distinct(self.cores)
        distinct([limit.name for limit in self.limits or []])
        return self


class RevokeKey(BaseModel):
    """Why the key ends; kept with it and in the audit trail."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, json_schema_extra={"examples": [{"reason": "leaked in a log"}]}
    )

    reason: Reason = ""


class ListKeys(BaseModel):
    """The query of a page of keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    owner: Annotated[str | None, Field(max_length=NAME_CHARS_MAX)] = None
    state: Annotated[
        Literal["active", "disabled", "revoked", "deleted", "purged", "expired"] | None,
        Field(description="`active` leaves expired keys out. Default: all but purged ones."),
    ] = None
    environment: Literal["test", "live"] | None = None
    tag: Annotated[str | None, Field(max_length=64)] = None
    family_id: Annotated[str | None, Field(max_length=12, description="All generations of one key.")] = None
    expires_within_s: Annotated[
        int | None, Field(ge=0, le=TTL_S_MAX, description="Active keys that end within this time: whom to remind.")
    ] = None
    unused_for_s: Annotated[
        int | None, Field(ge=0, le=TTL_S_MAX, description="Active keys that were neither made nor used for this time.")
    ] = None
    cursor: Annotated[str | None, Field(max_length=512, description="`next_cursor` of the page before.")] = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class LimitView(BaseModel):
    name: str
    quota: int
    window_s: int
    burst: int
    cost: int


class RefillView(BaseModel):
    amount: int
    every: Literal["hour", "day", "week", "month"]


class CreditsView(BaseModel):
    remaining: Annotated[int, Field(description="As it was counted last; a refill is added with the next use.")]
    refill: RefillView | None


class SigningView(BaseModel):
    algorithm: Literal["hmac-sha256", "ed25519"]
    required: Annotated[bool, Field(description="Unsigned requests are refused.")]


class KeyView(BaseModel):
    """A key as its managers see it; what verifies it stays inside."""

    model_config = ConfigDict(frozen=True, json_schema_extra={"examples": [EXAMPLE_KEY]})

    id: str
    name: str
    owner: str
    environment: Literal["test", "live"]
    state: Literal["active", "disabled", "revoked", "deleted", "purged"]
    scopes: list[str]
    cores: list[str]
    limits: list[LimitView]
    roles: list[str]
    methods: list[str]
    addresses: list[str]
    credits: CreditsView | None
    signing: Annotated[SigningView | None, Field(description="How its requests are signed; what checks them stays inside.")]
    tags: list[str]
    metadata: dict[str, str]
    notes: str
    version: Annotated[int, Field(description="Grows with every change; the ETag of the key, for If-Match.")]
    family_id: Annotated[str, Field(description="Id of the first generation. Limits and credits are counted under it.")]
    generation: Annotated[int, Field(description="1 for a key that was made, one more with every rotation.")]
    successor_id: Annotated[str | None, Field(description="The key that replaces this one; until expires_at both work.")]
    rotated_at: str | None
    last_used_at: Annotated[str | None, Field(description="Of this very generation: is the old one still in use?")]
    expires_at: str | None
    created_at: str
    created_by: str
    revoked_at: str | None
    revoked_by: str | None
    revoke_reason: str | None
    deleted_at: Annotated[str | None, Field(description="It can be restored for 30 days from then.")]
    deleted_by: str | None
    purged_at: str | None
    scheme: Annotated[str, Field(description="`own`, or how an imported key was hashed where it came from, such as `sha256`.")]
    start: Annotated[str, Field(description="The beginning of the token, to recognise it by; empty for an imported key.")]


class CreatedKey(BaseModel):
    """The token is in this answer and nowhere else, ever."""

    model_config = ConfigDict(
        frozen=True, json_schema_extra={"examples": [{"token": "gtk_test_3fGh82kLmQ0a...", "key": EXAMPLE_KEY}]}
    )

    token: str
    key: KeyView


class KeyPage(BaseModel):
    """`next_cursor` is null on the last page."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"keys": [EXAMPLE_KEY], "next_cursor": None}]})

    keys: list[KeyView]
    next_cursor: str | None


class RevokedKey(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"key": EXAMPLE_KEY, "effective": "everywhere"}]})

    key: KeyView
    effective: Annotated[
        Literal["everywhere", "within_bound"],
        Field(
            description="`everywhere`: every live gateway has confirmed it. `within_bound`: it holds within the staleness bound."
        ),
    ]


def key_view(key: Key, prefix: str) -> KeyView:
    """`prefix`: the brand of this deployment's keys."""
    plan = key.credits
    refill = None
    if plan is not None and plan.refill_amount is not None:
        refill = RefillView.model_validate({"amount": plan.refill_amount, "every": plan.refill_every})
    return KeyView(
        id=key.id,
        name=key.name,
        owner=key.owner,
        environment=key.environment.value,
        state=key.state.value,
        scopes=list(key.own_scopes),
        cores=list(key.cores),
        limits=[
            LimitView(name=one.name, quota=one.quota, window_s=one.window_s, burst=one.burst, cost=one.cost) for one in key.limits
        ],
        roles=list(key.roles),
        methods=list(key.methods),
        addresses=list(key.addresses),
        credits=None if plan is None else CreditsView(remaining=plan.remaining, refill=refill),
        signing=None
        if key.signing is None
        else SigningView(algorithm=key.signing.algorithm.value, required=key.signing.required),
        tags=list(key.tags),
        metadata=key.metadata,
        notes=key.notes,
        version=key.version,
        family_id=key.subject,
        generation=key.generation,
        successor_id=key.successor_id,
        rotated_at=_maybe(key.rotated_at),
        last_used_at=_maybe(key.last_used_at),
        expires_at=_maybe(key.expires_at),
        created_at=rfc3339(key.created_at),
        created_by=key.created_by,
        revoked_at=_maybe(key.revoked_at),
        revoked_by=key.revoked_by,
        revoke_reason=key.revoke_reason,
        deleted_at=_maybe(key.deleted_at),
        deleted_by=key.deleted_by,
        purged_at=_maybe(key.purged_at),
        scheme=key.scheme,
        start=f"{prefix}_{key.environment.value}_{key.id}" if key.scheme == OWN_SCHEME else "",
    )


def etag(key: Key) -> str:
    """The version as a strong entity tag (RFC 9110, section 8.8.3)."""
    return f'"{key.version}"'


def _maybe(instant: float | None) -> str | None:
    return None if instant is None else rfc3339(instant)


_Effective = Annotated[
    Literal["everywhere", "within_bound"],
    Field(description="`everywhere`: every live gateway has confirmed it. `within_bound`: it holds within the staleness bound."),
]


def _config(*examples: JsonDict) -> ConfigDict:
    return ConfigDict(extra="forbid", strict=True, frozen=True, json_schema_extra={"examples": [*examples]})


class UpdateKey(BaseModel):
    """What shall be different; what is left out stays. `expires_at` null: no end. `credits` null: they are counted no more."""

    model_config = _config({"owner": "billing", "limits": [{"name": "requests", "quota": 100, "window_s": 60}]})

    name: Name | None = None
    owner: Owner | None = None
    scopes: Scopes | None = None
    roles: Roles | None = None
    cores: Cores | None = None
    methods: Methods | None = None
    addresses: Addresses | None = None
    limits: Limits | None = None
    expires_at: Annotated[Instant | None, Field(description="RFC 3339, at most ten years ahead; null: no end.")] = None
    credits: CreditsInput | None = None
    tags: Tags | None = None
    metadata: Metadata | None = None
    notes: Notes | None = None
    require_signature: Annotated[bool | None, Field(description="Refuse unsigned requests; needs a signing key.")] = None
    allow_last_admin: Annotated[bool, Field(description="Change even the last key that can manage keys.")] = False

    @field_validator(
        "name",
        "owner",
        "scopes",
        "roles",
        "cores",
        "methods",
        "addresses",
        "limits",
        "tags",
        "metadata",
        "notes",
        "require_signature",
        mode="before",
    )
    @classmethod
    def _present(cls, value: object) -> object:
        if value is None:
            raise ValueError("cannot be null; leave it out to keep it, or send an empty one")
        return value

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set - {"allow_last_admin"}:
            raise ValueError("changes nothing; send at least one member")
        return self


class WithReason(BaseModel):
    """Why; kept in the audit trail."""

    model_config = _config({"reason": "the customer paid again"})

    reason: Reason = ""


class DisableKey(WithReason):
    """Why; kept in the audit trail. The last key that can manage keys is not stopped by accident."""

    model_config = _config({"reason": "not needed over the winter"})

    allow_last_admin: Annotated[bool, Field(description="Stop even the last key that can manage keys.")] = False


class PurgeKey(WithReason):
    """`confirm` repeats the id of the key: there is no way back."""

    model_config = _config({"confirm": "3fGh82kLmQ0a", "reason": "the owner asked to be forgotten"})

    confirm: Annotated[str, Field(max_length=12)]


class RotateKey(WithReason):
    """Without `ttl_s` and `expires_at` the new key lives as long as the old one was meant to live."""

    model_config = _config({"grace_s": 86400, "reason": "quarterly"})

    grace_s: Annotated[
        int, Field(ge=0, le=GRACE_S_MAX, description="Seconds for which the old key works on, never beyond its own expiry.")
    ] = GRACE_S_DEFAULT
    expires_at: Annotated[Instant | None, Field(description="Of the new key; RFC 3339.")] = None
    ttl_s: Annotated[int | None, Field(ge=1, le=TTL_S_MAX, description="Of the new key, instead of expires_at.")] = None
    allow_last_admin: Annotated[
        bool, Field(description="Also when it is the last key that can manage keys, and the new one would end earlier.")
    ] = False

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.expires_at is not None and self.ttl_s is not None:
            raise ValueError("expires_at and ttl_s exclude each other; send one of them")
        return self


class ExplainKey(BaseModel):
    """A question as the gateway would be asked; nothing is used up by it."""

    model_config = _config({"scopes": ["cores:read"], "core": "docs", "address": "192.0.2.7", "method": "GET"})

    scopes: Annotated[list[Scope], Field(max_length=SCOPES_MAX)] = []
    core: Core | None = None
    address: Annotated[str, Field(max_length=64, description="Whom the key is used by; left out: nobody's.")] = ""
    method: Method | None = None
    cost: Annotated[int, Field(ge=0, le=1_000_000)] = 1


def _answers(*examples: JsonDict) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [*examples]})


class ChangedKey(BaseModel):
    model_config = _answers({"key": EXAMPLE_KEY, "effective": "everywhere"})

    key: KeyView
    effective: _Effective


class RotatedKey(BaseModel):
    """The token of the new key is in this answer and nowhere else, ever. `previous` works until its `expires_at`."""

    model_config = _answers(
        {
            "token": "gtk_test_7hJk31xPqR8b...",
            "key": {**EXAMPLE_KEY, "id": "7hJk31xPqR8b", "generation": 2, "start": "gtk_test_7hJk31xPqR8b"},
            "previous": {**EXAMPLE_KEY, "successor_id": "7hJk31xPqR8b", "rotated_at": "2030-06-01T09:00:00Z"},
            "effective": "everywhere",
        }
    )

    token: str
    key: KeyView
    previous: KeyView
    effective: _Effective


class PurgedKey(BaseModel):
    model_config = _answers(
        {"id": "3fGh82kLmQ0a", "purged_at": "2030-06-01T09:00:00Z", "effective": "everywhere", "counters_removed": True}
    )

    id: str
    purged_at: str
    effective: _Effective
    counters_removed: Annotated[
        bool, Field(description="False: another generation needs them, or Redis was away and they end within their window.")
    ]


class CheckView(BaseModel):
    name: str
    outcome: Literal["pass", "fail", "unknown"]
    code: Annotated[str, Field(description="What the gateway answers when this is the first check that fails.")]
    has: str
    asked: str


class Explanation(BaseModel):
    """Every check in the order of the decision, also behind the first that fails."""

    model_config = _answers(
        {
            "code": "FORBIDDEN",
            "checks": [{"name": "core", "outcome": "fail", "code": "FORBIDDEN", "has": "docs", "asked": "billing"}],
            "decided_at": "2030-06-01T09:00:00Z",
        }
    )

    code: Annotated[str, Field(description="What the gateway would answer to whoever holds the token.")]
    checks: list[CheckView]
    decided_at: str


class PepperGeneration(BaseModel):
    generation: int
    held: Annotated[bool, Field(description="The console has its secret.")]
    keys: Annotated[int, Field(description="Keys stored under it; they move to the newest one when they are used.")]
    ids: Annotated[int, Field(description="Ids marked with it; without it, guesses cost look-ups, and nothing else.")]
    cores: Annotated[int, Field(description="Live Cores that would have to register anew without it.")]
    imported: Annotated[int, Field(description="Imported keys that are found with it alone; rotate them before it goes.")]
    signing: Annotated[int, Field(description="Signing secrets sealed under it; the console moves them by itself.")]
    removable: Annotated[bool, Field(description="Nothing needs it: it may be taken out of GATEHOUSE_PEPPER.")]


class PepperStatus(BaseModel):
    model_config = _answers(
        {
            "current": 2,
            "writing": 2,
            "generations": [
                {
                    "generation": 2,
                    "held": True,
                    "keys": 120,
                    "ids": 120,
                    "cores": 3,
                    "imported": 0,
                    "signing": 4,
                    "removable": False,
                }
            ],
        }
    )

    current: int
    writing: Annotated[int, Field(description="What new keys are stored under: the newest that every live gateway holds.")]
    generations: list[PepperGeneration]


def check_view(check: Check) -> CheckView:
    return CheckView(name=check.name, outcome=check.outcome.value, code=check.code.value, has=check.has, asked=check.asked)
