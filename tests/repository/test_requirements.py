"""Each bullet of tests/requirements.toml is shown by a test. Its page is a link of
docs/requirements.md, which tests/repository/test_docs.py checks.
"""

import re

from tests.repository.markers import ROOT
from tools.docs.requirements import bullets


def test_each_bullet_is_shown_by_a_test() -> None:
    assert len(bullets()) > 235
    missing = [
        bullet
        for bullet in bullets()
        for file, _, name in [bullet.test.partition("::")]
        if not re.search(rf"(?m)^(async )?def {name or '-'}\(", (ROOT / "tests" / file).read_text())
    ]
    assert missing == []
