"""Constraints on `api_key`."""

from contextlib import suppress

import pytest
from gatehouse.core.key_fields import Purge
from gatehouse.core.keys import KEY_FIELDS, RESOLVED

from sandbox.errors import SandboxError
from tests.runtime.conftest import Database
from tests.runtime.rows import customer_row, key_row, plan_row


def insert(key_id: str, state: str, *, revoked: str = "NULL", **more: str) -> str:
    texts = {"id": key_id, "state": state, "name": "", "created_by": ""}
    columns = {column: f"'{text}'" for column, text in texts.items()}
    return key_row(";", **columns | more, revoked_at=revoked)


@pytest.mark.parametrize(
    ("state", "columns", "change"),
    [
        ("revoked", {"revoked": "now()"}, "state = 'active', revoked_at = NULL"),
        (
            "deleted",
            {"revoked": "now()", "deleted_at": "now()", "state_before": "'revoked'"},
            "state = 'active', revoked_at = NULL, deleted_at = NULL, state_before = NULL",
        ),
        ("purged", {"purged_at": "now()"}, "state = 'active', purged_at = NULL"),
        ("active", {"name": "'n'"}, "state = 'purged', purged_at = now()"),
    ],
    ids=["revoked", "deleted after a revocation", "purged", "purged with its data left"],
)
def test_final_state_cannot_be_left(
    database: Database, state: str, columns: dict[str, str], change: str
) -> None:
    attempt = (
        f"DO $$ BEGIN UPDATE api_key SET {change} WHERE id = 'finalstate01'; RAISE EXCEPTION "  # noqa: S608
        "'allowed'; EXCEPTION WHEN check_violation THEN NULL; END $$;"
    )
    output = database.sql(
        f"BEGIN; {insert('finalstate01', state, **columns)} {attempt} ROLLBACK; SELECT 'denied';"
    )
    assert output.split()[-1] == "denied"


_PURGE = "UPDATE api_key SET state = 'purged', purged_at = now() WHERE id = 'purgedkey001';"
_VALUES = {
    "text": "'x'",
    "ARRAY": "'{limits}'",
    "jsonb": "'[1]'",
    "boolean": "true",
    "integer": "1",
}
_COLUMNS = {"credits": "has_credits"}
_ERASED = [
    name
    for name, field in KEY_FIELDS.items()
    if not isinstance(field.purged, Purge) and name not in ("last_used_at", *RESOLVED)
]


def test_purged_key_has_no_data(database: Database) -> None:
    rows = (
        plan_row(";", name="'x'"),
        customer_row(";", id="'x'"),
        insert("purgedkey001", "active"),
    )
    empty = f"BEGIN; {' '.join(rows)}"
    assert database.sql(f"{empty} {_PURGE} SELECT count(*) FROM api_key; ROLLBACK") == "1"  # noqa: S608
    allowed = []
    for column in (_COLUMNS.get(name, name) for name in _ERASED):
        kind = database.sql(
            f"SELECT data_type FROM information_schema.columns WHERE table_name = 'api_key' "  # noqa: S608
            f"AND column_name = '{column}'"
        )
        change = f"{empty} UPDATE api_key SET {column} = {_VALUES.get(kind, 'now()')};"  # noqa: S608
        if column in ("customer_id", "plan", "inherits"):  # only other rows make them valid
            database.sql(f"{change} ROLLBACK")
        with suppress(SandboxError):
            left = f"SELECT {column} FROM api_key; ROLLBACK"  # noqa: S608
            if database.sql(f"{change} {_PURGE} {left}") not in ("", "{}"):
                allowed.append(column)
    assert allowed == [], (
        "a purge must erase these columns: in the migration that adds a column, write "
        "ALTER TABLE api_key ADD CONSTRAINT api_key_purged_<column>_check CHECK (state <> 'purged' "
        "OR <column> = <its value after a purge>)"
    )
