"""The documents agree with the repository: links lead somewhere, named tests exist, and one list names every document."""

from __future__ import annotations

import ast
import re
from datetime import date, timedelta
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.rglob("*.md")), ROOT / "README.md", ROOT / "SECURITY.md"]
LIST = (DOCS / "README.md").read_text(encoding="utf-8")
#: Listed by their folder.
FOLDERS = ("decisions", "diagrams", "guides", "runbooks")
REVIEW_DAYS_MAX = 366


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub makes addresses of them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_of_a_document_leads_somewhere(page: Path) -> None:
    lost = []
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith(("https://", "http://")):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(link)
    assert lost == []


@pytest.mark.parametrize("page", sorted((DOCS / "guides").glob("*.md")), ids=name)
def test_every_test_that_a_guide_names_is_there(page: Path) -> None:
    for file, test in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", page.read_text(encoding="utf-8")):
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert not test or test in functions, f"{file}::{test}"


@pytest.mark.requirement("SS-14")
def test_the_list_names_every_document() -> None:
    listed = {(DOCS / link).resolve() for link in re.findall(r"\]\(([^)#]+)\)", LIST)}
    documents = {page for page in DOCS.rglob("*.md") if page.parent.name not in FOLDERS and page != DOCS / "README.md"}
    assert documents <= listed
    assert {DOCS / folder for folder in FOLDERS} <= {page if page.is_dir() else page.parent for page in listed}
    assert set((DOCS / "guides").glob("*.md")) <= listed, "each guide is for somebody: name it for them"


@pytest.mark.requirement("SS-14")
def test_what_is_reviewed_says_when_and_when_again_within_a_year() -> None:
    rows = re.findall(r"\| (\d{4}-\d\d-\d\d) \| (\d{4}-\d\d-\d\d) \|$", LIST, flags=re.MULTILINE)
    assert len(rows) >= 4
    for reviewed, due in rows:
        assert timedelta(0) < date.fromisoformat(due) - date.fromisoformat(reviewed) <= timedelta(days=REVIEW_DAYS_MAX)


@pytest.mark.requirement("TR-15")
def test_the_page_on_testing_names_every_folder_of_tests_and_every_measurement() -> None:
    text = (DOCS / "testing.md").read_text(encoding="utf-8")
    folders = {path.parent for path in (ROOT / "tests").rglob("test_*.py")}
    tops = {f"tests/{path.relative_to(ROOT / 'tests').parts[0]}" for path in folders}
    measured = {name(path.parent) for path in (ROOT / "bench").rglob("*.py") if path.parent != ROOT / "bench"}
    assert {place for place in tops | measured if f"`{place}" not in text} == set()
