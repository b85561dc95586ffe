"""Fixtures for the tests of the web UI. `browser`: one process for all files of a worker."""

from collections.abc import AsyncIterator

import pytest

from tests.runtime.console_client import Console
from tests.runtime.services.sharing.chromium import browser, serving

__all__ = ["browser"]


@pytest.fixture
async def origin(console: Console) -> AsyncIterator[str]:
    """Serves the console on a free port."""
    async with serving(console.application(console_url="")) as url:
        yield url
