"""Field types, views, versions and page cursors that several APIs share."""

import base64
import hashlib
import re
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar, dataclass_transform

import msgspec
from msgspec import Meta

from gatehouse.core.clock import rfc3339
from gatehouse.core.errors import PreconditionFailed, PreconditionRequired, Problem
from gatehouse.core.http.forwarding import CORE_NAME, CORE_NAME_FORM
from gatehouse.core.texts import matching
from gatehouse.core.tokens.sealing import seal, unseal
from gatehouse.core.tokens.token import Pepper
from gatehouse.platform.web.endpoint import Header
from gatehouse.platform.web.validation import checked, invalid, reference, unchanged

_View = TypeVar("_View", bound=msgspec.Struct)
T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class Input(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Shape of a part of a request."""


@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class View(msgspec.Struct, frozen=True):
    """Shape of a part of a response, which can contain a secret, so it is not part of messages."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"


def doc(text: str, **bounds: Any) -> Meta:
    """The description and the bounds of a field."""
    return Meta(description=text, **bounds)


#: Text that only one response contains, such as a token. The web UI keeps the Idempotency-Key of a
#: request until the user has stored the text.
ShownOnce = Annotated[str, Meta(extra_json_schema={"x-shown-once": True})]


def sent_fields(body: msgspec.Struct) -> dict[str, Any]:
    """The fields of a body, without those that an update omits."""
    fields = {name: getattr(body, name) for name in body.__struct_fields__}
    return {name: value for name, value in fields.items() if value is not msgspec.UNSET}


def check_changes(update: msgspec.Struct) -> None:
    """Raises ValueError if an update changes nothing."""
    if not sent_fields(update):
        raise ValueError("changes nothing; send at least one field to change")


#: A request ID for examples.
REQUEST_ID = "req_0199f3a8c0d1b6e5f4a3928170"

_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII
)

_ETAG = re.compile(r'"([1-9][0-9]{0,17})"')
_IF_MATCH_FIX = (
    'send If-Match: "<version>" with the ETag that was read, or If-Match: * to '
    "overwrite any version"
)
IF_MATCH = Header(
    "If-Match",
    'ETag of the version to change, such as `"3"`, or `*`.',
    {"type": "string", "maxLength": 64},
    '"3"',
    required=True,
)

#: Unix seconds outside these years are not portable.
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(3000, 1, 1, tzinfo=UTC)


def unix_seconds(timestamp: str) -> float:
    """Converts a validated RFC 3339 timestamp to Unix seconds, truncated to microseconds (the
    stored precision).
    """
    return _instant(timestamp).timestamp()


def _instant(timestamp: str) -> datetime:
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", timestamp.upper()))


def view_of(kind: type[_View], model: object, **values: Any) -> _View:
    """A response with the fields of a model. Times (fields `*_at`, Unix seconds) become RFC 3339
    timestamps.

    values: fields of the response that the model does not have, or whose value in the response
        differs from the model.
    """
    for name in kind.__struct_fields__:
        if name not in values:
            value = getattr(model, name)
            values[name] = rfc3339(value) if name.endswith("_at") and value is not None else value
    return kind(**values)


def time_range(query: Any, now: float, default_s: float, max_s: float) -> tuple[float, float]:
    """`since` and `until` of a query in Unix seconds. default_s: time before `until` if `since` is
    omitted. Raises BadRequest for an empty range, and for one of more than `max_s`.
    """
    until = now if query.until is None else unix_seconds(query.until)
    since = until - default_s if query.since is None else unix_seconds(query.since)
    if since >= until:
        raise invalid("query.since", "is not before `until`", "send an earlier timestamp")
    if until - since > max_s:
        message = f"is more than {max_s / 86_400:g} days before `until`"
        raise invalid("query.since", message, "send a later timestamp")
    return since, until


def etag(version: int) -> str:
    """The version as a strong entity tag (RFC 9110, section 8.8.3)."""
    return f'"{version}"'


def expected_version(if_match: str) -> int | None:
    """The version in an If-Match header, or None for `*`. `if_match`: empty if the header is
    missing. Raises PreconditionRequired and PreconditionFailed.
    """
    if not if_match:
        raise PreconditionRequired(
            errors=(Problem("header.if-match", "is missing", _IF_MATCH_FIX),)
        )
    if if_match.strip() == "*":
        return None
    match = _ETAG.fullmatch(if_match.strip())
    if match is None:
        # A tag from another server, a weak tag or a list of tags cannot be the current version of a
        # resource.
        raise PreconditionFailed(
            errors=(Problem("header.if-match", "is not a version of this resource", _IF_MATCH_FIX),)
        )
    return int(match[1])


def distinct(values: Sequence[Any]) -> str:
    return "" if len(set(values)) == len(values) else "must not contain duplicates"


