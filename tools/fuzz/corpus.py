"""The stored inputs for each target: seeds, and one input for each defect that fuzzing found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tools.fuzz.targets import Target

CORPUS = Path(__file__).with_name("corpus")


def inputs(target: str) -> list[Path]:
    """The corpus files of a target, sorted by name."""
    return sorted(path for path in (CORPUS / target).iterdir() if path.is_file())


def replay(target: Target, files: list[Path]) -> Iterator[tuple[Path, Exception]]:
    """Runs a target with each file. Yields the files that show a defect, and the exceptions."""
    for file in files:
        try:
            target(file.read_bytes())
        except Exception as error:
            yield file, error
