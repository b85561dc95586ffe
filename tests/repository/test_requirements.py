"""Each bullet of tests/requirements.toml is shown by a test with its requirement as a marker. Its
page is a link of docs/requirements.md, which tests/repository/test_docs.py checks.
"""

from tests.repository.markers import marked_tests
from tools.docs.requirements import bullets


def test_each_bullet_is_shown_by_a_marked_test() -> None:
    assert len(bullets()) > 235
    marked = marked_tests("requirement")
    assert set(marked) == {bullet.id for bullet in bullets()}
    unmarked = [each for each in bullets() if f"tests/{each.test}" not in marked[each.id]]
    assert unmarked == [], "these tests are missing, or have no marker of the requirement"