def unique_items(**constraints: Any) -> Meta:
    return checked(distinct, extra_json_schema={"uniqueItems": True}, **constraints)


def _timestamp(text: str) -> str:
    if not _RFC3339.fullmatch(text):
        return 'must be an RFC 3339 timestamp with a time zone, such as "2031-01-01T00:00:00Z"'
    try:
        instant = _instant(text)
    except ValueError:
        return "is not a valid date and time"
    return "" if _FIRST <= instant < _LAST else "must be between the years 1970 and 2999"


#: A timestamp in a request.
Timestamp = Annotated[str, checked(_timestamp, extra_json_schema={"format": "date-time"})]


class TimeRange(Input, kw_only=True):
    """Filters for the time."""

    since: Annotated[Timestamp | None, doc("At or after this RFC 3339 timestamp.")] = None
    until: Annotated[Timestamp | None, doc("Before this RFC 3339 timestamp.")] = None

    @property
    def bounds(self) -> tuple[float | None, ...]:
        """`since` and `until` in Unix seconds."""
        return tuple(
            None if each is None else unix_seconds(each) for each in (self.since, self.until)
        )


#: A timestamp in a response.
Instant = Annotated[
    str, Meta(extra_json_schema={"format": "date-time", "examples": ["2030-06-01T09:00:00Z"]})
]

Environment = Literal["test", "live"]
CoreName = Annotated[str, matching(CORE_NAME.pattern, CORE_NAME_FORM, max_length=40)]

#: What a query parameter names. `keys`: one or several with commas. `family`: any of its keys.
#: `target`: of an audit event. `owner`: of a secret.
Kind = Literal["key", "keys", "family", "customer", "core", "plan", "actor", "target", "owner"]
KeyReference = Annotated[str, reference("key")]
CustomerReference = Annotated[str, reference("customer")]
CoreReference = Annotated[str, reference("core", max_length=40)]
PlanReference = Annotated[str, reference("plan", max_length=64)]
OfKey = Annotated[KeyReference | None, doc("Filter by key: its ID, its name or its tag.")]
OfCustomer = Annotated[
    CustomerReference | None,
    doc("Filter by customer, that of the key: its ID, its name or its tag."),
]
OfCore = Annotated[
    CoreReference | None, doc("Filter by the name of a Core, also of an earlier one.")
]
Cursor = Annotated[
    str, unchanged(max_length=1024, description="The `next_cursor` from the previous page.")
]
#: Default and maximum number of entries on a page, for all lists.
PAGE_SIZE, PAGE_SIZE_MAX = 50, 100
#: Maximum total of a list, so that a count takes no longer for a million entries.
TOTAL_MAX = 500
PageSize = Annotated[
    int, Meta(ge=1, le=PAGE_SIZE_MAX, description="Maximum number of entries on a page.")
]


TimeOrder = Annotated[Literal["newest", "oldest"], doc("What comes first.")]
NextCursor = Annotated[str | None, doc("Cursor of the next page, or null on the last page.")]
Counted = Annotated[bool, doc(f"Count the entries that match the filters, up to {TOTAL_MAX}.")]
Total = Annotated[
    int | None,
    doc(
        f"Number of entries that match the filters. {TOTAL_MAX} means {TOTAL_MAX} or more. Null "
        "unless the request contains `total=true`."
    ),
]


class Cursors:
    """Page cursors for one list with one filter, which are sealed with the session key.

    scope: identifies the list and the filter, such as `keys?owner=a`.
    """

    def __init__(self, session_key: Pepper, scope: str) -> None:
        self._key = session_key
        digest = hashlib.sha256(scope.encode("utf-8", "surrogatepass")).hexdigest()
        self._purpose = f"cursor:{digest}"

    def write(self, position: object) -> str | None:
        """URL-safe cursor for a position in the list, or None if the position is None."""
        if position is None:
            return None
        text, key = msgspec.json.encode(position), self._key
        sealed = seal(text, self._purpose, key, key.current, secrets.token_bytes)
        return base64.urlsafe_b64encode(sealed).decode("ascii")

    def read(self, cursor: str | None, kind: type[T]) -> T | None:
        """Position in a cursor, or None without a cursor. Raises BadRequest if the cursor is
        invalid or belongs to another list or filter.
        """
        if cursor is None:
            return None
        try:
            sealed = base64.b64decode(cursor, altchars=b"-_", validate=True)
        except ValueError:
            sealed = b""
        for generation in self._key.generations:
            position = unseal(sealed, self._purpose, self._key, generation)
            if position is not None:
                return msgspec.json.decode(position, type=kind)
        raise invalid(
            "query.cursor",
            "is not a cursor for this list",
            "send next_cursor from the previous page, with the same filter and order",
        )
