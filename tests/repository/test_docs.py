"""Documents agree with the repository."""

import ast
import importlib
import inspect
import json
import os
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from gatehouse.platform.metrics import Metrics
from gatehouse_policies.catalogue import RULES

from sandbox.emulator.resources import RESOURCE_TYPES
from tests import logs_insights, processes
from tests.components import program
from tests.components.settings.stack_settings import STACKS, rejected_keys
from tests.journeys.guide_reader import Step, Values, parse
from tests.repository import documented_commands
from tests.repository.documented_commands import Command, NotValid
from tools.docs.deployments import deployed

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text()
INDEX = (DOCS / "README.md").read_text()
MAPS = (
    ROOT / "CONTRIBUTING.md",
    *(
        ROOT / folder / "README.md"
        for folder in ("components", "policies", "runtime", "sandbox", "tests")
    ),
)
REVIEW = r"(?m)^\| \[(.+?)\].* \| (\d{4}-\d\d-\d\d) \|$"
"""The document and the due date of a row of the table *Reviews*."""
PAGES = {
    path: path.read_text()
    for path in (*sorted(DOCS.rglob("*.md")), ROOT / "README.md", ROOT / "SECURITY.md", *MAPS)
}
COMMAND_S_MAX = 120
INDEXED_FOLDERS = ("decisions", "guides", "runbooks")


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_have_targets() -> None:
    broken, total = [], 0
    for page, text in PAGES.items():
        prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
        for link in re.findall(r"\]\(([^)\s]+)\)", prose):
            if link.startswith(("https://", "http://")):
                continue
            total += 1
            file, _, anchor = link.partition("#")
            target = (page.parent / file).resolve() if file else page
            if not target.exists() or (anchor and anchor not in anchors(target)):
                broken.append(f"{page.relative_to(ROOT)}: {link}")
    assert total > 50
    assert broken == []


#: Terms of the product, which emphasis marks where a page explains them.
TERMS = (r"customers?\b(?![ -]managed)", r"key famil(?:y|ies)\b", r"propagation bound\b")


def test_terms_are_explained_where_a_page_first_uses_them() -> None:
    used, unexplained = 0, []
    for page, text in PAGES.items():
        if text.startswith("<!-- Generated") or page == DOCS / "README.md" or page in MAPS:
            continue
        prose = re.sub(
            r"^ *```.*?^ *```|`[^`\n]*`|^#.*?$", "", text, flags=re.DOTALL | re.MULTILINE
        )
        for term in TERMS:
            if first := re.search(rf"(?i)(?<![\w-])(.?){term}", prose):
                used += 1
                if first[1] != "*":
                    unexplained.append(f"{page.relative_to(ROOT)}: {first[0].strip()}")
    assert used > 15
    assert unexplained == []


def test_guides_name_the_urls_that_make_up_printed_once() -> None:
    """If a port is in use, `make up` uses another: commands read the URL from a variable."""
    pages = 0
    for page, text in PAGES.items():
        commands = [step.command for step in parse(text) if isinstance(step, Step)]
        urls = [command for command in commands if re.search(r":(8080|8081|8082)\b", command)]
        if urls:
            pages += 1
            assert "`make up" in text, page
        for command in urls:
            # A value, or a link that an earlier command printed.
            values = re.sub(r"\b[A-Z_]+=http://127\.0\.0\.1:808\d(?=\s|$)|\S+/[rs]/", "", command)
            assert not re.search(r":808\d\b", values), f"{page.relative_to(ROOT)}: {command}"
    assert pages > 5


PATH = re.compile(r"`((?:[\w.-]+/)+[\w.-]*|[\w-]+\.(?:py|md|toml|json|ts|yaml))`")
IN_A_FEATURE = {"models.py", "schemas.py", "service.py", "repository.py", "routes.py"}


@pytest.mark.parametrize("page", MAPS, ids=lambda page: str(page.relative_to(ROOT)))
def test_maps_of_the_code_name_existing_paths(page: Path) -> None:
    names = set(PATH.findall(PAGES[page])) - IN_A_FEATURE
    names = {name for name in names if not name.startswith((".gatehouse/", ".venv/"))}
    assert len(names) > 3
    folders = (page.parent, ROOT, ROOT / "runtime/gatehouse")
    assert {
        name for name in names if not any((folder / name).exists() for folder in folders)
    } == set()


#: Records of the past name commands that no longer exist.
RECORDS = DOCS / "decisions"


def documented() -> Iterator[tuple[str, Command]]:
    pages = {
        str(page.relative_to(ROOT)): text for page, text in PAGES.items() if page.parent != RECORDS
    }
    pages |= {
        str(page.relative_to(ROOT)): page.read_text() for page in ROOT.glob("examples/**/*.md")
    }
    for page, text in (pages | {"gatehouse --help": documented_commands.help_texts()}).items():
        for command in documented_commands.commands(text):
            yield page, command


