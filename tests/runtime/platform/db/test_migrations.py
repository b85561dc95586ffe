"""Migrations, and the privileges of the application's role."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from gatehouse.core.customers import id_of
from gatehouse.core.errors import SettingsError, Unavailable
from gatehouse.platform.db.deployment import revisions
from gatehouse.platform.db.migrations import runner
from gatehouse.platform.db.pool import login

from sandbox.local import servers
from tests.runtime.conftest import Database, create_database
from tests.runtime.rows import key_row

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
    """A rollback deploys the previous image, which runs its migration."""
    await runner.migrate(empty_database.owner)
    empty_database.sql("INSERT INTO schema_revision VALUES ('9998')")
    try:
        outcome = await runner.migrate(empty_database.owner)
        assert (outcome.steps, outcome.revision) == ((), "9998")
        empty_database.sql("INSERT INTO deployment_fact VALUES ('compatible_since', '9998')")
        with pytest.raises(SettingsError, match="requires a version of Gatehouse with revision"):
            await runner.migrate(empty_database.owner)
    finally:
        empty_database.sql("DELETE FROM schema_revision WHERE revision = '9998'")
        empty_database.sql("DELETE FROM deployment_fact WHERE name = 'compatible_since'")


OWNERS = [
    *("billing", "acme", "ACME", "Team A", "team a", "Ünal & Söhne", "東京", "a@b.example"),
    *("x" * 64, "x" * 65, "-a", "a-", "...", "\N{KELVIN SIGN}ilo İ ẞ", "q'uote\\", "a  b"),
    id_of("Team A"),  # the ID that another owner receives
]


@pytest.fixture(scope="module")
async def migrated_owners(postgres_server: servers.Postgres) -> Any:
    """A database with keys at revision 0007, which is then migrated, and the keys after that."""
    database = create_database(postgres_server, "template0")
    keys = [(f"o{number:011}", owner, ["cores:read"]) for number, owner in enumerate(OWNERS)]
    roles = [["admin"], ["cores:read", "role:auditor"], ["secrets:read"]]
    keys += [(f"r{number:011}", "Anna", scopes) for number, scopes in enumerate(roles)]
    keys += [("none00000000", "", ["cores:read"]), ("purged000000", "", [])]
    async with runner.owner_connection(database.owner) as connection:
        await connection.execute("CREATE TABLE schema_revision (revision text PRIMARY KEY)")
        for revision in sorted(each for each in revisions() if each < "0008"):
            await connection.execute(revisions()[revision].read_text("utf-8"))
            await connection.execute("INSERT INTO schema_revision VALUES ($1)", revision)
        old = {"owner": "$2", "scopes": "$3", "notes": "repeat('n', 1995)"}
        for key in keys:
            await connection.execute(key_row(**old), *key)
        purge = (
            "UPDATE api_key SET state = 'purged', purged_at = now(), name = '', owner = '', notes "
            "= '', created_by = '', scopes = '{}', limits = '[]', digest = decode(repeat('00', 32),"
            " 'hex') WHERE id = $1"
        )
        await connection.execute(purge, "purged000000")
    assert (await runner.migrate(database.owner)).steps[0].revision == "0008"
    async with runner.owner_connection(database.owner) as connection:
        rows = await connection.fetch(
            "SELECT api_key.*, customer.name AS customer_name, customer.state AS customer_state "
            "FROM api_key LEFT JOIN customer ON customer.id = customer_id"
        )
        yield connection, {row["id"]: row for row in rows}, purge
    database.psql.close()


async def test_owner_of_keys_becomes_their_customer(migrated_owners: Any) -> None:
    connection, keys, _ = migrated_owners
    for number, owner in enumerate(OWNERS):
        key = keys[f"o{number:011}"]
        assert (key["customer_id"], key["customer_state"]) == (id_of(owner), "active"), owner
        assert key["customer_name"] == owner or id_of("Team A") == key["customer_id"]
        assert (key["version"], key["inherits"], len(key["notes"])) == (2, [], 1995)
    assert len({key["customer_id"] for key in keys.values()} - {None}) == len(OWNERS) - 1
    assert await connection.fetchval("SELECT count(*) FROM customer") == len(OWNERS) - 1


async def test_key_without_a_customer_keeps_its_owner_as_a_note(migrated_owners: Any) -> None:
    _, keys, _ = migrated_owners
    for number in range(3):
        key = keys[f"r{number:011}"]
        assert (key["customer_id"], len(key["notes"])) == (None, 2000)
        assert key["notes"].startswith("Owner: Anna\nnnn")
    for key_id in ("none00000000", "purged000000"):
        assert keys[key_id]["customer_id"] is None
    assert keys["none00000000"]["version"] == 1


async def test_version_before_customers_creates_and_purges_keys(migrated_owners: Any) -> None:
    connection, _, purge = migrated_owners
    await connection.execute(key_row(owner="'Team B'"), "later0000000")
    for key_id in ("later0000000", f"o{3:011}"):
        await connection.execute(purge, key_id)
        key = await connection.fetchrow("SELECT * FROM api_key WHERE id = $1", key_id)
        assert (key["state"], key["owner"], key["customer_id"]) == ("purged", "", None)


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
