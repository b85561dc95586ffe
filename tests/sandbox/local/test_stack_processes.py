"""The code of the checkout is a part of the definition of each process."""

from pathlib import Path

import pytest

from sandbox.local.stack_processes import code_digest

pytestmark = pytest.mark.requirement("TR-17")


def test_digest_depends_on_names_and_content_and_not_on_caches(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("one")
    digests = [code_digest(tmp_path)]
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "app.pyc").write_text("cache")
    assert code_digest(tmp_path) == digests[0]
    (tmp_path / "app.py").write_text("two")
    digests.append(code_digest(tmp_path))
    (tmp_path / "app.py").rename(tmp_path / "other.py")
    digests.append(code_digest(tmp_path))
    assert len(set(digests)) == 3
