"""Reads the cases of a test file from the TOML file with its name."""

import tomllib
from pathlib import Path
from typing import Any


def cases(file: str) -> Any:
    """file: `__file__` of the test file."""
    return tomllib.loads(Path(file).with_suffix(".toml").read_text())
