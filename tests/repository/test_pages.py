"""Generated pages are current and complete."""

import re
from fnmatch import fnmatchcase
from pathlib import Path

from gatehouse.core.verification import Code
from gatehouse.platform.settings import PREFIX, Settings
from gatehouse.platform.web.problems import PROBLEM_TYPE

from tests.repository.markers import marked_tests
from tests.repository.test_openapi import OPERATIONS
from tools.docs import alarms, pages, runtime_settings, stack_settings
from tools.docs.deployments import STACKS

ROOT = Path(__file__).resolve().parents[2]


def test_generated_pages_are_current() -> None:
    outdated = [
        name for name in pages.COMMITTED if (ROOT / "docs" / name).read_text() != pages.text(name)
    ]
    assert outdated == [], "run: make docs"


def test_every_problem_type_of_the_documents_has_a_section() -> None:
    page = (ROOT / "docs/errors.md").read_text()
    sections = set(re.findall(r"^### (\w+)$", page, re.MULTILINE))
    problems = {
        media["example"]["type"].removeprefix(PROBLEM_TYPE)
        for operation in OPERATIONS
        for response in operation.body["responses"].values()
        for kind, media in response.get("content", {}).items()
        if kind == "application/problem+json"
    }
    assert len(problems) > 15
    denials = {str(code).lower() for code in Code} - {"valid", "revoked"}
    assert sections >= problems | denials


def test_every_stack_setting_is_documented() -> None:
    settings = list(stack_settings.settings())
    assert len(settings) > 100
    assert [setting.key for setting in settings if not setting.description] == []
    assert [
        setting.section for setting in settings if not stack_settings.description(setting.section)
    ] == []


def test_every_runtime_setting_has_a_description() -> None:
    assert [
        name
        for name in Settings.model_fields
        if not runtime_settings.description(PREFIX + name.upper())
    ] == []


def test_every_alarm_and_notice_has_a_proof() -> None:
    found = {notice.name: notice for stack in STACKS for notice in alarms.notices(stack)}
    assert len(found) > 70
    triggered, paths = marked_tests("alarm_triggered"), marked_tests("alarm_path")
    assert [
        name
        for name, notice in found.items()
        if notice.kind not in paths and not any(fnmatchcase(name, entry) for entry in triggered)
    ] == []
    assert {notice.kind for notice in found.values()} == set(alarms.KINDS)
    assert set(paths) <= set(alarms.KINDS)
    assert [
        entry for entry in triggered if not any(fnmatchcase(name, entry) for name in found)
    ] == []
