"""`requirement` markers name requirements of tests/requirements.toml."""

from tools.docs.requirements import covered, requirements


def test_every_marker_names_a_known_requirement() -> None:
    marked = set(covered())
    assert len(marked) > 50
    assert marked - set(requirements()) == set()
