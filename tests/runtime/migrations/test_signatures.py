"""Migration 0004 on a database with keys in it: forward, and back without opening more than before."""

from __future__ import annotations

import pytest
from gatehouse.db.migrations import runner

from tests.runtime.conftest import Database
from tests.runtime.migrations.test_keys_for_life import insert

_SECRET = {"signing_algorithm": "'hmac-sha256'", "signing_key": "'\\x00'", "signing_generation": "1"}


@pytest.mark.requirement("TR-01")
async def test_a_key_that_requires_signatures_is_disabled_on_the_way_back(empty_database: Database) -> None:
    await runner.migrate(empty_database.owner, to="0003")
    empty_database.sql(insert("before000001", "active"))
    await runner.migrate(empty_database.owner, to="0004")
    empty_database.sql(
        insert("required0001", "active", **_SECRET, require_signature="true")
        + insert("optional0001", "active", **_SECRET)
        + insert("deleted00001", "deleted", **_SECRET, require_signature="true", deleted_at="now()", state_before="'active'")
    )
    await runner.migrate(empty_database.owner, to="0003", downgrade=True)
    back = "SELECT string_agg(concat_ws(' ', id, state, state_before), ',' ORDER BY id) FROM api_key"
    assert empty_database.sql(back).split(",") == [
        "before000001 active",
        "deleted00001 deleted disabled",
        "optional0001 active",
        "required0001 disabled",
    ]
    await runner.migrate(empty_database.owner, to="0004")
    assert empty_database.sql("SELECT count(*) FROM api_key WHERE signing_key IS NULL AND NOT require_signature") == "4"


@pytest.mark.parametrize(
    "columns",
    [
        {"require_signature": "true"},
        {"signing_algorithm": "'ed25519'"},
        {**_SECRET, "signing_generation": "0"},
        {**_SECRET, "signing_algorithm": "'ed25519'"},
        {**_SECRET, "signing_algorithm": "'none'"},
    ],
)
async def test_the_database_refuses_a_signing_key_that_cannot_be(database: Database, columns: dict[str, str]) -> None:
    with pytest.raises(Exception, match="signing"):
        database.sql(insert("impossible01", "active", **columns))
