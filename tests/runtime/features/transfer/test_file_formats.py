"""Files of other systems: their entries, and the removal of entries."""

import csv
import io
import json
import sys
from contextlib import suppress
from typing import Any

import pytest
import yaml
from gatehouse.core.errors import BadRequest
from gatehouse.features.transfer.file_formats import (
    Entry,
    FileFormat,
    MalformedFile,
    entries,
    without,
)
from gatehouse.features.transfer.schemas import COLUMNS, ImportedKey, parse_key
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import cases

_CASES = cases(__file__)

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


@pytest.mark.parametrize(("file_format", "text", "message"), _CASES["malformed"])
def test_malformed_csv_or_kong_file_is_rejected(file_format: str, text: str, message: str) -> None:
    for times in ("[", "{", "- ", "? ", "x"):
        text = text.replace(f"100000 {times}", times * 100_000)
    with pytest.raises(MalformedFile) as error:
        entries(text, FileFormat(file_format), columns=COLUMNS)
    assert str(error.value)[: len(message)] == message
    assert "canary" not in str(error.value)


@given(st.text(), st.sampled_from(FileFormat))
def test_any_text_has_entries_or_one_problem(text: str, file_format: FileFormat) -> None:
    beginning = {FileFormat.CSV: "token,name\n", FileFormat.KONG: "_format_version: 1\n"}
    for content in (text, beginning.get(file_format, "") + text):
        with suppress(MalformedFile):
            for entry in entries(content, file_format, columns=COLUMNS):
                assert parsed(entry)


def test_kong_file_without_its_package_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    monkeypatch.delitem(sys.modules, "gatehouse.features.transfer.yaml_document", raising=False)
    with pytest.raises(MalformedFile, match="pip install"):
        entries("_format_version: '3.0'", FileFormat.KONG)


def parsed(entry: Entry, *ignored: str) -> tuple[ImportedKey, str] | list[str]:
    """The key in an entry and what its ID is derived from, or the locations of problems."""
    try:
        return parse_key(entry, frozenset(ignored), "gtk")
    except BadRequest as exc:
        return [problem.location for problem in exc.errors]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
TOKENS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=7, max_size=20)
WORDS = TEXT | st.sampled_from(["acme", "a1", "cores:read", "GET", "192.0.2.0/24"])
#: Text of a CSV file that lists these words separates them with spaces.
LISTS = st.lists(WORDS.filter(lambda text: text.split() == [text]), min_size=1, max_size=3)
TIMES = st.integers(10**8, 4 * 10**9) | st.floats(10**8, 10**12) | st.just("2024-01-02T03:04:05")
#: Attributes that a file of Kong has, too. Eight digits are a date in text, and seconds otherwise.
COMMON = {"created_at": TIMES, "tags": LISTS, "ttl": st.integers(0, 10**8) | TEXT}
#: By field, so that a new field needs a strategy.
ATTRIBUTES = COMMON | {
    "name": TEXT,
    "customer_id": WORDS,
    "customer_name": TEXT,
    "plan": WORDS,
    "environment": st.sampled_from(["test", "live", "other"]),
    "scopes": LISTS,
    "cores": LISTS,
    "methods": LISTS,
    "addresses": LISTS,
    "limits": st.sampled_from(["100", "100/60", "a=5/1d", "100 a=5/1d", "0", "x"]),
    "expires_at": TIMES,
    "enabled": st.booleans(),
    "public_key": TEXT,
    "metadata": st.dictionaries(TEXT, TEXT, min_size=1, max_size=2),
    "prefix": TEXT,
    "notes": TEXT,
    "contact": TEXT | st.just("holder@example.com"),
}
del ATTRIBUTES["ttl"]
ATTRIBUTES["ttl_s"] = COMMON["ttl"]


def test_every_field_has_a_strategy() -> None:
    assert {*ATTRIBUTES} == {*ImportedKey.__struct_fields__, "prefix"}


@given(TOKENS, st.fixed_dictionaries({}, optional=ATTRIBUTES))
def test_row_means_the_same_in_csv_and_json(token: str, attributes: dict[str, Any]) -> None:
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(["token", *attributes])
    writer.writerow([token, *map(cell, attributes.values())])
    [in_csv] = entries(file.getvalue(), FileFormat.CSV, columns=COLUMNS)
    [in_json] = entries(json.dumps({token: attributes}))
    assert (in_csv.row, in_json.row) == (2, 1)
    assert parsed(in_csv) == parsed(in_json)


def cell(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(value)
    return value if isinstance(value, str) else json.dumps(value)


@given(
    TOKENS,
    st.fixed_dictionaries({}, optional=COMMON),
    st.fixed_dictionaries({"username": WORDS}, optional={"custom_id": WORDS, "tags": LISTS}),
    st.sampled_from(["nested", "id", "username", "object"]),
)
def test_credential_of_kong_means_the_same_in_json(
    token: str, attributes: dict[str, Any], consumer: dict[str, Any], place: str
) -> None:
    credential = {**attributes, "key": token, "id": "6b9443ae", "consumer": None}
    document: dict[str, Any] = {"_format_version": "3.0", "consumers": [{**consumer, "id": "7e"}]}
    if place == "nested":
        document["consumers"][0]["keyauth_credentials"] = [credential]
    else:
        name = consumer["username"] if place == "username" else "7e"
        credential["consumer"] = {"id": name} if place == "object" else name
        document["keyauth_credentials"] = [credential]
    [in_kong] = entries(yaml.safe_dump(document, sort_keys=False), FileFormat.KONG)
    name = consumer["username"]
    customer_id = consumer.get("custom_id", name)
    identity = {"name": name, "customer_id": customer_id, "customer_name": name}
    tags = [*dict.fromkeys(consumer.get("tags", []) + attributes.get("tags", []))]
    [in_json] = entries(json.dumps({token: {**identity, **attributes, "tags": tags}}))
    assert parsed(in_kong) == parsed(in_json)


def test_export_of_the_database_of_kong_is_read() -> None:
    first, second, third = entries(_CASES["kong_export"], FileFormat.KONG)
    key, _ = parse_key(first, frozenset(), "gtk")
    names = (key.customer_id, key.customer_name, key.tags, key.expires_at, key.ttl_s)
    assert names == ("42", "mobile app", [], 1929729708.0, None)
    assert (key.created_at, second.name) == (1734329245.0, "0012345678")
    assert parsed(third, "tags")[0].customer_id == "web"  # type: ignore[union-attr]
    assert parsed(third) == ["tags[0]"]


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
