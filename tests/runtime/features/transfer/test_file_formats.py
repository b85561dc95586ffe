"""Legacy files: their entries, and the removal of entries."""

import json
from typing import Any

import pytest
from gatehouse.features.transfer.file_formats import MalformedFile, entries, without
from hypothesis import given
from hypothesis import strategies as st

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=4,
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not valid JSON (line 1)"),
        ("7", "must be a JSON object"),
        ("[]", "must be a JSON object"),
        ('{"a": 1,\n"b" 2}', "is not valid JSON (line 2)"),
        (
            '{"a": {"x": 1, "x": 2}}',
            "has two members with the same name (members 1 and 2 of an object)",
        ),
        ("[" * 200_000, "is nested too deeply"),
        ('{"a": ' + "1" * 5_000 + "}", "contains a number with too many digits"),
    ],
    ids=range(7),
)
def test_malformed_file_is_rejected(text: str, message: str) -> None:
    with pytest.raises(MalformedFile) as error:
        entries(text)
    assert str(error.value) == message


@given(st.dictionaries(st.text(), VALUES), st.sampled_from([None, 1, 4]), st.booleans())
def test_entries_are_read_like_the_json_module(
    document: dict[str, Any], indent: int | None, mark: bool
) -> None:
    read = entries("\ufeff" * mark + json.dumps(document, indent=indent))
    assert [(entry.name, entry.value) for entry in read] == list(document.items())
    assert [entry.row for entry in read] == list(range(1, len(document) + 1))


@given(st.dictionaries(st.text(min_size=1), VALUES, max_size=8), st.sets(st.text(min_size=1)))
def test_only_the_named_entries_are_removed(document: dict[str, Any], removed: set[str]) -> None:
    removed |= set(list(document)[:2])
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    text_after, count = without(text, removed.__contains__)
    remaining = {name: value for name, value in document.items() if name not in removed}
    assert count == len(document) - len(remaining)
    assert json.loads(text_after) == remaining
    assert without(text_after, removed.__contains__) == (text_after, 0)


def test_rest_of_a_file_is_unchanged() -> None:
    text = '{ "a":1 ,\n\t"b": 2 }'
    assert without(text, "c".__eq__) == (text, 0)
    assert without('{\n    "a": 1,\n    "b": 2\n}\n', "a".__eq__) == ('{\n    "b": 2\n}\n', 1)
    unpaired = '{"x": "\\ud83d", "y": "\U0001f600", "a": 1}'
    assert without(unpaired, "a".__eq__) == ('{"x": "\\ud83d", "y": "\U0001f600"}', 1)
    with pytest.raises(ValueError, match="not JSON compliant"):
        without('{"x": 1e400, "a": 1}', "a".__eq__)
