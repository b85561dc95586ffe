"""The corpus of the fuzzed parsers: every stored input is replayed."""

from pathlib import Path

import pytest

from tools.fuzz.__main__ import CORPUS, NAMES
from tools.fuzz.targets import TARGETS

INPUTS = sorted(path for path in CORPUS.rglob("*") if path.is_file())


def test_every_target_has_a_corpus() -> None:
    assert tuple(TARGETS) == NAMES
    folders = [path.parent.name for path in INPUTS]
    assert set(folders) == set(NAMES)
    assert [name for name in NAMES if folders.count(name) < 7] == []


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_corpus_shows_no_defect(path: Path) -> None:
    TARGETS[path.parent.name](path.read_bytes())
