"""Decision records."""

import re
from datetime import date
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DECISIONS = ROOT / "docs" / "decisions"
RECORDS = {path: path.read_text() for path in sorted(DECISIONS.glob("[0-9]*.md"))}
NUMBERS = {int(path.name[:4]) for path in RECORDS}
INDEX = (DECISIONS / "README.md").read_text()
FOLDERS = (
    "account",
    "bench",
    "clients",
    "components",
    "docs",
    "policies",
    "release",
    "runtime",
    "sandbox",
    "scripts",
    "tests",
    "tools",
)
SUFFIXES = {".md", ".py", ".sh", ".toml", ".ts", ".vue", ".yaml", ".yml"}
RECORDS_MAX = 35
WORDS_MAX = 600
HEAD = re.compile(
    r"# (\d+)\. (.+)\n\nStatus: (\w+)\. Date: (\d{4}-\d\d-\d\d)\.(?: Replaces records? ([\d, "
    r"and]+)\.)?\n"
)


def head(path: Path) -> re.Match[str]:
    found = HEAD.match(RECORDS[path])
    assert found, (
        f"{path.name} begins with '# <number>. <title>' and 'Status: <status>. Date: <date>.'"
    )
    return found


@pytest.mark.requirement("SS-14")
def test_records_have_number_status_and_date() -> None:
    assert 0 < len(RECORDS) <= RECORDS_MAX
    assert len(NUMBERS) == len(RECORDS)
    for path in RECORDS:
        number, _, status, day, _ = head(path).groups()
        assert (int(number), status) == (int(path.name[:4]), "accepted"), path.name
        assert date.fromisoformat(day).year >= 2026, path.name


@pytest.mark.requirement("SS-14")
def test_index_lists_every_record() -> None:
    rows = re.findall(r"(?m)^\| (\d+) \| \[(.+)\]\((.+)\) \|$", INDEX)
    assert rows == [(*head(path).groups()[:2], path.name) for path in RECORDS]


def test_records_are_short() -> None:
    assert {
        path.name: len(text.split())
        for path, text in RECORDS.items()
        if len(text.split()) > WORDS_MAX
    } == {}


def test_replaced_records_are_removed() -> None:
    replaced = [
        int(number) for path in RECORDS for number in re.findall(r"\d+", head(path)[5] or "")
    ]
    assert len(replaced) > 10
    assert len(set(replaced)) == len(replaced)
    assert NUMBERS.isdisjoint(replaced)


def test_references_name_existing_records() -> None:
    files = [
        path
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.suffix in SUFFIXES and path.is_file()
    ]
    files = [
        path
        for path in (*files, *ROOT.glob("*.md"))
        if "node_modules" not in path.parts and path.parent != DECISIONS
    ]
    texts = {path: path.read_text() for path in files}
    named = {
        path: {int(number) for number in re.findall(r"decisions/(\d{4})", text)}
        for path, text in texts.items()
    }
    for path, text in texts.items():
        for number, target in re.findall(
            r"\[(?:record|decision)\s+(\d+)\]\([^)]*decisions/(\d{4})-", text, re.IGNORECASE
        ):
            assert int(number) == int(target), path
        named[path] |= {
            int(number)
            for number in re.findall(r"\b(?:record|decision)\s+(\d{1,4})\b", text, re.IGNORECASE)
        }
    assert sum(map(len, named.values())) > 30
    assert {
        str(path.relative_to(ROOT)): numbers - NUMBERS
        for path, numbers in named.items()
        if not numbers <= NUMBERS
    } == {}
