"""Parses keys and Cores in JSON files from other systems, and translates the field names
that these systems use.

Fields have the same bounds as in POST /v1/keys. Messages never repeat a token or a hash.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from gatehouse.core import imported_tokens, notation, token_scanner
from gatehouse.core.errors import BadRequest, Problem
from gatehouse.core.keys import key_fields
from gatehouse.core.origin import parse_origin
from gatehouse.core.token import parse
from gatehouse.features.keys.fields import KeySettings, Name, Scopes
from gatehouse.features.keys.schemas import Limits, check_fields
from gatehouse.features.transfer.file_formats import Entry
from gatehouse.platform.http.fields import CoreName, Environment
from gatehouse.platform.http.validation import strings, validate

#: Field names in other systems, by the field name in Gatehouse.
_NAMES: dict[str, tuple[str, ...]] = {
    "key": ("api_key", "apiKey", "token"),
    "hash": ("key_hash", "hashed_key"),
    "algorithm": ("alg", "hash_algorithm"),
    "name": ("label", "description"),
    "owner": ("user", "owner_id", "client", "email"),
    "scopes": ("permissions",),
    "cores": ("allowed_cores",),
    "addresses": ("allowed_ips",),
    "environment": ("env",),
    "created_at": ("created", "createdAt"),
    "expires_at": ("expires", "expiresAt", "expiry", "expiration"),
    "enabled": ("active", "is_active", "status"),
    "limits": ("rate_limit",),
    "url": ("ngrok_url",),
    "core_name": ("core",),
}
ALIASES = {alias: field for field, aliases in _NAMES.items() for alias in aliases}

_CORE_ALIASES = {"name": "core_name", "created_at": "updated_at"}

#: A string of at least this length without spaces may be a token.
_TOKEN_LIKE_CHARS = 16
_IMPORTED = key_fields(imported=True)
_ENABLED = ("true", "1", "yes", "active", "enabled")
_DISABLED = ("false", "0", "no", "inactive", "disabled", "revoked")

#: Larger numbers are interpreted as milliseconds. In seconds, this number is in the year 5138.
_MILLISECONDS_FROM = 1e11
_DATE_MESSAGE = 'must be a date such as "2031-01-01T00:00:00Z", or Unix seconds'

#: Fields from which the ID of an imported key without a token is derived.
_HASH_FIELDS = ("hash", "algorithm")


if TYPE_CHECKING:

    class _ImportedSettings(msgspec.Struct, frozen=True):
        """The fields of KeySettings that files from other systems can contain."""

else:
    _ImportedSettings = msgspec.defstruct(
        "_ImportedSettings",
        [
            (
                field.name,
                field.type,
                msgspec.field(default=field.default, default_factory=field.default_factory),
            )
            for field in msgspec.structs.fields(KeySettings)
            if field.name in _IMPORTED
        ],
        frozen=True,
        kw_only=True,
    )


class ImportedKey(_ImportedSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A key, identified by its token or by the SHA-256 hash of the token. Times are Unix seconds.
    None: the file does not specify the value.
    """

    key: str | None = None
    hash: Annotated[str, Meta(max_length=200)] | None = None
    algorithm: Literal["sha256"] = "sha256"
    name: Name = "imported key"
    environment: Environment | None = None
    scopes: Scopes | None = None
    limits: Limits | None = None
    created_at: float | None = None
    expires_at: float | None = None
    enabled: bool = True

    def __post_init__(self) -> None:
        if (self.key is None) == (self.hash is None):
            raise ValueError("requires either a key or a hash")
        if self.key is not None and not imported_tokens.is_token(self.key):
            raise ValueError(
                "has a key that is not 8 to 512 visible ASCII characters without a space"
            )
        if self.hash is not None:
            try:
                imported_tokens.read_hash(self.hash)
            except ValueError as exc:
                raise ValueError(f"has a hash that {exc}") from None
        if any(
            scope == "admin" or scope.startswith(("role:", "admin:")) for scope in self.scopes or ()
        ):
            raise ValueError("has a scope that manages keys; create such keys individually")

    def __repr__(self) -> str:
        return f"ImportedKey({self.name})"

    def material(self) -> str:
        """Returns the material from which the ID of the key is derived (see
        core/imported_tokens.py).
        """
        if self.key is not None:
            return imported_tokens.material(self.key)
        return imported_tokens.material_of_hash(imported_tokens.read_hash(self.hash or ""))


