"""Both packs, shared by all tests."""

import pytest

from tests.policies.pack_process import ImportedPack, Pack


@pytest.fixture(scope="session")
def security() -> Pack:
    return ImportedPack("security")


@pytest.fixture(scope="session")
def resilience() -> Pack:
    return ImportedPack("resilience")
