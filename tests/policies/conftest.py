"""Both packs, shared by all tests."""

import pytest
from hypothesis import settings

from tests.policies.pack_process import ImportedPack, Pack

# As in tests/conftest.py, which is not loaded when the tests of the distribution run alone.
settings.register_profile("policies", settings.default, deadline=None)
settings.load_profile("policies")


@pytest.fixture(scope="session")
def security() -> Pack:
    return ImportedPack("security")


@pytest.fixture(scope="session")
def resilience() -> Pack:
    return ImportedPack("resilience")
