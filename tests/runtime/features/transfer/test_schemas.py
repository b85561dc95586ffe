"""Rows of imported files: any row is accepted or rejected, and never quoted."""

import json
from typing import Any

import pytest
from gatehouse.core.errors import BadRequest
from gatehouse.features.transfer.file_formats import entries
from gatehouse.features.transfer.schemas import (
    ALIASES,
    CORE_ALIASES,
    ImportedCore,
    ImportedKey,
    parse_core,
    parse_key,
)
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.runtime.tokens import unknown_token

TOKEN = "old-token-000001-abcdef"
NAMES = sorted(
    {*ALIASES, *CORE_ALIASES, *ImportedKey.__struct_fields__, *ImportedCore.__struct_fields__}
)
ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.just(10**400)
    | st.just("\ud800")
    | st.just("a\0"),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


def _problems(row: str, *, cores: bool = False) -> list[tuple[str, str]]:
    result: list[tuple[str, str]] = []
    for entry in entries(f"[{row}]"):
        try:
            if cores:
                parse_core(entry, frozenset(), "gtk", named=False)
            else:
                parse_key(entry, frozenset(), "gtk")
        except BadRequest as error:
            result += [(item.location, item.message) for item in error.errors]
    return result


INVALID = [
    ('"name": "a\\u0000b"', "name", "must not contain control characters or invisible characters"),
    ('"owner": "\\ud800"', "owner", None),
    (
        '"expires_at": 1e400',
        "expires_at",
        'must be a date such as "2031-01-01T00:00:00Z", or Unix seconds',
    ),
    ('"expires_at": "9999-12-31T23:59:59.9999999Z"', "expires_at", None),
    ('"created_at": "0001-01-01T00:00:00+01:00"', "created_at", None),
    ('"limits": "600/0"', "limits[0].window_s", None),
    (
        '"limits": "99999999999/60"',
        "limits",
        'must be requests/seconds, such as "600/60" or "daily=10000/1d"',
    ),
    ('"enabled": "yes"', "enabled", None),
    ('"scopes": ["cores:read", 7]', "scopes[1]", None),
    ('"addresses": "10.0.0.1/8"', "addresses", None),
    ('"metadata": {"a": {"b": 1}}', "metadata[...]", None),
    ('"colour": "red"', "colour", "is not a known field"),
    ('"enabled": false, "active": true', "enabled", "is specified twice"),
]


@pytest.mark.requirement("CG-09")
@pytest.mark.parametrize(("members", "location", "message"), INVALID)
def test_invalid_setting_has_location_and_reason(
    members: str, location: str, message: str | None
) -> None:
    ((where, what),) = _problems(f'{{"key": "{TOKEN}", {members}}}')
    assert where == location
    assert what == message or message is None
    assert TOKEN not in what


@pytest.mark.requirement("CG-09")
def test_text_with_a_token_is_invalid() -> None:
    own = unknown_token().text
    rows: list[tuple[dict[str, Any], str]] = [
        ({"key": TOKEN, "name": f"with {TOKEN}"}, "name"),
        ({"key": TOKEN, "notes": f"was {own}"}, "notes"),
        ({"key": TOKEN, "metadata": {"token": own}}, "metadata"),
    ]
    for row, field in rows:
        assert _problems(json.dumps(row)) == [(field, "contains a token")]


@pytest.mark.requirement("CG-09")
@pytest.mark.parametrize(
    ("row", "location", "message"),
    [
        ({"key": "with a space in it"}, "", "has a key that is not 8 to 512 visible ASCII"),
        ({}, "", "requires either a key or a hash"),
        ({"hash": "zz", "algorithm": "sha256"}, "", "has a hash that is not a SHA-256 hash in hex"),
        ({"hash": "a" * 64, "algorithm": "md5"}, "algorithm", "is not one of the allowed values"),
        ({"key": TOKEN, "scopes": ["admin"]}, "", "has a scope that manages keys"),
        ({"key": TOKEN, "scopes": ["role:operator"]}, "", "has a scope that manages keys"),
    ],
)
def test_row_without_one_valid_key_is_rejected(
    row: dict[str, Any], location: str, message: str
) -> None:
    ((where, what),) = _problems(json.dumps(row))
    assert (where, what[: len(message)]) == (location, message)


@given(st.dictionaries(st.sampled_from(NAMES), ANY, max_size=6), st.booleans())
def test_any_row_is_accepted_or_rejected(row: dict[str, Any], cores: bool) -> None:
    assume(_plain(row))
    assert TOKEN not in str(_problems(json.dumps({"key": TOKEN, **row}), cores=cores))


def _plain(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True