check_fields(ImportedKey, *_IMPORTED)


class ImportedCore(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """URL of a Core. The Core is identified by its name or by the token with which the Core
    registered.
    """

    url: Annotated[str, Meta(max_length=2000)]
    core_name: CoreName | None = None
    key: str | None = None
    updated_at: float | None = None

    def __post_init__(self) -> None:
        try:
            parse_origin(self.url.rstrip("/"))
        except ValueError as exc:
            raise ValueError(f"has a url that {exc}") from None
        if self.core_name is None and self.key is None:
            raise ValueError("requires the name of the Core or the key with which it registered")

    def __repr__(self) -> str:
        return f"ImportedCore({self.core_name})"

    def material(self) -> str | None:
        """Returns the material from which the ID of the registering key is derived, or None if the
        entry specifies no key.
        """
        return None if self.key is None else imported_tokens.material(self.key)


def members_of(
    entry: Entry, *, cores: bool = False, ignored: frozenset[str] = frozenset(), named: bool = False
) -> dict[str, Any] | None:
    """Converts an entry to an object with the field names of ImportedKey or ImportedCore. Returns
    None if the entry has the wrong type.

    named: True if the member names in a file of Cores are names of Cores and not tokens. The caller
        must specify `named`, because a token that is mistaken for a name would be visible to
        everyone.
    """
    value: Any = entry.value
    if isinstance(value, str):
        text_field = "url" if cores else "key" if entry.name is None else "name"
        value = {text_field: value}
    elif value is None and entry.name is not None and not cores:
        value = {}
    if not isinstance(value, dict):
        return None
    fields: dict[str, Any] = {}
    members: dict[str, Any] = value
    for name, item in members.items():
        if name in ignored or item is None:
            continue
        field = ALIASES.get(name, name)
        field = _CORE_ALIASES.get(field, field) if cores else field
        fields[field] = item
    if entry.name is not None:
        fields.setdefault("core_name" if cores and named else "key", entry.name)
    return fields


def materials_of(entry: Entry) -> set[str]:
    """All materials from which the ID of an entry may be derived, even if the entry is invalid.
    Used to find purged keys.
    """
    value = entry.value if isinstance(entry.value, dict) else {}
    tokens = {
        item
        for name, item in value.items()
        if isinstance(item, str) and ALIASES.get(name, name) == "key"
    }
    if entry.name is not None:
        tokens.add(entry.name)
    elif isinstance(entry.value, str):
        tokens.add(entry.value)
    materials = {
        imported_tokens.material(token) for token in tokens if imported_tokens.is_token(token)
    }
    fields = members_of(entry) or {}
    if "hash" in fields:
        with contextlib.suppress(BadRequest):
            hashed = {name: fields[name] for name in _HASH_FIELDS if name in fields}
            materials.add(validate(hashed, ImportedKey, "").material())
    return materials


def parse_entry(
    entry: Entry, *, cores: bool, ignored: frozenset[str], prefix: str, named: bool = False
) -> ImportedKey | ImportedCore | tuple[Problem, ...]:
    """Returns the key or Core in an entry, or the problems with the entry. `prefix`: token prefix
    of this deployment. Other
    parameters: see `members_of`."""
    fields = members_of(entry, cores=cores, ignored=ignored, named=named)
    if fields is None:
        shape = "a URL or an object" if cores else "a string or an object"
        return (Problem("", f"must be {shape}", "see docs/guides/migrate.md"),)
    if (
        not cores
        and entry.name is not None
        and isinstance(entry.value, str)
        and _may_be_token(entry.value)
    ):
        return (
            Problem(
                "",
                "is a pair of strings, and either may be the key",
                'write {"key": "...", "name": "..."}',
            ),
        )
    fields, problems = _normalized(fields)
    if problems:
        return problems
    try:
        row = validate(fields, ImportedCore, "") if cores else validate(fields, ImportedKey, "")
    except BadRequest as exc:
        return tuple(_problem(problem) for problem in exc.errors)
    if row.key is not None and parse(row.key, prefix) is not None:
        fix = "restore an export with gatehouse import --restore"
        return (Problem("key", "has the format of this deployment's own keys", fix),)
    return _tokens_in_text(row) or row


def _tokens_in_text(row: ImportedKey | ImportedCore) -> tuple[Problem, ...]:
    """Returns the problems with text that contains a token, because the text is stored
    unchanged.
    """
    if isinstance(row, ImportedCore):
        return ()
    fields = {
        name: value
        for name, value in msgspec.to_builtins(row).items()
        if name not in {"key", *_HASH_FIELDS}
    }
    texts = {
        name: " ".join(text for _, text in strings(value, name)) for name, value in fields.items()
    }
    if not _has_token("\n".join(texts.values()), row.key):
        return ()
    return tuple(
        Problem(name, "contains a token", "remove the token")
        for name, text in texts.items()
        if _has_token(text, row.key)
    )


def _has_token(text: str, key: str | None) -> bool:
    """True if the text contains the key of the row or any other token."""
    return (key is not None and key in text) or any(
        token_scanner.find(text.encode(), kinds=token_scanner.ALL_KINDS)
    )


def _normalized(fields: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[Problem, ...]]:
    """Returns the fields with normalized dates, limits and states, and the problems with values
    that cannot be normalized.
    """
    normalized, problems = dict(fields), []
    for name, normalize in _NORMALIZERS.items():
        if name in fields:
            try:
                normalized[name] = normalize(fields[name])
            except ValueError as exc:
                problems.append(Problem(name, str(exc)))
    return normalized, tuple(problems)


def _seconds(value: object) -> float:
    """Converts an RFC 3339 timestamp, a date without a time zone (UTC), Unix seconds or Unix
    milliseconds to Unix seconds. Raises ValueError."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(
                value / 1000 if value >= _MILLISECONDS_FROM else value, UTC
            ).timestamp()
        if isinstance(value, str):
            instant = datetime.fromisoformat(value)
            return (instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant).timestamp()
    except (ValueError, OverflowError, OSError):
        raise ValueError(_DATE_MESSAGE) from None
    raise ValueError(_DATE_MESSAGE)


def _limits(value: object) -> object:
    """Parses rate limits (see `notation.rate_limit`), several of these separated by spaces, or a
    list of objects. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        return value
    limits = [notation.rate_limit(part) for part in value.split()]
    if None in limits:
        raise ValueError('must be requests/seconds, such as "600/60" or "daily=10000/1d"')
    return limits


def _enabled(value: object) -> bool:
    text = str(value).lower() if isinstance(value, str | bool | int) else ""
    if text not in (*_ENABLED, *_DISABLED):
        raise ValueError("must be true or false")
    return text in _ENABLED


_NORMALIZERS: dict[str, Callable[[object], object]] = {
    "limits": _limits,
    "created_at": _seconds,
    "updated_at": _seconds,
    "expires_at": _seconds,
    "enabled": _enabled,
}


def _may_be_token(text: str) -> bool:
    """True for text that looks like a token. A token that is mistaken for a name would be stored in
    plain text.
    """
    return len(text) >= _TOKEN_LIKE_CHARS and imported_tokens.is_token(text)


def _problem(problem: Problem) -> Problem:
    """Returns the problem with the location and the fix that apply to an entry in a file."""
    location, fix = problem.location.removeprefix("."), problem.fix
    if problem.message == "is not a known field":
        fix = f"remove it, correct its name, or ignore it: --ignore {location[:20]}"
    elif not fix and location:
        fix = f"see the field {location} in docs/guides/migrate.md"
    return Problem(location, problem.message, fix)
