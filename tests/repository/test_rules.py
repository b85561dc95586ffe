"""House rules that a machine can read: names, budgets, import-time behaviour, truth of the README's paths and commands."""

from __future__ import annotations

import ast
import contextlib
import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("components", "policies", "sandbox", "release", "runtime/gatehouse", "runtime/functions")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
LINES_MAX = 400
ENV_TARGETS = ("deploy", "verify", "rollback", "preview", "destroy", "logs")


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_a_file_keeps_to_one_subject_and_four_hundred_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LINES_MAX
    assert path.stem not in {"utils", "util", "helpers", "common", "misc", "manager"}


@pytest.mark.parametrize("path", [path for path in SOURCES if path.read_text().strip()], ids=_name)
def test_a_module_says_in_its_first_sentence_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_no_promise_is_left_for_later(path: Path) -> None:
    assert not re.search(r"\b(TODO|FIXME|XXX)\b|NotImplementedError", path.read_text())


def test_the_readme_names_only_files_that_exist() -> None:
    text = (ROOT / "README.md").read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if not link.startswith(("http://", "https://"))]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_readme_names_only_make_targets_that_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z][a-z-]+)", (ROOT / "README.md").read_text()))
    assert named <= targets


@pytest.mark.requirement("CG-24")
def test_make_alone_lists_every_target_with_a_line_of_help() -> None:
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30).stdout
    for target in (*ENV_TARGETS, "help", "init", "up", "down", "test", "check", "audit", "bench", "api-keys", "clean"):
        assert re.search(rf"^  {target} +\S", listed, flags=re.MULTILINE), target


@pytest.mark.requirement("CG-24")
def test_help_is_coloured_on_a_terminal_and_plain_in_a_pipe() -> None:
    environ = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    ours, theirs = pty.openpty()
    with subprocess.Popen(["make"], cwd=ROOT, stdout=theirs, env=environ) as child:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # Linux answers EIO at the end of a terminal
            while piece := os.read(ours, 65536):
                shown += piece
        os.close(ours)
    assert child.returncode == 0
    assert b"\x1b[36mup" in shown
    piped = subprocess.run(["make"], cwd=ROOT, capture_output=True, check=True, timeout=30, env=environ).stdout
    assert b"\x1b" not in piped


@pytest.mark.requirement("CG-24")
@pytest.mark.parametrize("target", ENV_TARGETS)
def test_an_unknown_environment_is_refused_by_name(target: str) -> None:
    result = subprocess.run(["make", target, "ENV=nowhere"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode != 0
    assert "no stack 'nowhere'; say one of: ENV=dev, ENV=prod, ENV=staging" in result.stderr
