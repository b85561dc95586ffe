"""The fake account of the tests of release commands."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.release.fake_aws import FakeAccount, serving


@pytest.fixture
def account(tmp_path: Path) -> Iterator[FakeAccount]:
    fake = FakeAccount(folder=tmp_path)
    with serving(fake):
        yield fake
