"""`requirement` markers name requirements of tests/requirements.toml, which names some of them."""

import tomllib

from tests.repository.markers import ROOT, marked_tests


def test_markers_name_every_requirement_and_no_other() -> None:
    requirements = tomllib.loads((ROOT / "tests/requirements.toml").read_text())
    shown = requirements.pop("shown")
    assert len(requirements) > 50
    marked = marked_tests("requirement")
    assert set(marked) == set(requirements) == set(shown)
    tests = {id: f"tests/{test}" for id, (_, test) in shown.items()}
    unmarked = {id: test for id, test in tests.items() if test not in marked[id]}
    assert unmarked == {}, "these tests have no marker of the requirement that they show"
