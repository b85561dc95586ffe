"""An emulator for the tests of a file."""

from collections.abc import Iterator

import pytest

from sandbox.emulator.server import Emulator


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator.start() as started:
        yield started
