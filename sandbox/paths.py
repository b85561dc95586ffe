"""The repository's folder, the folder of local state, and private files in it."""

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
HOME = REPOSITORY / ".gatehouse"
"""Logs, reports and the state of a running `up`."""


def write_private(file: Path, text: str) -> None:
    """Write a file with mode 0600, atomically."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as out:
        out.write(text)
    temporary.replace(file)
