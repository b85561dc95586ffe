"""Migration 0005 on a database with keys in it: forward, and back with imported keys left that verify no more."""

from __future__ import annotations

import pytest
from gatehouse.db.migrations import runner

from tests.runtime.conftest import Database
from tests.runtime.migrations.test_keys_for_life import insert


@pytest.mark.requirement("TR-01")
async def test_keys_go_forward_as_our_own_and_imported_ones_stay_on_the_way_back(empty_database: Database) -> None:
    await runner.migrate(empty_database.owner, to="0004")
    empty_database.sql(insert("oldxactive01", "active", family_id="'oldxactive01'"))
    await runner.migrate(empty_database.owner, to="0005")
    empty_database.sql(insert("imported0001", "active", scheme="'bcrypt'"))
    empty_database.sql("INSERT INTO foreign_hash VALUES ('imported0001', 1, '\\x00')")
    schemes = "SELECT string_agg(id || ' ' || scheme, ',' ORDER BY id) FROM api_key"
    assert empty_database.sql(schemes) == "imported0001 bcrypt,oldxactive01 own"
    await runner.migrate(empty_database.owner, to="0004", downgrade=True)
    assert empty_database.sql("SELECT string_agg(id || ' ' || state, ',' ORDER BY id) FROM api_key") == (
        "imported0001 active,oldxactive01 active"
    )
    await runner.migrate(empty_database.owner)
    assert empty_database.sql("SELECT count(*) FROM api_key WHERE scheme = 'own'") == "2"
