"""Entries of imported files: any entry is accepted or rejected, and never quoted."""

import json
from typing import Any

import pytest
from gatehouse.core.errors import BadRequest
from gatehouse.features.transfer.file_formats import ALIASES, entries
from gatehouse.features.transfer.schemas import ImportedKey, parse_core, parse_key
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.cases import cases
from tests.runtime.tokens import unknown_token

_CASES = cases(__file__)

TOKEN = "old-token-000001-abcdef"
NAMES = sorted({*ALIASES, *ImportedKey.__struct_fields__})
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


def problems(document: str, *, cores: bool = False, named: bool = False) -> list[tuple[str, str]]:
    result: list[tuple[str, str]] = []
    for entry in entries(document):
        try:
            if cores:
                parse_core(entry, "gtk", named=named)
            else:
                parse_key(entry, frozenset(), "gtk")
        except BadRequest as error:
            result += [(item.location, item.message) for item in error.errors]
    return result


@pytest.mark.parametrize(
    ("attributes", "location", "message"), _CASES["invalid_attributes_have_location_and_reason"]
)
def test_invalid_attributes_have_location_and_reason(
    attributes: str, location: str, message: str
) -> None:
    attributes = attributes.replace("OWN", unknown_token().text)
    ((where, what),) = problems(f'{{"{TOKEN}": {attributes}}}')
    assert (where, what[: len(message)]) == (location, message)
    assert TOKEN not in what


@pytest.mark.parametrize("cores", [False, True])
@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("short", "is not 8 to 512 visible ASCII characters"),
        ("with a space in it", "is not 8 to 512 visible ASCII characters"),
        ("OWN", "has the format of this deployment's own tokens"),
        ("${PARTNER_KEY}", "is the name of a variable"),
        ("{vault://env/partner-key}", "is the name of a variable"),
    ],
    ids=["short", "space", "own", "shell", "vault"],
)
def test_name_that_is_no_token_of_a_legacy_system_is_invalid(
    token: str, message: str, *, cores: bool
) -> None:
    token = unknown_token().text if token == "OWN" else token
    value: object = "https://a.example" if cores else {}
    ((where, what),) = problems(json.dumps({token: value}), cores=cores)
    assert (where, what[: len(message)]) == ("token", message)


@pytest.mark.parametrize(
    ("name", "url", "location", "message"),
    [
        ("docs", "ftp://x", "", "has a url that must begin with https:// or http://"),
        ("docs", {"url": "https://a.example"}, "", "must be a URL"),
        ("Docs", "https://a.example", "core_name", ""),
    ],
)
def test_invalid_core_has_location_and_reason(
    name: str, url: Any, location: str, message: str
) -> None:
    ((where, what),) = problems(json.dumps({name: url}), cores=True, named=True)
    assert (where, what[: len(message)]) == (location, message)


@given(st.dictionaries(st.sampled_from(NAMES), ANY, max_size=6), st.booleans(), st.booleans())
def test_any_entry_is_accepted_or_rejected(row: dict[str, Any], cores: bool, named: bool) -> None:
    assume(_plain(row))
    assert TOKEN not in str(problems(json.dumps({TOKEN: row}), cores=cores, named=named))


def _plain(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True
