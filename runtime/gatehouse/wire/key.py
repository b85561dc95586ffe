"""The JSON shapes of keys: what may be asked for, bounded, and what is answered. Text is checked here, once."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from gatehouse.store.ports import StoredKey
from gatehouse.types import Limit

NAME_CHARS_MAX = 100
REASON_CHARS_MAX = 300
SCOPES_MAX = 50
CORES_MAX = 50
LIMITS_MAX = 10
QUOTA_MAX = 1_000_000_000
WINDOW_S_MAX = 31 * 86_400
TTL_S_MAX = 10 * 365 * 86_400
DEFAULT_SCOPES = ("cores:read",)

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)
_EXAMPLE_LIMIT: JsonDict = {"name": "requests", "quota": 600, "window_s": 60, "burst": 100}
_EXAMPLE_KEY: JsonDict = {
    "id": "3fGh82kLmQ0a",
    "name": "invoices, nightly export",
    "owner": "billing",
    "environment": "test",
    "state": "active",
    "scopes": ["cores:read"],
    "cores": ["docs"],
    "limits": [_EXAMPLE_LIMIT],
    "expires_at": "2031-01-01T00:00:00Z",
    "created_at": "2030-01-01T09:30:00.123456Z",
    "created_by": "bootstrap",
    "revoked_at": None,
    "revoked_by": None,
    "revoke_reason": None,
    "start": "gtk_test_3fGh82kLmQ0a",
}


def _text(value: str) -> str:
    if value != value.strip():
        raise ValueError("must not begin or end with a space")
    if not value.isprintable():
        raise ValueError("must not hold control characters or invisible characters")
    return value


def _distinct(values: list[Any]) -> list[Any]:
    if len(set(values)) != len(values):
        raise ValueError("must not name anything twice")
    return values


def _instant(value: object) -> object:
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise ValueError('must be an RFC 3339 date with a time zone, such as "2031-01-01T00:00:00Z"')
    try:
        return datetime.fromisoformat(_fraction(value.upper()))
    except ValueError:
        raise ValueError("is not a date that exists") from None


def _fraction(value: str) -> str:
    """Cuts nanoseconds to microseconds, the precision that is stored."""
    return re.sub(r"(\.\d{6})\d+", r"\1", value)


Name = Annotated[str, Field(min_length=1, max_length=NAME_CHARS_MAX), AfterValidator(_text)]
Owner = Annotated[str, Field(max_length=NAME_CHARS_MAX), AfterValidator(_text)]
Reason = Annotated[str, Field(max_length=REASON_CHARS_MAX), AfterValidator(_text)]
Scope = Annotated[str, Field(pattern=r"^[a-z0-9:_.*-]{1,64}$")]
Core = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")]
Instant = Annotated[datetime, BeforeValidator(_instant)]

_strict = ConfigDict(extra="forbid", strict=True, frozen=True)


class LimitWish(BaseModel):
    """`quota` requests per `window_s` seconds, of which `burst` (default: all of them) may come at once."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, json_schema_extra={"examples": [_EXAMPLE_LIMIT]})

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.-]{0,63}$", description="Seen by clients in the RateLimit header.")]
    quota: Annotated[int, Field(ge=1, le=QUOTA_MAX)]
    window_s: Annotated[int, Field(ge=1, le=WINDOW_S_MAX, description="Seconds, up to 31 days.")]
    burst: Annotated[int | None, Field(ge=1, le=QUOTA_MAX)] = None

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.burst is not None and self.burst > self.quota:
            raise ValueError("burst must not be larger than quota")
        return self

    def limit(self) -> Limit:
        return Limit(name=self.name, quota=self.quota, window_s=self.window_s, burst=self.burst or self.quota)


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
                    "limits": [_EXAMPLE_LIMIT],
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
    scopes: Annotated[list[Scope] | None, Field(max_length=SCOPES_MAX, description='Default: ["cores:read"].')] = None
    cores: Annotated[list[Core], Field(max_length=CORES_MAX)] = []
    limits: Annotated[
        list[LimitWish] | None, Field(min_length=1, max_length=LIMITS_MAX, description="Default: this deployment's.")
    ] = None
    expires_at: Annotated[Instant | None, Field(description="RFC 3339, at most ten years ahead.")] = None
    ttl_s: Annotated[int | None, Field(ge=1, le=TTL_S_MAX, description="Seconds from now, instead of expires_at.")] = None

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.expires_at is not None and self.ttl_s is not None:
            raise ValueError("expires_at and ttl_s exclude each other; send one of them")
        _distinct(self.scopes or [])
        _distinct(self.cores)
        _distinct([limit.name for limit in self.limits or []])
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
        Literal["active", "disabled", "revoked", "expired"] | None,
        Field(description="`active` leaves expired keys out."),
    ] = None
    cursor: Annotated[str | None, Field(max_length=512, description="`next_cursor` of the page before.")] = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class LimitView(BaseModel):
    name: str
    quota: int
    window_s: int
    burst: int


class KeyView(BaseModel):
    """A key as its managers see it; what verifies it stays inside."""

    model_config = ConfigDict(frozen=True, json_schema_extra={"examples": [_EXAMPLE_KEY]})

    id: str
    name: str
    owner: str
    environment: Literal["test", "live"]
    state: Literal["active", "disabled", "revoked"]
    scopes: list[str]
    cores: list[str]
    limits: list[LimitView]
    expires_at: str | None
    created_at: str
    created_by: str
    revoked_at: str | None
    revoked_by: str | None
    revoke_reason: str | None
    start: Annotated[str, Field(description="The beginning of the token, to recognise it by.")]


class CreatedKey(BaseModel):
    """The token is in this answer and nowhere else, ever."""

    model_config = ConfigDict(
        frozen=True, json_schema_extra={"examples": [{"token": "gtk_test_3fGh82kLmQ0a...", "key": _EXAMPLE_KEY}]}
    )

    token: str
    key: KeyView


class KeyPage(BaseModel):
    keys: list[KeyView]
    next_cursor: str | None


class RevokedKey(BaseModel):
    key: KeyView
    effective: Annotated[
        Literal["everywhere", "within_bound"],
        Field(description="`everywhere`: every live gate has confirmed it. `within_bound`: it holds within the staleness bound."),
    ]


def key_view(key: StoredKey, prefix: str) -> KeyView:
    """`prefix`: the brand of this deployment's keys."""
    record = key.record
    return KeyView(
        id=record.id,
        name=record.name,
        owner=record.owner,
        environment=record.environment.value,
        state=record.state.value,
        scopes=list(record.scopes),
        cores=list(record.cores),
        limits=[LimitView(name=one.name, quota=one.quota, window_s=one.window_s, burst=one.burst) for one in record.limits],
        expires_at=None if record.expires_at is None else rfc3339(record.expires_at),
        created_at=rfc3339(key.created_at),
        created_by=key.created_by,
        revoked_at=None if key.revoked_at is None else rfc3339(key.revoked_at),
        revoked_by=key.revoked_by,
        revoke_reason=key.revoke_reason,
        start=f"{prefix}_{record.environment.value}_{record.id}",
    )


def rfc3339(instant: float) -> str:
    """Unix seconds as `2031-01-01T00:00:00.123456Z`; the fraction is left out when it is zero."""
    return datetime.fromtimestamp(round(instant * 1_000_000) // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + (
        f".{micros:06d}Z" if (micros := round(instant * 1_000_000) % 1_000_000) else "Z"
    )
