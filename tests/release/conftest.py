"""The fake account of the tests of release commands."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.release.fake_aws import serving
from tests.release.fake_cli import FakePulumi, deployed


@pytest.fixture
def account(tmp_path: Path) -> Iterator[FakePulumi]:
    """An account whose stack dev runs the image OLD."""
    fake = FakePulumi(folder=tmp_path)
    with serving(fake):
        yield deployed(fake)