def test_commands_in_documents_can_be_typed() -> None:
    programs, errors = Counter[str](), []
    for page, command in documented():
        programs[command[0]] += 1
        try:
            documented_commands.check(command)
        except NotValid as exc:
            errors.append(f"{page}: {' '.join(command)}: {exc}")
    assert min(programs[name] for name in ("gatehouse", "make", "aws", "pip")) >= 5
    assert errors == []


def test_commands_in_run_blocks_are_run() -> None:
    tests = "".join(
        text
        for path in (ROOT / "tests").rglob("test_*.py")
        if "guide_reader import" in (text := path.read_text())
    )
    pages = [page for page, text in PAGES.items() if re.search(r"(?m)^ *```console run", text)]
    assert len(pages) > 10
    assert [
        page for page in pages if f'"{page.stem}"' not in tests and page.name not in tests
    ] == []


def test_numbers_in_the_readme_hold() -> None:
    assert int(re.findall(r"More than (\d+) controls", README)[0]) < len(RULES)
    (speed,) = re.findall(r"^- \*\*A vCPU\*\*.*(?:\n  .*)*", README, re.MULTILINE)
    capacity = PAGES[DOCS / "capacity.md"]
    rows = {row[0]: row for row in re.findall(r"^\|(.+?)\|(.+)\|$", capacity, re.MULTILINE)}
    verification, proxy = (rows[name][1].split("|") for name in ("JSON, TLS", "proxy"))
    figures = (verification[2], proxy[2], verification[-1].split()[0])
    assert re.findall(r"\b\d[\d.,]*\d\b", speed.partition(" with\n")[0]) == [*figures]
    assert "5,000 keys, of which the n-th is used 1/n as often as the first" in speed
    assert "5,000 keys, of which the n-th is used 1/n as often as the first" in capacity


def test_commands_of_contributing_run() -> None:
    steps = [step for step in parse(PAGES[ROOT / "CONTRIBUTING.md"]) if isinstance(step, Step)]
    assert len(steps) >= 3
    environ = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST_", "COV_"))
    }
    for step in steps:
        command = ["bash", "-c", step.command]
        done = processes.run(command, cwd=ROOT, env=environ, timeout=COMMAND_S_MAX)
        assert done.returncode == 0, done.stdout + done.stderr
        Values().learn(step.expected, done.stdout)


def test_tests_named_in_documents_exist() -> None:
    missing, total = [], 0
    for page, text in PAGES.items():
        for file, test in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", text):
            total += 1
            tree = ast.parse((ROOT / file).read_text()) if (ROOT / file).exists() else None
            names = {getattr(node, "name", "") for node in ast.walk(tree)} if tree else set()
            if tree is None or (test and test not in names):
                missing.append(f"{page.relative_to(ROOT)}: {file}::{test}")
    assert total > 10
    assert missing == []


def test_metrics_named_in_documents_exist() -> None:
    known = {
        metric.name + ("_total" if metric.type == "counter" else "")
        for metric in Metrics().registry.collect()
    }
    named = {
        name
        for text in PAGES.values()
        for name in re.findall(r"\bgatehouse_\w+_(?:total|seconds|open|waiting)\b", text)
    }
    assert len(named) > 5
    assert named - known == set()


def test_index_lists_every_document() -> None:
    listed = {(DOCS / link).resolve() for link in re.findall(r"\]\(([^)#]+)\)", INDEX)}
    documents = {
        page
        for page in DOCS.rglob("*.md")
        if page.parent.name not in INDEXED_FOLDERS and page != DOCS / "README.md"
    }
    assert len(documents) >= 5
    assert documents | set((DOCS / "guides").glob("*.md")) <= listed
    assert {DOCS / folder for folder in INDEXED_FOLDERS} <= {
        page if page.is_dir() else page.parent for page in listed
    }


def test_recovery_of_each_event_has_targets_and_a_drill_times() -> None:
    page = PAGES[DOCS / "runbooks/recovery.md"]
    tables = [
        [line.strip("| ").split(" | ") for line in text.split("\n\n")[0].splitlines()[2:]]
        for text in (page[page.index("| event |") :], page[page.index("| date |") :])
    ]
    events, drills = tables
    assert len(events) > 7
    assert [row for row in events if len(row) != 4 or not re.search(r"\d|minutes", row[3])] == []
    assert [row for row in drills if re.match(r"\d{4}-", row[0]) and re.match(r"\d", row[-1])]


def test_guide_of_the_console_lists_its_pages_in_their_order() -> None:
    web = ROOT / "runtime" / "web" / "src"
    bar = (web / "frame" / "NavigationBar.vue").read_text()
    labels = dict(re.findall(r"'nav\.(\w+)': '(.*)'", (web / "locales" / "en.ts").read_text()))
    pages = [labels[name] for name in re.findall(r"\{ name: '(\w+)', section:", bar)]
    rows = re.findall(
        r"(?m)^\| \*?([A-Z]\w*(?: \w+)*?)\*?(?:,| \|)", (DOCS / "guides" / "console.md").read_text()
    )
    assert rows == pages


