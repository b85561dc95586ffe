"""Fixtures for the tests of the web UI."""

from collections.abc import AsyncIterator

import pytest

from tests.runtime.console_client import Console
from tests.runtime.features.secrets.conftest import aws, module_services, sharing
from tests.runtime.services.sharing.chromium import browser, serving

__all__ = ["aws", "browser", "module_services", "sharing"]


@pytest.fixture
async def origin(console: Console) -> AsyncIterator[str]:
    async with serving(console.application(console_url="")) as url:
        yield url
