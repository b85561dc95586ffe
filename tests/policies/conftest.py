"""Processes of both packs, shared by all tests."""

from collections.abc import Iterator

import pytest

from policies.testing.pack_process import RunningPack


@pytest.fixture(scope="session")
def security() -> Iterator[RunningPack]:
    with RunningPack("security") as pack:
        yield pack


@pytest.fixture(scope="session")
def resilience() -> Iterator[RunningPack]:
    with RunningPack("resilience") as pack:
        yield pack
