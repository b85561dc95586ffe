"""Constraints on `api_key` that hold regardless of the application."""

from __future__ import annotations

import pytest

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
def test_final_state_cannot_be_left(database: Database, state: str, columns: dict[str, str], change: str) -> None:
    attempt = (
        f"DO $$ BEGIN UPDATE api_key SET {change} WHERE id = 'finalstate01'; RAISE EXCEPTION 'allowed';"  # noqa: S608
        " EXCEPTION WHEN check_violation THEN NULL; END $$;"
    )
    output = database.sql(f"BEGIN; {insert('finalstate01', state, **columns)} {attempt} ROLLBACK; SELECT 'denied';")
    assert output.split()[-1] == "denied"


_SECRET = {"signing_algorithm": "'hmac-sha256'", "signing_key": "'\\x00'", "signing_generation": "1"}


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
def test_inconsistent_signing_key_is_rejected(database: Database, columns: dict[str, str]) -> None:
    with pytest.raises(Exception, match="signing"):
        database.sql(insert("impossible01", "active", **columns))
