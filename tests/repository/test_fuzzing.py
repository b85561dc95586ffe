"""The corpus of the fuzzed parsers: every stored input is replayed, and a defect in a target is
reported.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.fuzz.__main__ import NAMES
from tools.fuzz.corpus import CORPUS, inputs, replay
from tools.fuzz.targets import TARGETS


def test_every_target_has_a_corpus() -> None:
    assert tuple(TARGETS) == NAMES
    assert {folder.name for folder in CORPUS.iterdir()} == set(NAMES)
    assert [name for name in NAMES if len(inputs(name)) < 7] == []


@pytest.mark.parametrize("name", NAMES)
def test_corpus_shows_no_defect(name: str) -> None:
    assert [(path.name, repr(error)) for path, error in replay(TARGETS[name], inputs(name))] == []


def test_defect_is_reported_with_its_input(tmp_path: Path) -> None:
    def target(data: bytes) -> None:
        assert data != b"2"

    for name in "123":
        (tmp_path / name).write_bytes(name.encode())
    defects = list(replay(target, sorted(tmp_path.iterdir())))
    assert [(path.name, type(error)) for path, error in defects] == [("2", AssertionError)]
