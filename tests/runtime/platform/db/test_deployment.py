"""The settings on which processes agree, in the database."""

import asyncio
import base64
import json
from contextlib import suppress
from typing import Any

import pytest
from gatehouse.core.errors import SettingsError, Unavailable
from gatehouse.platform import settings
from gatehouse.platform.db.deployment import Facts
from gatehouse.platform.db.pool import Pool

from tests.runtime.conftest import Database


def facts(**changes: str) -> Facts:
    pepper = base64.b64encode(changes.pop("pepper", "p").encode() * 32).decode()
    number = changes.pop("generation", "1")
    environ = {
        "GATEHOUSE_ENVIRONMENT": "dev",
        "GATEHOUSE_DATABASE_URL": "postgresql://a@127.0.0.1/b",
        "GATEHOUSE_PEPPER": json.dumps({"current": int(number), "generations": {number: pepper}}),
        **{settings.variable(name): value for name, value in changes.items()},
    }
    return Facts(settings.load(environ))


async def opens(database: Database, of: Facts) -> bool:
    pool = Pool(database.app, application="tests", size_max=1, facts=of)
    try:
        with suppress(SettingsError):
            await pool.open()
            return True
        # Also of a process that has started while the database was not available.
        with pytest.raises(Unavailable) as raised:
            await pool.fetchval("SELECT 1")
        assert "GATEHOUSE_PEPPER" in raised.value.detail
        assert "GATEHOUSE_PEPPER" not in raised.value.public
        return False
    finally:
        await pool.close()


@pytest.mark.parametrize("changed", ["generation", "pepper"])
async def test_one_of_two_first_processes_starts(database: Database, changed: str) -> None:
    database.sql("DELETE FROM deployment_fact")
    others: list[dict[str, Any]] = [{changed: value} for value in ("1", "2")]
    started = await asyncio.gather(*(opens(database, facts(**each)) for each in others))
    assert sorted(started) == [False, True]


async def test_secrets_are_not_recorded(database: Database) -> None:
    database.sql("DELETE FROM deployment_fact")
    assert await opens(database, facts())
    recorded = database.sql("TABLE deployment_fact")
    assert "pepper:1" in recorded
    for secret in (b"p" * 32, base64.b64encode(b"p" * 32), (b"p" * 32).hex().encode()):
        assert secret.decode() not in recorded


async def test_application_cannot_change_a_fact(database: Database) -> None:
    assert database.sql(
        "SELECT string_agg(privilege_type, ',' ORDER BY privilege_type) FROM "
        "information_schema.role_table_grants WHERE grantee = 'gatehouse_app' AND "
        "table_name = 'deployment_fact'"
    ) == ("INSERT,SELECT")
