"""Each bullet of tests/requirements.toml is shown by a page and by a test."""

import re

from tests.repository.markers import ROOT
from tests.repository.test_docs import anchors
from tools.site.requirements import bullets


def test_each_bullet_is_shown_by_a_page_and_a_test() -> None:
    assert len(bullets()) > 235
    missing = []
    for bullet in bullets():
        page, _, anchor = bullet.page.partition("#")
        file, _, name = bullet.test.partition("::")
        shown = ROOT / "docs" / page
        if not shown.is_file() or (anchor and anchor not in anchors(shown)):
            missing.append(f"[{bullet.id}] {bullet.text!r}: correct the page {bullet.page}")
        test = ROOT / "tests" / file
        if not test.is_file() or not re.search(
            rf"(?m)^(async )?def {name or '-'}\(", test.read_text()
        ):
            missing.append(f"[{bullet.id}] {bullet.text!r}: correct the test {bullet.test}")
    assert missing == [], "change tests/requirements.toml"
