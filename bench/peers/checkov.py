"""Runs Checkov on the Terraform programs and stores its results in checkov.json.

Checkov is not in uv.lock. `python -m bench peers --checkov` installs it from PyPI into
.gatehouse/tools.
"""

import json
import subprocess
import sys
import tempfile
import venv
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

VERSION = "3.3.30"
RESULTS = Path(__file__).with_name("checkov.json")
_TOOLS = Path(__file__).resolve().parents[2] / ".gatehouse" / "tools" / "checkov"
_MINUTES_MAX = 10


def measure(programs: Mapping[str, Mapping[str, str]]) -> None:
    """Runs Checkov on Terraform programs, keyed by mistake and variant.

    Stores the checks that fail for the incorrect program but not for the corrected program.
    """
    failed: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for key, variants in programs.items():
            for name, program in variants.items():
                (folder / key / name).mkdir(parents=True)
                (folder / key / name / "main.tf").write_text(program)
        for row in _failures(folder):
            key, name = Path(row["file_path"]).parts[-3:-1]
            failed[key, name][row["check_id"]] = row["check_name"]
    results = {}
    for key in programs:
        incorrect, corrected = failed[key, "incorrect"], failed[key, "corrected"]
        results[key] = {
            check: incorrect[check] for check in sorted(set(incorrect) - set(corrected))
        }
    RESULTS.write_text(json.dumps({"version": VERSION, "caught": results}, indent=2) + "\n")


def caught() -> tuple[str, dict[str, dict[str, str]]]:
    """The version of Checkov, and the check IDs and titles, keyed by mistake."""
    results = json.loads(RESULTS.read_text())
    return results["version"], results["caught"]


def _failures(folder: Path) -> list[dict[str, Any]]:
    command = [
        _installed(),
        "-d",
        str(folder),
        "--framework",
        "terraform",
        "--output",
        "json",
        "--soft-fail",
        "--quiet",
    ]
    done = subprocess.run(
        [*command, "--skip-download"],
        capture_output=True,
        text=True,
        timeout=_MINUTES_MAX * 60,
        check=False,
    )
    if done.returncode:
        sys.exit(f"checkov failed: {done.stderr[-500:]}")
    report = json.loads(done.stdout)
    if report["results"].get("parsing_errors"):
        sys.exit(f"checkov cannot parse: {report['results']['parsing_errors']}")
    rows: list[dict[str, Any]] = report["results"]["failed_checks"]
    return rows


def _installed() -> str:
    executable = _TOOLS / "bin" / "checkov"
    if not executable.exists():
        venv.create(_TOOLS, with_pip=True)
        subprocess.run(
            [_TOOLS / "bin" / "python", "-m", "pip", "install", "--quiet", f"checkov=={VERSION}"],
            check=True,
        )
    return str(executable)
