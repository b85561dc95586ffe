"""Measures the throughput and memory use of `gatehouse import` and `gatehouse export`."""

import hashlib
import json
import secrets
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.gateway.environment import database, show

_MEASURED = """
import atexit, os, re, sys
from gatehouse.commands.cli import main

def report():
    used = os.times()
    peak = re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]
    print("used", peak, used.user + used.system, file=sys.stderr)

atexit.register(report)
main()
"""
"""Runs the command and prints its peak memory (KiB) and CPU seconds.

VmHWM is used because a child process inherits ru_maxrss from its parent.
"""


@dataclass(frozen=True)
class Usage:
    """Wall-clock seconds, CPU seconds and peak memory of a command."""

    seconds: float
    cpu_s: float
    peak_mib: float


def main(keys: int) -> None:
    with database() as (variables, *_), TemporaryDirectory() as name:
        folder = Path(name)
        mib = _write(folder, keys)
        usages = {
            "tokens (api_keys.json)": _run(folder, variables, "import", "api_keys.json"),
            "the same file again": _run(folder, variables, "import", "api_keys.json"),
            "SHA-256 hashes (keys.ndjson)": _run(folder, variables, "import", "keys.ndjson"),
            "sealed export of both": _run(folder, variables, "export", "--to", "registry.sealed"),
        }
        baseline = _run(folder, variables, "version")
    rows = []
    for title, usage in usages.items():
        count = keys * 2 if title.startswith("sealed") else keys
        numbers = (
            f"{usage.seconds:.1f}",
            f"{count / usage.seconds:,.0f}",
            f"{usage.cpu_s:.1f}",
            f"{usage.peak_mib:,.0f}",
        )
        rows.append((title, f"{count:,}", *numbers))
    show(
        f"{keys:,} keys, file of {mib:.0f} MiB",
        ("", "rows", "seconds", "rows/s", "CPU s", "peak MiB"),
        rows,
    )
    print(
        f"seconds and memory of the command; `gatehouse version` uses {baseline.peak_mib:,.0f} MiB"
    )


def _write(folder: Path, keys: int) -> float:
    """Write the import files. Returns the size of the first file in MiB."""
    fields = {"owner": "billing", "created": "2024-01-02T03:04:05", "rate_limit": 100}
    tokens = {
        secrets.token_urlsafe(24): {"name": f"key {number}", **fields} for number in range(keys)
    }
    (folder / "api_keys.json").write_text(json.dumps(tokens, indent=1))
    with (folder / "keys.ndjson").open("w") as lines:
        for number in range(keys):
            digest = hashlib.sha256(secrets.token_bytes(24)).hexdigest()
            lines.write(
                json.dumps(
                    {"hash": digest, "algorithm": "sha256", "name": f"hash {number}", **fields}
                )
                + "\n"
            )
    return (folder / "api_keys.json").stat().st_size / 2**20


def _run(folder: Path, variables: dict[str, str], *arguments: str) -> Usage:
    before = time.perf_counter()
    result = subprocess.run(
        [sys.executable, "-c", _MEASURED, *arguments],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - before
    if result.returncode != 0:
        raise SystemExit(f"gatehouse {' '.join(arguments)} failed: {result.stderr[-500:]}")
    _, peak_kib, cpu_s = result.stderr.splitlines()[-1].split()
    return Usage(seconds, float(cpu_s), int(peak_kib) / 1024)
