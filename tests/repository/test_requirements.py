"""`requirement` markers name requirements of tests/requirements.toml."""

import tomllib

from tests.repository.markers import ROOT, marked_tests


def test_markers_name_every_requirement_and_no_other() -> None:
    requirements = tomllib.loads((ROOT / "tests/requirements.toml").read_text())
    assert len(requirements) > 50
    assert set(marked_tests("requirement")) == set(requirements)
