"""Runs commands, and writes scripts that stand for programs."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def run(
    command: Sequence[str | Path],
    *,
    check: bool = False,
    timeout: float | None = 300,
    **options: Any,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end. Its output is captured as text. options: of `subprocess.run`."""
    return subprocess.run(
        command, check=check, timeout=timeout, capture_output=True, text=True, **options
    )


def executable(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o755)
    return file
