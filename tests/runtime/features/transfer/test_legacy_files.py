"""Legacy files: every format, and removal of entries."""

import json
from typing import Any

import pytest
from gatehouse.features.transfer.file_formats import Entry, MalformedFile, entries, without
from hypothesis import given
from hypothesis import strategies as st

MEMBERS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner),
    max_leaves=4,
)


def read(text: str) -> list[tuple[int, str | None, Any]]:
    return [(entry.row, entry.name, entry.value) for entry in entries(text)]


@pytest.mark.requirement("CG-09")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{\n  "a": {"name": "x"},\n  "b": null\n}', [(1, "a", {"name": "x"}), (2, "b", None)]),
        ('{"docs": "https://x.example"}', [(1, "docs", "https://x.example")]),
        ('[\n"a",\n{"key": "b"}]\n', [(1, None, "a"), (2, None, {"key": "b"})]),
        ('{"keys": [\n"a"\n]}', [(1, None, "a")]),
        ('{"version": 1, "api_keys":\n{"a": 1}}', [(1, "a", 1)]),
        ("\ufeff[]", []),
        (" {} ", []),
    ],
)
def test_json_entries_are_read_with_their_numbers(text: str, expected: list[Any]) -> None:
    assert read(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not valid JSON (line 1)"),
        ("7", "must be a JSON object or list"),
        ('{"a": 1,\n"b" 2}', "is not valid JSON (line 2)"),
        ('{"a": {"x": 1, "x": 2}}', "has two members with the same name"),
        ('{"keys": [], "urls": {}}', "has more than one of the members keys, urls"),
        ("[" * 200_000, "is nested too deeply"),
        ("[" + "1" * 5_000 + "]", "contains a number with too many digits"),
    ],
)
def test_malformed_file_is_rejected(text: str, message: str) -> None:
    with pytest.raises(MalformedFile) as error:
        read(text)
    assert str(error.value) == message


@given(st.dictionaries(st.text(), MEMBERS) | st.lists(MEMBERS), st.sampled_from([None, 1, 4]))
def test_json_container_is_read_like_the_json_module(document: Any, indent: int | None) -> None:
    result = read(json.dumps(document, indent=indent))
    if isinstance(document, dict):
        assert [(name, value) for _, name, value in result] == list(document.items())
    elif isinstance(document, list):
        assert [value for _, _, value in result] == document


@given(
    st.dictionaries(st.text(min_size=1), st.integers() | st.text(), max_size=8),
    st.sets(st.text(min_size=1)),
    st.booleans(),
)
def test_only_the_given_entries_are_removed(
    document: dict[str, Any], removed: set[str], wrapped: bool
) -> None:
    removed |= set(list(document)[:2])
    text = (
        json.dumps(
            {"version": 2, "keys": document} if wrapped else document, indent=2, ensure_ascii=False
        )
        + "\n"
    )
    text_after, count = without(text, lambda entry: entry.name in removed)
    remaining = {name: value for name, value in document.items() if name not in removed}
    assert count == len(document) - len(remaining)
    assert json.loads(text_after) == ({"version": 2, "keys": remaining} if wrapped else remaining)
    assert without(text_after, lambda entry: entry.name in removed) == (text_after, 0)


def test_file_without_removed_entries_is_unchanged() -> None:
    text = '{ "a":1 ,\n\t"b": 2 }'
    assert without(text, lambda entry: entry.name == "c") == (text, 0)
    assert without('[\n    "a",\n    "b"\n]\n', lambda entry: entry.value == "a") == (
        '[\n    "b"\n]\n',
        1,
    )
    unpaired = '["\\ud83d", "\U0001f600", "a"]'
    assert without(unpaired, lambda entry: entry.value == "a") == (unpaired[:-6] + "]", 1)
    with pytest.raises(ValueError, match="not JSON compliant"):
        without('[1e400, "a"]', lambda entry: entry.value == "a")
    assert Entry(1, None, "a").name is None
