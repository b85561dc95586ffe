"""Parses the entries of files from other systems. Fields have the same bounds as in POST /v1/keys.
Any value can be text, because all values of a CSV file are. Messages never repeat a token.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import msgspec

from gatehouse.core import customers, notation
from gatehouse.core.errors import BadRequest, Problem
from gatehouse.core.http.origin import parse_base_url
from gatehouse.core.keys import key_fields
from gatehouse.core.tokens import imported_tokens, token_scanner
from gatehouse.core.tokens.token import parse
from gatehouse.features.keys.fields import KeySettings, Name, Scopes, Ttl
from gatehouse.features.keys.schemas import Limits
from gatehouse.features.transfer.file_formats import ALIASES, HASH, TOKEN, Entry
from gatehouse.platform.web.fields import CoreName, Environment, Input
from gatehouse.platform.web.validation import (
    array_fields,
    invalid,
    json_value,
    strings,
    unchanged,
    validate,
)

_Row = TypeVar("_Row", bound=msgspec.Struct)

_GUIDE = "see docs/guides/migrate.md"
#: Of a template, such as `${PARTNER_KEY}` or `{vault://env/partner-key}`.
_PLACEHOLDER = re.compile(r"\$?\{.*\}")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_DATE_MESSAGE = 'must be a date such as "2031-01-01T00:00:00Z", or Unix seconds'


class ImportedKey(KeySettings, kw_only=True):
    """The attributes of a key. Times are Unix seconds. None: the file does not specify a value.
    customer_name: of a customer that the import creates. ttl_s: from the import, instead of
    `expires_at`.
    """

    name: Name = "imported key"
    customer_name: Name | None = None
    environment: Environment | None = None
    scopes: Scopes | None = None
    limits: Limits | None = None
    created_at: float | None = None
    expires_at: float | None = None
    ttl_s: Ttl | None = None
    enabled: bool = True

    def __post_init__(self) -> None:
        if any(
            scope == "admin" or scope.startswith(("role:", "admin:")) for scope in self.scopes or ()
        ):
            raise ValueError("has a scope that manages keys; create such keys individually")
        if self.expires_at is not None and self.ttl_s is not None:
            raise ValueError("has expires_at and ttl_s, which are mutually exclusive")
        if self.customer_id and self.plan:
            raise ValueError(customers.BOTH)


_OWN_FIELDS = {"enabled", "customer_name", "ttl_s"}
if {*ImportedKey.__struct_fields__} != _OWN_FIELDS | {*key_fields(imported=True)}:
    raise TypeError("ImportedKey has other fields than core/keys.py declares for imports")

#: Beginning of the token, by which people recognize the key. Becomes part of the metadata.
_PREFIX = "prefix"

COLUMNS = frozenset([*ImportedKey.__struct_fields__, *ALIASES, _PREFIX])


class ImportedCore(Input, kw_only=True):
    """URL of a Core, and its name if the file contains names."""

    url: Annotated[str, unchanged(max_length=2000)]
    core_name: CoreName | None = None

    def __post_init__(self) -> None:
        try:
            parse_base_url(self.url.rstrip("/"))
        except ValueError as exc:
            raise ValueError(f"has a url that {exc}") from None


def parse_key(entry: Entry, ignored: frozenset[str], prefix: str) -> tuple[ImportedKey, str]:
    """Return the attributes of a key, whose token or hash is the name of the entry. Raises
    BadRequest with the problems of the entry.

    ignored: names of members that are ignored. prefix: token prefix of this deployment.
    """
    if entry.problem:
        raise invalid("", entry.problem, "")
    material = _material(entry, prefix)
    value = {} if entry.value is None else entry.value
    if not isinstance(value, dict):
        raise invalid("", "must be an object", _GUIDE)
    fields = dict[str, Any]()
    for name, item in value.items():
        if name not in ignored and item is not None:
            field = ALIASES.get(name, name)
            if field in fields:
                raise invalid(field, "is specified twice", f"ignore one of them: --ignore {name}")
            fields[field] = item
    if isinstance(name := fields.get("customer_id"), str) and name:
        fields = {"customer_name": name, **fields}
    row = _validated(_normalized(fields), ImportedKey)
    _check_texts(row, entry.name, material if entry.hashed else "")
    return row, material


def parse_core(entry: Entry, prefix: str, *, named: bool) -> ImportedCore:
    """Return the Core in an entry. Raises BadRequest with the problems of the entry.

    named: True if the names of the entries are names of Cores and not tokens. The caller must
        specify `named`, because a token that is mistaken for a name would be visible to everyone.
    """
    if not isinstance(entry.value, str):
        raise invalid("", "must be a URL", _GUIDE)
    if not named:
        _material(entry, prefix)
    name = {"core_name": entry.name} if named else {}
    return _validated({"url": entry.value, **name}, ImportedCore)


def _validated(fields: dict[str, Any], shape: type[_Row]) -> _Row:
    try:
        return validate(fields, shape, "", strict=False)
    except BadRequest as exc:
        raise BadRequest(errors=tuple(_problem(problem) for problem in exc.errors)) from None


def _material(entry: Entry, prefix: str) -> str:
    if entry.hashed:
        material = imported_tokens.hash_material(entry.name)
        if material is None:
            message = "is not a SHA-256 hash"
            raise invalid(HASH, message, "64 hexadecimal digits, or base64 of 32 bytes")
        return material
    if not imported_tokens.is_token(entry.name):
        raise invalid(TOKEN, "is not 8 to 512 visible ASCII characters without a space", "")
    if parse(entry.name, prefix) is not None:
        fix = "restore an export with gatehouse import --restore"
        raise invalid(TOKEN, "has the format of this deployment's own tokens", fix)
    if _PLACEHOLDER.fullmatch(entry.name):
        fix = "replace the variable by its value"
        raise invalid(TOKEN, "is the name of a variable, which others can guess", fix)
    return imported_tokens.material(entry.name)


def _check_texts(row: ImportedKey, token: str, material: str) -> None:
    """Reject text that contains a token, because the text is stored unchanged. material: of the
    token, if `token` is its hash.
    """
    texts = {
        name: " ".join(text for _, text in strings(value, name))
        for name, value in msgspec.to_builtins(row).items()
    }
    if _has_token("\n".join(texts.values()), token, material):
        found = [name for name, text in texts.items() if _has_token(text, token, material)]
        problems = [Problem(name, "contains a token", "remove the token") for name in found]
        raise BadRequest(errors=tuple(problems))


def _has_token(text: str, token: str, material: str) -> bool:
    """True if the text contains the token of the row, its hash or any other token."""
    return (
        token in text
        or any(token_scanner.find(text.encode(), kinds=token_scanner.ALL_KINDS))
        or (material != "" and material in map(imported_tokens.material, text.split()))
    )


def _normalized(fields: dict[str, Any]) -> dict[str, Any]:
    normalized, problems = dict(fields), []
    for name, normalize in _NORMALIZERS.items():
        if name in fields:
            try:
                normalized[name] = normalize(fields[name])
            except UnicodeEncodeError:
                problems.append(Problem(name, "contains an unpaired surrogate"))
            except ValueError as exc:
                problems.append(Problem(name, str(exc)))
    if problems:
        raise BadRequest(errors=tuple(problems))
    beginning = normalized.pop(_PREFIX, None)
    metadata = normalized.get("metadata", {})
    if beginning is not None and isinstance(metadata, dict):
        normalized["metadata"] = {**metadata, _PREFIX: beginning}
    return normalized


def _seconds(value: object) -> float:
    """Convert an RFC 3339 timestamp, a date without a time zone (UTC) or Unix seconds to Unix
    seconds. Raises ValueError."""
    try:
        if isinstance(value, str) and _NUMBER.fullmatch(value) and len(value) != len("20310101"):
            value = float(value)
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
    """Parse rate limits: requests per minute, or see `notation.rate_limit`. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return value
    limits = [notation.rate_limit(text) for text in str(value).split()]
    if None in limits:
        raise ValueError('must be requests/seconds, such as "600/60"')
    return limits


def _list(value: object) -> object:
    return value.split() if isinstance(value, str) else value


def _object(value: object) -> object:
    """Raises ValueError."""
    if isinstance(value, str) and (value := json_value(value.encode())) is None:
        raise ValueError("must be a JSON object")
    return value


def _customer(value: object) -> object:
    return customers.id_of(value) if isinstance(value, str) and value else value or None


_NORMALIZERS: dict[str, Callable[[object], object]] = {
    **dict.fromkeys(sorted(array_fields(ImportedKey)), _list),
    "metadata": _object,
    "customer_id": _customer,
    "limits": _limits,
    "created_at": _seconds,
    "expires_at": _seconds,
}


def _problem(problem: Problem) -> Problem:
    """Return the problem with the location and the fix that apply to an entry in a file."""
    location, fix = problem.location.removeprefix("."), problem.fix
    if problem.message == "is not a known field":
        fix = f"remove it, correct its name, or ignore it: --ignore {location[:20]}"
    elif not fix and location:
        fix = f"see the field {location} in docs/guides/migrate.md"
    return Problem(location, problem.message, fix)
