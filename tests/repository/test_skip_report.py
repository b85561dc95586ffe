"""Lines about skipped tests, and the exit code in CI."""

import os
import sys
from pathlib import Path

from tests import processes
from tests.requires import LINUX_REASON

ROOT = Path(__file__).resolve().parents[2]
TESTS = """
import pytest
from tests import requires

def test_a(): pass

@pytest.fixture
def browser(): pytest.skip("no browser. Run: install browser")

@pytest.mark.parametrize("number", [1, 2])
def test_b(browser, number): pass

@pytest.mark.skipif(True, reason=requires.LINUX_REASON)
def test_c(): pass
"""


#: Plugins of other packages double the CPU time of a run.
PLUGINS = ("-p", "tests.skip_report", "-p", "xdist.plugin")


def run(folder: Path, *options: str, ci: str) -> tuple[int, list[str]]:
    (folder / "test_it.py").write_text(TESTS)
    command = [
        sys.executable,
        "-m",
        "pytest",
        *PLUGINS,
        "--rootdir",
        str(folder),
        *options,
        str(folder),
    ]
    environment = {
        **os.environ,
        "CI": ci,
        "PYTHONPATH": str(ROOT),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    environment.pop("PYTEST_XDIST_WORKER", None)
    result = processes.run(command, cwd=folder, env=environment)
    return result.returncode, [
        line for line in result.stdout.splitlines() if line.startswith(("skipped ", "error:"))
    ]


def test_reasons_are_listed_with_their_numbers(tmp_path: Path) -> None:
    lines = ["skipped 2: no browser. Run: install browser", f"skipped 1: {LINUX_REASON}"]
    assert run(tmp_path, ci="") == (0, lines)


def test_run_fails_in_ci_if_a_test_was_skipped(tmp_path: Path) -> None:
    status, lines = run(tmp_path, "-n", "1", ci="true")
    assert (status, len(lines), lines[-1].partition(":")[0]) == (1, 3, "error")


def test_run_passes_in_ci_if_the_system_cannot_run_the_test(tmp_path: Path) -> None:
    assert run(tmp_path, "-k", "not test_b", ci="true") == (0, [f"skipped 1: {LINUX_REASON}"])
