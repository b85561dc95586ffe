"""The JSON shapes of keys: what may be asked for, bounded, and what is answered."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gatehouse.store.ports import StoredKey
from gatehouse.types import OWN_SCHEME
from gatehouse.wire.key_parts import (
    CORES_MAX,
    EXAMPLE_KEY,
    EXAMPLE_LIMIT,
    LIMITS_MAX,
    NAME_CHARS_MAX,
    SCOPES_MAX,
    TTL_S_MAX,
    Addresses,
    Core,
    CreditsWish,
    Instant,
    LimitWish,
    Metadata,
    Methods,
    Name,
    Notes,
    Owner,
    Reason,
    Roles,
    Scope,
    Tags,
    distinct,
    rfc3339,
)

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
        list[LimitWish] | None, Field(min_length=1, max_length=LIMITS_MAX, description="Default: this deployment's.")
    ] = None
    expires_at: Annotated[Instant | None, Field(description="RFC 3339, at most ten years ahead.")] = None
    ttl_s: Annotated[int | None, Field(ge=1, le=TTL_S_MAX, description="Seconds from now, instead of expires_at.")] = None
    credits: CreditsWish | None = None
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
    lineage_id: Annotated[str | None, Field(max_length=12, description="All generations of one key.")] = None
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
    lineage_id: Annotated[str, Field(description="Id of the first generation. Limits and credits are counted under it.")]
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


def key_view(key: StoredKey, prefix: str) -> KeyView:
    """`prefix`: the brand of this deployment's keys."""
    record, plan = key.record, key.credits
    refill = None
    if plan is not None and plan.refill_amount is not None:
        refill = RefillView.model_validate({"amount": plan.refill_amount, "every": plan.refill_every})
    return KeyView(
        id=record.id,
        name=record.name,
        owner=record.owner,
        environment=record.environment.value,
        state=record.state.value,
        scopes=list(key.own_scopes),
        cores=list(record.cores),
        limits=[
            LimitView(name=one.name, quota=one.quota, window_s=one.window_s, burst=one.burst, cost=one.cost)
            for one in record.limits
        ],
        roles=list(key.roles),
        methods=list(record.methods),
        addresses=list(record.addresses),
        credits=None if plan is None else CreditsView(remaining=plan.remaining, refill=refill),
        signing=None
        if record.signing is None
        else SigningView(algorithm=record.signing.algorithm.value, required=record.signing.required),
        tags=list(key.tags),
        metadata=key.metadata,
        notes=key.notes,
        version=record.version,
        lineage_id=record.subject,
        generation=key.generation,
        successor_id=key.successor_id,
        rotated_at=_maybe(key.rotated_at),
        last_used_at=_maybe(key.last_used_at),
        expires_at=_maybe(record.expires_at),
        created_at=rfc3339(key.created_at),
        created_by=key.created_by,
        revoked_at=_maybe(key.revoked_at),
        revoked_by=key.revoked_by,
        revoke_reason=key.revoke_reason,
        deleted_at=_maybe(key.deleted_at),
        deleted_by=key.deleted_by,
        purged_at=_maybe(key.purged_at),
        scheme=record.scheme,
        start=f"{prefix}_{record.environment.value}_{record.id}" if record.scheme == OWN_SCHEME else "",
    )


def etag(key: StoredKey) -> str:
    """The version as a strong entity tag (RFC 9110, section 8.8.3)."""
    return f'"{key.record.version}"'


def _maybe(instant: float | None) -> str | None:
    return None if instant is None else rfc3339(instant)
