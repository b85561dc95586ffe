"""The reference pages in docs/ are current and complete, and their example is one that the loader takes."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest
import yaml
from gatehouse.settings import PREFIX, Settings

from components.settings import checks, model
from policies.catalogue import COMPANIONS, RULES
from tools.docs import controls, pages, stack_settings

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("components", "policies", "release", "sandbox", "runtime")
LEAVES = [(f"{path}{name}", field, meaning) for path, name, field, meaning in stack_settings.leaves()]


@pytest.mark.parametrize("name", pages.PAGES)
def test_a_page_is_current(name: str) -> None:
    path = pages.DOCS / name
    assert path.exists(), f"run: {pages.COMMAND}"
    assert path.read_text() == pages.text(name), f"run: {pages.COMMAND}"


def test_every_key_of_a_stack_file_says_what_it_means_and_what_is_allowed() -> None:
    assert [key for key, field, meaning in LEAVES if not meaning or not stack_settings.allowed(field)] == []


def test_every_section_of_a_stack_file_says_what_it_is() -> None:
    paths = {key.rpartition(".")[0] for key, _, _ in LEAVES}
    assert [path for path in paths if not stack_settings.about(f"{path}." if path else "")] == []


def test_no_key_of_a_stack_file_has_a_default() -> None:
    assert [key for key, field, _ in LEAVES if not field.is_required()] == []


def test_every_variable_of_the_runtime_says_what_it_means() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_the_example_on_the_page_is_taken_by_the_loader() -> None:
    found = re.search(r"```yaml\n(.*?)```", (pages.DOCS / "settings.md").read_text(), flags=re.DOTALL)
    assert found is not None
    raw = yaml.safe_load(found[1])["config"]["gatehouse:settings"]
    assert model.parse(raw, stack_settings.STACK).environment == stack_settings.STACK


@pytest.mark.parametrize(("rule", "key", "value"), stack_settings.RULES, ids=lambda part: str(part)[:40])
def test_a_rule_between_values_is_one_that_the_loader_keeps(rule: str, key: str, value: object) -> None:
    assert len(stack_settings.answer(key, value)) == 1, rule


def test_every_rule_between_values_stands_on_the_page() -> None:
    sources = [ast.parse(inspect.getsource(check)) for check in (model._disagreements, model._network, checks)]
    refusals = sum(isinstance(node, ast.Yield) for tree in sources for node in ast.walk(tree))
    of_prod = 1  # one `yield` stands for all of _LIVE, whose words are in the rows of the keys
    assert len(stack_settings.RULES) == refusals - of_prod, "give the new rule a row in stack_settings.RULES"


def test_every_variable_that_the_code_names_stands_on_the_page_and_no_other() -> None:
    files = [path for folder in SOURCES for path in (ROOT / folder).rglob("*") if path.suffix in {".py", ".toml"}]
    named = re.compile(rf"\b{PREFIX}[A-Z_]*[A-Z]\b(?!_)")
    in_code = {name for path in files for name in named.findall(path.read_text())}
    assert set(named.findall((pages.DOCS / "settings-runtime.md").read_text())) == in_code


def test_every_rule_belongs_to_one_service_of_the_page() -> None:
    listed = [rule.id for _, _, rules in controls.services() for rule in rules]
    assert sorted(listed) == [rule.id for rule in RULES]


def test_every_rule_and_companion_says_why_and_what_to_do() -> None:
    assert [rule.id for rule in RULES if not (rule.title and rule.why and rule.remedy and rule.url)] == []
    assert [companion.id for companion in COMPANIONS if not (companion.title and companion.remedy)] == []
