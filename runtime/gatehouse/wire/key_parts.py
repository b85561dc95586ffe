"""What keys are made of in JSON: texts, names, networks, limits and credits, each with its bounds. Text is checked here, once."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from gatehouse.core.addresses import network
from gatehouse.core.roles import ROLES
from gatehouse.types import CreditPlan, Limit

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
    "lineage_id": "3fGh82kLmQ0a",
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


class LimitWish(BaseModel):
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

    def limit(self) -> Limit:
        return Limit(name=self.name, quota=self.quota, window_s=self.window_s, burst=self.burst or self.quota, cost=self.cost)


class Refill(BaseModel):
    """At the begin of every such period (UTC) the purse holds at least `amount` again; what is left over does not add up."""

    model_config = _strict

    amount: Annotated[int, Field(ge=1, le=CREDITS_MAX)]
    every: Literal["hour", "day", "week", "month"]


class CreditsWish(BaseModel):
    """What the key may still spend, counted exactly, over all generations of the key. A request costs its `cost`."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, json_schema_extra={"examples": [_EXAMPLE_CREDITS]})

    remaining: Annotated[int, Field(ge=0, le=CREDITS_MAX)]
    refill: Refill | None = None

    def plan(self) -> CreditPlan:
        refill = self.refill
        return CreditPlan(self.remaining, *((refill.amount, refill.every) if refill else (None, None)))


def distinct_names(limits: list[LimitWish]) -> list[LimitWish]:
    """Raises ValueError when two limits have one name."""
    distinct([limit.name for limit in limits])
    return limits


Limits = Annotated[list[LimitWish], Field(min_length=1, max_length=LIMITS_MAX), AfterValidator(distinct_names)]


def rfc3339(instant: float) -> str:
    """Unix seconds as `2031-01-01T00:00:00.123456Z`; the fraction is left out when it is zero."""
    return datetime.fromtimestamp(round(instant * 1_000_000) // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + (
        f".{micros:06d}Z" if (micros := round(instant * 1_000_000) % 1_000_000) else "Z"
    )
