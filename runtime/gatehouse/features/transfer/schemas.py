"""Parses keys and Cores in JSON files from other systems, and translates the field names
that these systems use.

Fields have the same bounds as in POST /v1/keys. Messages never repeat a token or a hash.
"""

import contextlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from gatehouse.core import imported_tokens, notation, token_scanner
from gatehouse.core.errors import BadRequest, Problem
from gatehouse.core.keys import key_fields
from gatehouse.core.origin import parse_base_url
from gatehouse.core.token import parse
from gatehouse.features.keys.fields import KeySettings, Name, Scopes
from gatehouse.features.keys.schemas import Limits
from gatehouse.features.transfer.file_formats import Entry
from gatehouse.platform.web.fields import CoreName, Environment, Input
from gatehouse.platform.web.validation import invalid, strings, validate

_Row = TypeVar("_Row", bound=msgspec.Struct)

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
    "enabled": ("active", "is_active"),
    "limits": ("rate_limit",),
}
ALIASES = {alias: field for field, aliases in _NAMES.items() for alias in aliases}
CORE_ALIASES = {
    "name": "core_name",
    "core": "core_name",
    "ngrok_url": "url",
    **dict.fromkeys(_NAMES["key"], "key"),
}

#: A string of at least this length without spaces may be a token.
_TOKEN_LIKE_CHARS = 16
_DATE_MESSAGE = 'must be a date such as "2031-01-01T00:00:00Z", or Unix seconds'
_OWN_FIELDS = ("key", "hash", "algorithm", "enabled")


class ImportedKey(KeySettings, kw_only=True):
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


if {*ImportedKey.__struct_fields__} != {*_OWN_FIELDS, *key_fields(imported=True)}:
    raise TypeError("ImportedKey has other fields than core/keys.py declares for imports")


class ImportedCore(Input, kw_only=True):
    """URL of a Core. The Core is identified by its name or by the token with which the Core
    registered.
    """

    url: Annotated[str, Meta(max_length=2000)]
    core_name: CoreName | None = None
    key: str | None = None

    def __post_init__(self) -> None:
        try:
            parse_base_url(self.url.rstrip("/"))
        except ValueError as exc:
            raise ValueError(f"has a url that {exc}") from None
        if self.core_name is None and self.key is None:
            raise ValueError("requires the name of the Core or the key with which it registered")

    def __repr__(self) -> str:
        return f"ImportedCore({self.core_name})"


def materials_of(entry: Entry) -> set[str]:
    """All materials from which the ID of an entry may be derived, even if the entry is invalid.
    Used to find purged keys.
    """
    members = entry.value if isinstance(entry.value, dict) else {"key": entry.value}
    texts = [item for name, item in members.items() if ALIASES.get(name, name) in ("key", "hash")]
    materials = set[str]()
    for text in (entry.name, *texts):
        if not isinstance(text, str):
            continue
        if imported_tokens.is_token(text):
            materials.add(imported_tokens.material(text))
        with contextlib.suppress(ValueError):
            materials.add(imported_tokens.material_of_hash(imported_tokens.read_hash(text)))
    return materials


def parse_key(entry: Entry, ignored: frozenset[str], prefix: str) -> ImportedKey:
    """Returns the key in an entry. Raises BadRequest with the problems of the entry.

    ignored: names of members that are ignored. prefix: token prefix of this deployment.
    """
    value = entry.value
    if isinstance(value, str):
        if entry.name is not None and _may_be_token(value):
            message = "is a pair of strings, and either may be the key"
            raise invalid("", message, 'write {"key": "...", "name": "..."}')
        value = {"key" if entry.name is None else "name": value}
    elif value is None and entry.name is not None:
        value = {}
    fields = _fields(value, "a string or an object", ALIASES, ignored)
    if entry.name is not None:
        fields.setdefault("key", entry.name)
    row = _validated(_normalized(fields), ImportedKey)
    _check_token(row.key, prefix)
    _check_texts(row)
    return row


