"""Migration 0002 on a database with keys in it: forward, and back without opening more than before."""

from __future__ import annotations

import pytest
from gatehouse.db.migrations import runner

from tests.runtime.conftest import Database

_INSERT = (
    "INSERT INTO api_key (id, digest, pepper_generation, environment, state, name, owner, scopes, cores, limits, created_at,"
    " created_by, revoked_at{more}) VALUES ('{id}', decode(repeat('00', 32), 'hex'), 1, 'test', '{state}', '{name}', '', '{{}}',"
    " '{{}}', '[]', now(), '{by}', {revoked}{values});"
)


def insert(key_id: str, state: str, *, revoked: str = "NULL", name: str = "n", by: str = "t", **more: str) -> str:
    columns = "".join(f", {column}" for column in more)
    values = "".join(f", {value}" for value in more.values())
    return _INSERT.format(id=key_id, state=state, name=name, by=by, revoked=revoked, more=columns, values=values)


@pytest.mark.requirement("TR-01")
async def test_keys_go_forward_whole_and_back_without_opening_more(empty_database: Database) -> None:
    await runner.migrate(empty_database.owner, to="0001")
    empty_database.sql(insert("oldxactive01", "active") + insert("oldxrevoked1", "revoked", revoked="now()"))
    await runner.migrate(empty_database.owner, to="0002")
    forward = "SELECT string_agg(concat_ws(' ', id, state, family_id = id, generation), ',' ORDER BY id) FROM api_key"
    assert empty_database.sql(forward) == "oldxactive01 active t 1,oldxrevoked1 revoked t 1"
    empty_database.sql(
        insert("restricted01", "active", addresses="'{192.0.2.0/24}'")
        + insert("methods00001", "active", methods="'{GET}'")
        + insert("roles0000001", "active", roles="'{reader}'")
        + insert("credits00001", "active", has_credits="true")
        + insert("plain0000001", "active")
        + insert("deleted00001", "deleted", deleted_at="now()", state_before="'active'")
        + insert("purged000001", "purged", purged_at="now()", name="", by="")
    )
    await runner.migrate(empty_database.owner, to="0001", downgrade=True)
    back = "SELECT string_agg(id || ' ' || state, ',' ORDER BY id) FROM api_key"
    assert empty_database.sql(back).split(",") == [
        "credits00001 disabled",
        "deleted00001 revoked",
        "methods00001 disabled",
        "oldxactive01 active",
        "oldxrevoked1 revoked",
        "plain0000001 active",
        "purged000001 revoked",
        "restricted01 disabled",
        "roles0000001 disabled",
    ]
    await runner.migrate(empty_database.owner, to="0002")
    assert empty_database.sql("SELECT count(*) FROM api_key WHERE family_id = id") == "9"


@pytest.mark.parametrize(
    ("state", "columns", "change"),
    [
        ("revoked", {"revoked": "now()"}, "state = 'active', revoked_at = NULL"),
        (
            "deleted",
            {"revoked": "now()", "deleted_at": "now()", "state_before": "'revoked'"},
            "state = 'active', revoked_at = NULL, deleted_at = NULL, state_before = NULL",
        ),
        ("purged", {"purged_at": "now()", "name": "", "by": ""}, "state = 'active', purged_at = NULL"),
        ("active", {}, "state = 'purged', purged_at = now()"),
    ],
    ids=["revoked", "deleted after a revocation", "purged", "purged with its data left"],
)
def test_the_database_itself_refuses_a_way_back(database: Database, state: str, columns: dict[str, str], change: str) -> None:
    attempt = (
        f"DO $$ BEGIN UPDATE api_key SET {change} WHERE id = 'wayback00001'; RAISE EXCEPTION 'was allowed';"  # noqa: S608
        " EXCEPTION WHEN check_violation THEN NULL; END $$;"
    )
    answer = database.sql(f"BEGIN; {insert('wayback00001', state, **columns)} {attempt} ROLLBACK; SELECT 'refused';")
    assert answer.split()[-1] == "refused"
