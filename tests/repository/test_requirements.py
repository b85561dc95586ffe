"""`requirement` markers name requirements of tests/requirements.toml."""

import tomllib

from tests.repository.markers import ROOT, marked_tests


def test_every_marker_names_a_known_requirement() -> None:
    marked = set(marked_tests("requirement"))
    assert len(marked) > 50
    assert marked - set(tomllib.loads((ROOT / "tests/requirements.toml").read_text())) == set()
