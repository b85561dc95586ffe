"""The JSON shapes of what is done to a key after it was made: change, rotate, delete, purge, explain."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic.config import JsonDict

from gatehouse.core.decide import Check
from gatehouse.core.lifecycle import GRACE_S_DEFAULT, GRACE_S_MAX
from gatehouse.wire.key import KeyView
from gatehouse.wire.key_parts import (
    EXAMPLE_KEY,
    SCOPES_MAX,
    TTL_S_MAX,
    Addresses,
    Core,
    Cores,
    CreditsWish,
    Instant,
    Limits,
    Metadata,
    Method,
    Methods,
    Name,
    Notes,
    Owner,
    Reason,
    Roles,
    Scope,
    Scopes,
    Tags,
)

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
    credits: CreditsWish | None = None
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


class Because(BaseModel):
    """Why; kept in the audit trail."""

    model_config = _config({"reason": "the customer paid again"})

    reason: Reason = ""


class StopKey(Because):
    """Why; kept in the audit trail. The last key that can manage keys is not stopped by accident."""

    model_config = _config({"reason": "not needed over the winter"})

    allow_last_admin: Annotated[bool, Field(description="Stop even the last key that can manage keys.")] = False


class PurgeKey(Because):
    """`confirm` repeats the id of the key: there is no way back."""

    model_config = _config({"confirm": "3fGh82kLmQ0a", "reason": "the owner asked to be forgotten"})

    confirm: Annotated[str, Field(max_length=12)]


class RotateKey(Because):
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