def parse_core(entry: Entry, ignored: frozenset[str], prefix: str, *, named: bool) -> ImportedCore:
    """Returns the Core in an entry. Raises BadRequest with the problems of the entry.

    named: True if the member names in the file are names of Cores and not tokens. The caller must
        specify `named`, because a token that is mistaken for a name would be visible to everyone.
    """
    value = {"url": entry.value} if isinstance(entry.value, str) else entry.value
    fields = _fields(value, "a URL or an object", CORE_ALIASES, ignored)
    if entry.name is not None:
        fields.setdefault("core_name" if named else "key", entry.name)
    row = _validated(fields, ImportedCore)
    _check_token(row.key, prefix)
    if row.key is None and not named:
        fix = "specify the key that registers the Core: --registered-by ID"
        raise invalid("key", "is missing", fix)
    return row


def _fields(
    value: object, shape: str, aliases: Mapping[str, str], ignored: frozenset[str]
) -> dict[str, Any]:
    """The members of an entry that are not ignored, with the field names of Gatehouse."""
    if not isinstance(value, dict):
        raise invalid("", f"must be {shape}", "see docs/guides/migrate.md")
    fields = dict[str, Any]()
    for name, item in value.items():
        if name not in ignored and item is not None:
            field = aliases.get(name, name)
            if field in fields:
                raise invalid(field, "is specified twice", f"ignore one of them: --ignore {name}")
            fields[field] = item
    return fields


def _validated(fields: dict[str, Any], shape: type[_Row]) -> _Row:
    try:
        return validate(fields, shape, "")
    except BadRequest as exc:
        raise BadRequest(errors=tuple(_problem(problem) for problem in exc.errors)) from None


def _check_token(token: str | None, prefix: str) -> None:
    if token is not None and parse(token, prefix) is not None:
        fix = "restore an export with gatehouse import --restore"
        raise invalid("key", "has the format of this deployment's own keys", fix)


def _check_texts(row: ImportedKey) -> None:
    """Rejects text that contains a token, because the text is stored unchanged."""
    fields = {
        name: value
        for name, value in msgspec.to_builtins(row).items()
        if name not in ("key", "hash", "algorithm")
    }
    texts = {
        name: " ".join(text for _, text in strings(value, name)) for name, value in fields.items()
    }
    if _has_token("\n".join(texts.values()), row.key):
        found = [name for name, text in texts.items() if _has_token(text, row.key)]
        problems = [Problem(name, "contains a token", "remove the token") for name in found]
        raise BadRequest(errors=tuple(problems))


def _has_token(text: str, key: str | None) -> bool:
    """True if the text contains the key of the row or any other token."""
    return (key is not None and key in text) or any(
        token_scanner.find(text.encode(), kinds=token_scanner.ALL_KINDS)
    )


def _normalized(fields: dict[str, Any]) -> dict[str, Any]:
    normalized, problems = dict(fields), []
    for name, normalize in _NORMALIZERS.items():
        if name in fields:
            try:
                normalized[name] = normalize(fields[name])
            except ValueError as exc:
                problems.append(Problem(name, str(exc)))
    if problems:
        raise BadRequest(errors=tuple(problems))
    return normalized


def _seconds(value: object) -> float:
    """Converts an RFC 3339 timestamp, a date without a time zone (UTC) or Unix seconds to Unix
    seconds. Raises ValueError."""
    try:
        if isinstance(value, str):
            instant = datetime.fromisoformat(value)
            value = (instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant).timestamp()
        # The instant may be outside of the years 1 to 9999 in UTC, which the database cannot store.
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC).timestamp()
    except (ValueError, OverflowError, OSError):
        pass
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


_NORMALIZERS: dict[str, Callable[[object], object]] = {
    "limits": _limits,
    "created_at": _seconds,
    "expires_at": _seconds,
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
