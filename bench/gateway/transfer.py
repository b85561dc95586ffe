"""Throughput and memory of `gatehouse import` with 100,000 keys: `python -m bench.gateway.transfer`."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import secrets
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from gatehouse.db.migrations import runner
from gatehouse.db.pool import login
from rich.console import Console
from rich.table import Table

from sandbox.local import servers

ROWS = 100_000
_MEASURED = """
import atexit, os, re, sys
from gatehouse.cli import main

def report():
    used = os.times()
    peak = re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]
    print("used", peak, used.user + used.system, file=sys.stderr)

atexit.register(report)
main()
"""
"""Runs the command and prints its peak memory (KiB) and CPU seconds.

A child inherits ru_maxrss from its parent, VmHWM is its own.
"""


@dataclass(frozen=True)
class Usage:
    """Wall-clock seconds, CPU seconds and peak memory of a command."""

    seconds: float
    cpu_s: float
    peak_mib: float


def main() -> None:
    with servers.postgres() as postgres, TemporaryDirectory() as name:
        asyncio.run(runner.migrate(login(postgres.owner_url, "url")))
        folder = Path(name)
        environment = {
            **{variable: value for variable, value in os.environ.items() if not variable.startswith("GATEHOUSE_")},
            "GATEHOUSE_ENVIRONMENT": "bench",
            "GATEHOUSE_DATABASE_URL": postgres.app_url,
            "GATEHOUSE_DATABASE_AUTH": "url",
            "GATEHOUSE_PEPPER": json.dumps(
                {"current": 1, "generations": {"1": base64.b64encode(secrets.token_bytes(32)).decode()}}
            ),
        }
        mib = _write(folder)
        rows = {
            "tokens (api_keys.json)": _run(folder, environment, "import", "api_keys.json"),
            "the same file again": _run(folder, environment, "import", "api_keys.json"),
            "SHA-256 hashes (keys.ndjson)": _run(folder, environment, "import", "keys.ndjson"),
            "sealed export of both": _run(folder, environment, "export", "--to", "registry.sealed"),
        }
        baseline = _run(folder, environment, "version")
    table = Table("", "rows", "seconds", "rows/s", "CPU s", "peak MiB", title=f"{ROWS:,} keys, file of {mib:.0f} MiB")
    for title, usage in rows.items():
        count = ROWS * 2 if title.startswith("sealed") else ROWS
        numbers = f"{usage.seconds:.1f}", f"{count / usage.seconds:,.0f}", f"{usage.cpu_s:.1f}", f"{usage.peak_mib:,.0f}"
        table.add_row(title, f"{count:,}", *numbers)
    Console(width=110).print(table)
    print(f"seconds and memory of the command; `gatehouse version` uses {baseline.peak_mib:,.0f} MiB")


def _write(folder: Path) -> float:
    """Write the import files; returns the size of the first in MiB."""
    fields = {"owner": "billing", "created": "2024-01-02T03:04:05", "rate_limit": 100}
    tokens = {secrets.token_urlsafe(24): {"name": f"key {number}", **fields} for number in range(ROWS)}
    (folder / "api_keys.json").write_text(json.dumps(tokens, indent=1))
    with (folder / "keys.ndjson").open("w") as lines:
        for number in range(ROWS):
            digest = hashlib.sha256(secrets.token_bytes(24)).hexdigest()
            lines.write(json.dumps({"hash": digest, "algorithm": "sha256", "name": f"hash {number}", **fields}) + "\n")
    return (folder / "api_keys.json").stat().st_size / 2**20


def _run(folder: Path, environment: dict[str, str], *arguments: str) -> Usage:
    before = time.perf_counter()
    result = subprocess.run(
        [sys.executable, "-c", _MEASURED, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - before
    if result.returncode != 0:
        raise SystemExit(f"gatehouse {' '.join(arguments)} failed: {result.stderr[-500:]}")
    _, peak_kib, cpu_s = result.stderr.splitlines()[-1].split()
    return Usage(seconds, float(cpu_s), int(peak_kib) / 1024)


if __name__ == "__main__":
    main()
