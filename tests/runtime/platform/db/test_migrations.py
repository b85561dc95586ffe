"""Migrations, and the privileges of the application's role."""

import asyncio
from dataclasses import replace

import pytest
from gatehouse.core.errors import Conflict, Unavailable
from gatehouse.platform.db.migrations import runner
from gatehouse.platform.db.pool import login

from tests.runtime.conftest import Database

TABLES = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"


async def test_application_can_log_in_with_iam_tokens_as_on_rds(database: Database) -> None:
    assert database.sql("SELECT pg_has_role('gatehouse_app', 'rds_iam', 'member')") == "t"


# The next three tests need the database without a schema, so the third is the one that migrates it.


async def test_status_changes_nothing(empty_database: Database) -> None:
    assert (await runner.status(empty_database.owner)).pending[0] == "0001"
    assert empty_database.sql(TABLES) == "0"


async def test_application_role_cannot_migrate(empty_database: Database) -> None:
    with pytest.raises(Unavailable, match="gatehouse_app is not allowed to change the schema"):
        await runner.migrate(empty_database.app)


async def test_concurrent_runs_migrate_once(empty_database: Database) -> None:
    first, second = await asyncio.gather(
        runner.migrate(empty_database.owner), runner.migrate(empty_database.owner)
    )
    assert sorted((len(first.steps), len(second.steps))) == [0, len(first.steps or second.steps)]
    assert first.pending == second.pending == ()
    assert first.revision == second.revision


async def test_second_password_is_used_if_the_first_is_rejected(empty_database: Database) -> None:
    """On RDS, the owner can be a member of rds_iam, whose members log in with tokens only."""
    rejected = replace(empty_database.owner, password="rejected")
    with pytest.raises(Unavailable, match="rejected the login"):
        await runner.migrate(rejected)
    with pytest.raises(Unavailable, match="rejected the login"):
        await runner.migrate(replace(rejected, second_password="rejected, too"))

    async def token() -> str:
        return str(empty_database.owner.password)

    assert (await runner.migrate(replace(rejected, second_password=token))).pending == ()


async def test_database_of_a_newer_version_is_not_changed(empty_database: Database) -> None:
    await runner.migrate(empty_database.owner)
    empty_database.sql("INSERT INTO schema_revision VALUES ('9998')")
    try:
        with pytest.raises(
            Conflict, match="revision 9998, which this version of Gatehouse does not know"
        ):
            await runner.migrate(empty_database.owner)
    finally:
        empty_database.sql("DELETE FROM schema_revision WHERE revision = '9998'")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "postgresql://someone@127.0.0.1:1/gatehouse",
            "cannot connect to PostgreSQL at 127.0.0.1:1 .*refused",
        ),
        (
            "postgresql://someone@nowhere.invalid/gatehouse",
            "cannot connect to PostgreSQL at nowhere.invalid:5432",
        ),
    ],
)
async def test_unreachable_server_is_named(url: str, message: str) -> None:
    with pytest.raises(Unavailable, match=message):
        await runner.migrate(login(url, "url"))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_event SET actor_id = 'x'",
        "DELETE FROM audit_event",
        "TRUNCATE audit_event",
        "ALTER TABLE audit_event DISABLE TRIGGER ALL",
        "DROP TABLE audit_event",
        "DELETE FROM api_key",
        "TRUNCATE api_key CASCADE",
        "DROP TABLE schema_revision",
        "CREATE TABLE mine (id int)",
        "SELECT setval('change_seq', 1)",
    ],
)
def test_application_role_has_no_right_to(database: Database, statement: str) -> None:
    answer = database.sql(
        f"DO $$ BEGIN SET LOCAL ROLE gatehouse_app; EXECUTE $s${statement}$s$; RAISE EXCEPTION "
        "'allowed'; EXCEPTION WHEN insufficient_privilege THEN NULL; END $$; SELECT 'denied';"
    )
    assert answer == "denied"