def test_sandbox_page_lists_types_that_are_not_emulated() -> None:
    section = PAGES[ROOT / "sandbox/README.md"].partition("## Limits of the sandbox")[2]
    modelled = {token.rpartition(":")[0] for token, row in RESOURCE_TYPES.items() if row.modelled}
    deployments = [deployed(stack) for stack in STACKS]
    types = {
        resource.registration.type.rpartition(":")[0]
        for deployment in deployments
        for resource in deployment.resources
    }
    assert types & modelled
    assert set(re.findall(r"`(aws:\w+/\w+)`", section)) == types & modelled


def python_of(text: str) -> list[ast.AST]:
    blocks: list[ast.AST] = [
        ast.parse(block)
        for block in re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    ]
    for code in re.findall(r"(?<!`)`([\w.]+\([^`\n]*\)[^`\n]*)`(?!`)", text):
        with suppress(SyntaxError):
            blocks.append(ast.parse(code))
    return blocks


def resolved(name: str) -> Any:
    modules = name.split(".")
    for length in range(len(modules), 0, -1):
        with suppress(ImportError):
            found: Any = importlib.import_module(".".join(modules[:length]))
            for attribute in modules[length:]:
                found = getattr(found, attribute)
            return found
    return None


def calls(text: str) -> Iterator[tuple[str, ast.Call]]:
    code, imports = python_of(text), {"gatehouse": "gatehouse"}
    for node in (node for block in code for node in ast.walk(block)):
        if isinstance(node, ast.Import):
            imports |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imports |= {
                alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names
            }
    for node in (node for block in code for node in ast.walk(block)):
        if isinstance(node, ast.Call) and re.fullmatch(
            r"[\w.]+", function := ast.unparse(node.func)
        ):
            root, _, rest = function.partition(".")
            if root in imports:
                yield ".".join(filter(None, (imports[root], rest))), node


def test_python_calls_in_documents_match_the_signatures() -> None:
    wrong, total = [], 0
    for page, text in PAGES.items():
        for name, call in calls(text):
            if not callable(function := resolved(name)):
                continue
            total += 1
            try:
                inspect.signature(function).bind(
                    *call.args, **{word.arg: word.value for word in call.keywords if word.arg}
                )
            except TypeError as exc:
                wrong.append(f"{page.relative_to(ROOT)}: {name}: {exc}")
    assert total > 20
    assert wrong == []


def test_queries_of_the_runbooks_and_the_dashboard_are_valid() -> None:
    queries = [
        " ".join(span.split())
        for page, text in PAGES.items()
        if page.is_relative_to(DOCS / "runbooks")
        for span in re.findall(r"`([^`]+)`", text)
        if logs_insights.QUERY.match(span)
    ]
    assert len(queries) > 5
    for dashboard in program.run("prod").of_type("cloudwatch.Dashboard"):
        widgets = json.loads(dashboard.inputs["dashboardBody"])["widgets"]
        queries += [row["properties"]["query"] for row in widgets if row["type"] == "log"]
    assert len(queries) > 7
    assert [part for query in queries if (part := logs_insights.invalid_part(query))] == []


def test_settings_of_each_identity_provider_are_accepted() -> None:
    blocks = re.findall(r"```yaml\n(.+?)```", PAGES[DOCS / "guides/identity-providers.md"], re.S)
    assert len(blocks) == 6
    for block in blocks:
        oidc = yaml.safe_load(re.sub(r"<.+?>", "x", block))
        assert rejected_keys("dev", {"oidc": oidc}) == [], block


CONTRACTS = tomllib.loads((ROOT / "tests/external_contracts.toml").read_text())["contract"]


@pytest.mark.parametrize("row", CONTRACTS, ids=lambda row: row["fact"][:40])
def test_external_contract_has_sources_dates_use_and_test(row: dict[str, Any]) -> None:
    assert row["sources"]
    assert all(source.startswith("https://") for source in row["sources"])
    assert row["looked_up"] <= datetime.now(UTC).date()
    assert row.get("until", date.max) > row["looked_up"]
    for file, name in (row["used_in"], row["test"]):
        assert re.search(rf"\b{name}\b", (ROOT / file).read_text()), f"{file} has no {name}"


@pytest.mark.slow
def test_dates_of_external_contracts_and_reviews_have_not_passed() -> None:
    today = datetime.now(UTC).date()
    dates = {row["fact"]: row["until"] for row in CONTRACTS if "until" in row}
    dates |= {row[0]: date.fromisoformat(row[-1]) for row in re.findall(REVIEW, INDEX)}
    assert len(dates) > 5
    assert {subject: day for subject, day in dates.items() if day < today} == {}
