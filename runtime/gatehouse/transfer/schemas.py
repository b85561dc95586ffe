"""One key from elsewhere: what an entry of an old file or a row of CSV may say, under the names that such files use.

Every text is checked by the rules of POST /v1/keys. Messages never repeat a token or a hash."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from gatehouse.cores.origins import parse_origin
from gatehouse.crypto.token import parse
from gatehouse.errors import Problem
from gatehouse.keys.models import KeyEnvironment
from gatehouse.keys.schemas import Addresses, Core, Cores, Limits, Metadata, Methods, Name, Notes, Owner, Scopes, Tags
from gatehouse.transfer.legacy_files import Entry
from gatehouse.transfer.models import CoreRow, KeyRow
from gatehouse.verification import imported_tokens

#: What older deployments called it -> what it is called here.
ALIASES: dict[str, str] = {
    "api_key": "key",
    "apiKey": "key",
    "token": "key",
    "key_hash": "hash",
    "hashed_key": "hash",
    "alg": "algorithm",
    "hash_algorithm": "algorithm",
    "key_id": "id",
    "label": "name",
    "description": "name",
    "user": "owner",
    "owner_id": "owner",
    "client": "owner",
    "email": "owner",
    "permissions": "scopes",
    "allowed_cores": "cores",
    "allowed_ips": "addresses",
    "env": "environment",
    "created": "created_at",
    "createdAt": "created_at",
    "expires": "expires_at",
    "expiresAt": "expires_at",
    "expiry": "expires_at",
    "expiration": "expires_at",
    "active": "enabled",
    "is_active": "enabled",
    "status": "enabled",
    "rate_limit": "limits",
    "ngrok_url": "url",
    "core": "core_name",
}


#: From this length on, a text without a space is taken for a key where it could be one.
_TOKEN_LIKE_CHARS = 16


_LISTS = frozenset({"scopes", "cores", "addresses", "methods", "tags"})


_LIMIT = re.compile(r"(?:([a-z][a-z0-9_.-]{0,63})=)?(\d{1,9})(?:/(\d{1,7})(s|m|h|d)?)?")


_UNITS_S = {None: 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


_ENABLED = {"true": True, "1": True, "yes": True, "active": True, "enabled": True, True: True}


_DISABLED = {"false": True, "0": True, "no": True, "inactive": True, "disabled": True, "revoked": True, False: True}


#: Larger numbers are milliseconds: as seconds it would be the year 5138.
_MILLISECONDS_FROM = 1e11


def _instant(value: object) -> object:
    """RFC 3339, a date without a zone (UTC then, as Python's isoformat writes it), Unix seconds or milliseconds."""
    if isinstance(value, str) and re.fullmatch(r"\d{9,14}(\.\d+)?", value):
        value = float(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return datetime.fromtimestamp(value / 1000 if value >= _MILLISECONDS_FROM else value, UTC)
        except (ValueError, OverflowError, OSError):
            raise ValueError("is no date") from None
    if isinstance(value, str):
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError('must be a date such as "2031-01-01T00:00:00Z", or Unix seconds') from None
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found
    raise ValueError('must be a date such as "2031-01-01T00:00:00Z", or Unix seconds')


def _limits(value: object) -> object:
    """`600` (a minute), `600/60`, `daily=10000/1d`, several with spaces between; or the list of POST /v1/keys."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        return value
    found = []
    for part in value.split():
        match = _LIMIT.fullmatch(part)
        if match is None:
            raise ValueError('must be requests/seconds, such as "600/60" or "daily=10000/1d"')
        window_s = int(match[3]) * _UNITS_S[match[4]] if match[3] else 60
        found.append({"name": match[1] or "requests", "quota": int(match[2]), "window_s": window_s})
    return found


def _enabled(value: object) -> object:
    told = value.lower() if isinstance(value, str) else value
    if isinstance(told, str | bool | int) and (told in _ENABLED or told in _DISABLED):
        return told in _ENABLED
    raise ValueError("must be true or false")


When = Annotated[datetime, BeforeValidator(_instant)]


class ImportedKey(BaseModel):
    """A key by its token, or by its hash."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: Annotated[str | None, Field(repr=False)] = None
    hash: Annotated[str | None, Field(max_length=200, repr=False)] = None
    algorithm: Literal["sha256", "sha512", "bcrypt"] | None = None
    hash_of: Literal["token", "secret"] = "token"
    id: Annotated[str | None, Field(max_length=200, repr=False)] = None
    name: Name = "imported key"
    owner: Owner = ""
    environment: Literal["test", "live"] | None = None
    scopes: Scopes | None = None
    cores: Cores = []
    limits: Annotated[Limits | None, BeforeValidator(_limits)] = None
    methods: Methods = []
    addresses: Addresses = []
    tags: Tags = []
    metadata: Metadata = {}
    notes: Notes = ""
    created_at: When | None = None
    expires_at: When | None = None
    enabled: Annotated[bool, BeforeValidator(_enabled)] = True

    @model_validator(mode="after")
    def _together(self) -> Self:
        if (self.key is None) == (self.hash is None):
            raise ValueError("needs either a key or a hash")
        if self.key is not None and not imported_tokens.is_token(self.key):
            raise ValueError("has a key that is not 8 to 512 visible ASCII characters without a space")
        if self.hash is not None:
            if self.algorithm is None:
                raise ValueError("has a hash without its algorithm: sha256, sha512 or bcrypt")
            read = imported_tokens.read_hash(self.algorithm, self.hash)
            if isinstance(read, str):
                raise ValueError(f"has a hash that {read}")
            if self.algorithm == "bcrypt" and (self.id is None or not imported_tokens.is_id(self.id)):
                raise ValueError("has a bcrypt hash without the id that stands before the separator in its token")
        if any(scope == "admin" or scope.startswith(("role:", "admin:")) for scope in self.scopes or ()):
            raise ValueError("would manage Gatehouse; make such keys with gatehouse keys create")
        return self

    @property
    def scheme(self) -> str:
        if self.key is not None:
            return "sha256"
        return f"{self.algorithm}{'-secret' if self.hash_of == 'secret' else ''}"

    def locator(self) -> str:
        """What its id is derived from (verification/imported_tokens.py)."""
        if self.key is not None:
            return imported_tokens.material(self.scheme, self.key)
        if self.algorithm == "bcrypt":
            return imported_tokens.locator_of_id(self.scheme, self.id or "")
        return imported_tokens.material_of_hash(self.scheme, self.hash_bytes())

    def row(self) -> KeyRow:
        return KeyRow(
            locator=self.locator(),
            scheme=self.scheme,
            hashed=self.hash_bytes() if self.algorithm == "bcrypt" else None,
            name=self.name,
            owner=self.owner,
            environment=None if self.environment is None else KeyEnvironment(self.environment),
            scopes=None if self.scopes is None else tuple(self.scopes),
            cores=tuple(self.cores),
            limits=None if self.limits is None else tuple(one.limit() for one in self.limits),
            methods=tuple(self.methods),
            addresses=tuple(self.addresses),
            tags=tuple(self.tags),
            metadata=self.metadata,
            notes=self.notes,
            created_at=None if self.created_at is None else self.created_at.timestamp(),
            expires_at=None if self.expires_at is None else self.expires_at.timestamp(),
            enabled=self.enabled,
        )

    def hash_bytes(self) -> bytes:
        read = imported_tokens.read_hash(self.algorithm or "", self.hash or "")
        return read if isinstance(read, bytes) else b""


class ImportedCore(BaseModel):
    """Where a Core was: by the name of the Core, or by the token of the key that it registered with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Annotated[str, Field(max_length=2000)]
    core_name: Core | None = None
    key: Annotated[str | None, Field(repr=False)] = None
    updated_at: When | None = None

    @model_validator(mode="after")
    def _together(self) -> Self:
        wrong = parse_origin(self.url.rstrip("/"))
        if isinstance(wrong, str):
            raise ValueError(f"has a url that {wrong}")
        if self.core_name is None and self.key is None:
            raise ValueError("needs the name of the Core or the key that it registered with")
        return self

    def row(self) -> CoreRow:
        place = None if self.key is None else imported_tokens.material("sha256", self.key)
        return CoreRow(self.url.rstrip("/"), self.core_name, place)


def members(entry: Entry, ignored: frozenset[str]) -> dict[str, Any] | None:
    """An entry as one object under our names; None when it is neither text nor an object. Ignored members are left out."""
    value: Any = entry.value
    if value is None and entry.name is not None:
        value = {}
    if isinstance(value, str):
        value = {("key" if entry.name is None else "name"): value}
    if not isinstance(value, dict):
        return None
    found: dict[str, Any] = {}
    for name, item in value.items():
        if name in ignored or item is None:
            continue
        ours = _ours(name)
        found[ours] = item.split() if ours in _LISTS and isinstance(item, str) else item
    if entry.name is not None:
        found.setdefault("key", entry.name)
    return found


def core_members(entry: Entry, ignored: frozenset[str], *, named: bool) -> dict[str, Any] | None:
    """The same for an entry of ngrok_urls.json. `named`: its members are named by Cores, not by their keys.

    It is not guessed: a key that was taken for a name would be shown to everybody.
    """
    value: Any = entry.value
    if isinstance(value, str):
        value = {"url": value}
    if not isinstance(value, dict):
        return None
    found = {
        {"name": "core_name", "created_at": "updated_at"}.get(ours, ours): item
        for name, item in value.items()
        if name not in ignored and item is not None
        for ours in (_ours(name),)
    }
    if entry.name is not None:
        found.setdefault("core_name" if named else "key", entry.name)
    return found


def _ours(name: str) -> str:
    return ALIASES.get(name, name)


def locators_of(entry: Entry) -> set[str]:
    """Everything that an id may be derived from for an entry of either file, well-formed or not: what a purge looks for."""
    texts = {entry.name} if entry.name is not None else set()
    found: set[str] = set()
    value = entry.value if isinstance(entry.value, dict) else {}
    texts |= {item for name, item in value.items() if isinstance(item, str) and _ours(name) == "key"}
    if isinstance(entry.value, str) and entry.name is None:
        texts.add(entry.value)
    for token in texts:
        if token and imported_tokens.is_token(token):
            found |= {
                place for scheme in imported_tokens.SCHEMES if (place := imported_tokens.locator(scheme, token)) is not None
            }
    row = members(entry, frozenset())
    if row is not None and "hash" in row:
        try:
            found.add(ImportedKey.model_validate({name: row[name] for name in _PLACE if name in row}).locator())
        except ValidationError:
            return found
    return found


_PLACE = ("hash", "algorithm", "hash_of", "id")


def parser(
    *, cores: bool, ignored: frozenset[str], prefix: str, named: bool = False
) -> Callable[[Entry], KeyRow | CoreRow | tuple[Problem, ...]]:
    """Makes an entry a checked row, or says what is wrong. `prefix`: of this deployment's own keys; named: see `core_members`."""

    def parse_entry(entry: Entry) -> KeyRow | CoreRow | tuple[Problem, ...]:
        found = core_members(entry, ignored, named=named) if cores else members(entry, ignored)
        if found is None:
            shape = "a URL or an object" if cores else "a text or an object"
            return (Problem("", f"must be {shape}", "see docs/guides/migrate.md"),)
        if not cores and entry.name is not None and isinstance(entry.value, str) and _may_be_token(entry.value):
            return (Problem("", "is a pair of texts, and either may be the key", 'write {"key": "...", "name": "..."}'),)
        try:
            row = ImportedCore.model_validate(found) if cores else ImportedKey.model_validate(found)
        except ValidationError as exc:
            return tuple(_problem(error) for error in exc.errors(include_input=False, include_url=False))
        if row.key is not None and parse(row.key, prefix) is not None:
            return (Problem("key", "has the format of this deployment's own keys", "restore an export with --restore"),)
        return row.row()

    return parse_entry


def _may_be_token(text: str) -> bool:
    """A key that was taken for a name would be stored in clear."""
    return len(text) >= _TOKEN_LIKE_CHARS and imported_tokens.is_token(text)


def _problem(error: Any) -> Problem:
    """One of pydantic's errors as a problem, without the value that was sent."""
    kind, where = str(error["type"]), ".".join(str(part) for part in error["loc"])
    if kind == "extra_forbidden":
        return Problem(where[:20], "is not known here", f"remove it, correct its name, or add --ignore {where[:20]}")
    text = str(error["msg"]).removeprefix("Value error, ")
    fix = "" if kind == "value_error" else f"see the field {where} in docs/guides/migrate.md" if where else ""
    return Problem(where, text[0].lower() + text[1:], fix)
