"""The fake account of the tests of release commands."""

from collections.abc import Iterator

import pytest

from tests.release.fake_aws import FakeAccount, serving


@pytest.fixture
def account() -> Iterator[FakeAccount]:
    fake = FakeAccount()
    with serving(fake):
        yield fake
