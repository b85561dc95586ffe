"""Fixtures: a console and AWS for the provider."""

from collections.abc import Iterator

import pytest

from tests.clients.pulumi.environment import Environment, running
from tests.runtime.conftest import Database, database, migrated_database, postgres_server

__all__ = ["database", "migrated_database", "postgres_server"]


@pytest.fixture(scope="module")
def environment(
    database: Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Environment]:
    with running(database, tmp_path_factory.mktemp("console")) as environment:
        yield environment
