"""What Checkov says of each mistake: run over the Terraform programs, from an environment of its own in .gatehouse/tools.

It is in no lock file of ours; `.venv/bin/python -m bench.peers checkov` brings it from PyPI, runs it and keeps what it
said in checkov.json.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.peers.mistakes import VARIANTS, Mistake, variant

VERSION = "3.3.30"
KEPT = Path(__file__).with_name("checkov.json")
_TOOLS = Path(__file__).resolve().parents[2] / ".gatehouse" / "tools" / "checkov"
_MINUTES_MAX = 10


def measure(mistakes: Sequence[Mistake]) -> None:
    """Run it over all programs at once, and keep which checks fail for the broken and not for the mended one."""
    failed: dict[tuple[str, str], dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for mistake in mistakes:
            for name in VARIANTS:
                place = folder / mistake.key / name
                place.mkdir(parents=True)
                (place / "main.tf").write_text(variant(mistake.terraform, name))
        for row in _failures(folder):
            key, name = Path(row["file_path"]).parts[-3:-1]
            failed.setdefault((key, name), {})[row["check_id"]] = row["check_name"]
    kept = {}
    for mistake in mistakes:
        broken, mended = (failed.get((mistake.key, name), {}) for name in VARIANTS)
        kept[mistake.key] = {check: broken[check] for check in sorted(set(broken) - set(mended))}
    KEPT.write_text(json.dumps({"version": VERSION, "caught": kept}, indent=2) + "\n")


def caught() -> tuple[str, dict[str, dict[str, str]]]:
    """The version that was run, and each check with its own title by the mistake's key."""
    kept = json.loads(KEPT.read_text())
    return kept["version"], kept["caught"]


def _failures(folder: Path) -> list[dict[str, Any]]:
    command = [_installed(), "-d", str(folder), "--framework", "terraform", "--output", "json", "--soft-fail", "--quiet"]
    done = subprocess.run([*command, "--skip-download"], capture_output=True, text=True, timeout=_MINUTES_MAX * 60, check=False)
    if done.returncode:
        sys.exit(f"checkov failed: {done.stderr[-500:]}")
    report = json.loads(done.stdout)
    if report["results"].get("parsing_errors"):
        sys.exit(f"checkov cannot read: {report['results']['parsing_errors']}")
    rows: list[dict[str, Any]] = report["results"]["failed_checks"]
    return rows


def _installed() -> str:
    program = _TOOLS / "bin" / "checkov"
    if not program.exists():
        venv.create(_TOOLS, with_pip=True)
        subprocess.run([_TOOLS / "bin" / "python", "-m", "pip", "install", "--quiet", f"checkov=={VERSION}"], check=True)
    return str(program)
