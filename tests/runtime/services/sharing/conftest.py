"""Fixtures of the secret sharing services."""

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.runtime.features.secrets.conftest import aws, module_services, sharing
from tests.runtime.features.secrets.services import Sharing

__all__ = ["aws", "module_services", "sharing"]


@pytest.fixture
async def browser(sharing: Sharing) -> AsyncIterator[httpx.AsyncClient]:
    async with sharing.client() as client:
        yield client
