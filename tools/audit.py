"""`make audit`: compares the locked dependencies with vulnerability databases.

`uv audit` queries OSV for the packages of `uv.lock`; `npm audit` queries the npm registry for the
packages of every `package-lock.json`. Exit codes: 0 no known vulnerability, 1 a vulnerability, 3 an
audit did not run. With `--offline`, no audit runs and the exit code is 0.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools import nodejs

ROOT = Path(__file__).resolve().parents[1]
LOCAL_UV = ROOT / ".gatehouse" / "tools" / "bin" / "uv"
NPM_FOLDERS = ("runtime/web", "scripts/requirements/chromium")
OSV_URL = "https://api.osv.dev"
TIMEOUT_S = 180
_VULNERABLE, _NOT_RUN = 1, 3


@dataclass(frozen=True, slots=True)
class Audit:
    """The audit of one lock file. `not_run`: the reason why the packages were not compared with the
    database.
    """

    lock_file: str
    packages: int = 0
    vulnerabilities: tuple[str, ...] = ()
    not_run: str = ""

    def lines(self) -> list[str]:
        """Return the report, one line for each vulnerability."""
        if self.not_run:
            return [f"{self.lock_file}: NOT AUDITED: {self.not_run}"]
        summary = (
            f"{self.lock_file}: {self.packages} packages, {len(self.vulnerabilities)} "
            f"known vulnerabilities"
        )
        return [summary, *(f"  {vulnerability}" for vulnerability in self.vulnerabilities)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Audit the lock files, print the report and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.audit", description="Audit the locked dependencies."
    )
    parser.add_argument(
        "--offline", action="store_true", help="Report that no audit runs, with exit code 0."
    )
    parser.add_argument(
        "--osv-url",
        default=OSV_URL,
        help=f"Vulnerability database for uv.lock (default: {OSV_URL}).",
    )
    options = parser.parse_args(arguments)
    if options.offline:
        lock_files = ("uv.lock", *map(_npm_lock_file, NPM_FOLDERS))
        audits = [Audit(lock_file, not_run="--offline") for lock_file in lock_files]
    else:
        audits = [audit_python(options.osv_url), *map(audit_npm, NPM_FOLDERS)]
    for audit in audits:
        print("\n".join(audit.lines()))
    if any(audit.vulnerabilities for audit in audits):
        return _VULNERABLE
    return _NOT_RUN if any(audit.not_run for audit in audits) and not options.offline else 0


def audit_python(osv_url: str = OSV_URL) -> Audit:
    """Audit all packages of `uv.lock`, including the development dependencies."""
    uv = str(LOCAL_UV) if LOCAL_UV.exists() else shutil.which("uv")
    preview = ("--preview-features", "audit-command,json-output")
    document, reason = _json_of(
        uv,
        ["audit", "--frozen", *preview, "--service-url", osv_url, "--output-format", "json"],
        ROOT,
    )
    if document is None or "summary" not in document:
        return Audit("uv.lock", not_run=reason)
    found = tuple(
        f"{row['dependency']['name']} {row['dependency']['version']}: {row['display_id']}, "
        f"{row['summary']}"
        f" (fixed in: {', '.join(row['fix_versions']) or 'no version'})"
        for row in document["vulnerabilities"]
    )
    return Audit("uv.lock", document["summary"]["audited_packages"], found)


def audit_npm(folder: str) -> Audit:
    """Audit all packages of the lock file in a folder, including the development dependencies."""
    lock_file = _npm_lock_file(folder)
    npm = shutil.which("npm", path=nodejs.environment()["PATH"])
    document, reason = _json_of(npm, ["audit", "--json", "--package-lock-only"], ROOT / folder)
    if document is None or "vulnerabilities" not in document:
        return Audit(lock_file, not_run=(document or {}).get("message") or reason)
    found = tuple(
        f"{name}: {row['severity']}, versions {row['range']}"
        for name, row in document["vulnerabilities"].items()
    )
    return Audit(lock_file, document["metadata"]["dependencies"]["total"], found)


def _npm_lock_file(folder: str) -> str:
    return f"{folder}/package-lock.json"


def _json_of(
    program: str | None, options: Sequence[str], folder: Path
) -> tuple[dict[str, Any] | None, str]:
    """Run a command. Returns its JSON output, or None, and the last line of its error output."""
    if program is None:
        return None, "uv or npm is not installed. Run make init."
    env = {
        **os.environ,
        "PATH": os.pathsep.join((str(Path(program).parent), os.environ.get("PATH", ""))),
    }
    try:
        result = subprocess.run(
            [program, *options],
            cwd=folder,
            env=env,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, str(error)
    reason = next(
        (line.strip() for line in result.stderr.splitlines() if "error" in line),
        "the database did not respond",
    )
    try:
        document = json.loads(result.stdout)
    except ValueError:
        return None, reason
    return (document if isinstance(document, dict) else None), reason


if __name__ == "__main__":
    sys.exit(main())
