"""Key and audit commands against a running console."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.runtime.commands.cli.conftest import BOOTSTRAP, Command, key_id
from tests.runtime.conftest import Database


@pytest.mark.requirement("CG-01")
def test_key_is_created_listed_shown_and_revoked(operator: Command) -> None:
    created = operator.run(
        "keys", "create", "--name", "Prüfung", "--owner", "me", "--limit", "a=5/1m:2", "--ttl", "1h"
    )
    token = created.out.strip()
    assert created.code == 0
    assert "not shown again" in created.err
    assert key_id(token) in operator.run("keys", "list", "--owner", "me").out
    shown = json.loads(operator.run("keys", "show", key_id(token), "--json").out)
    assert (shown["name"], shown["limits"]) == (
        "Prüfung",
        [{"name": "a", "quota": 5, "window_s": 60, "burst": 2, "cost": 1}],
    )
    revoked = operator.run("keys", "revoke", key_id(token), "--reason", "test over")
    assert (revoked.code, "In effect at every gateway." in revoked.out) == (0, True)
    assert (
        json.loads(operator.run("keys", "list", "--owner", "me", "--json").out)[0]["state"]
        == "revoked"
    )


def test_validation_error_is_one_line_with_a_fix(operator: Command) -> None:
    result = operator.run("keys", "create", "--name", "x", "--scope", "NO")
    assert result.code == 2
    assert "body.scopes[0]: does not match the required pattern" in result.err


def test_denied_credential_is_not_printed(operator: Command) -> None:
    result = operator.run("keys", "list", GATEHOUSE_ADMIN_TOKEN="wr0ng")
    assert (result.code, result.err) == (1, "gatehouse: The bearer token is invalid.\n")


def test_token_is_read_from_standard_input(operator: Command) -> None:
    result = operator.run(
        "keys", "list", "--json", "--token", "-", stdin=f"{BOOTSTRAP}\n", GATEHOUSE_ADMIN_TOKEN=""
    )
    assert result.code == 0


def test_console_of_make_up_is_the_default(operator: Command, console_url: str) -> None:
    folder = operator.folder / ".gatehouse"
    folder.mkdir()
    (folder / "up.json").write_text(json.dumps({"console": console_url, "admin_token": BOOTSTRAP}))
    assert Command(operator.folder, {}).run("keys", "list").code == 0


@pytest.mark.requirement("TR-11")
def test_audit_trail_is_listed_and_verified(operator: Command, database: Database) -> None:
    token = operator.run("keys", "create", "--name", "audited").out.strip()
    assert "key.create" in operator.run("audit", "list", "--target", key_id(token)).out
    assert operator.run("audit", "verify").out.startswith("intact: ")
    copy: Path = operator.folder / "audit.jsonl"
    copy.write_text(operator.run("audit", "list", "--all", "--json").out)
    assert operator.run("audit", "verify", "--file", "audit.jsonl").out.startswith("intact: ")
    copy.write_text(copy.read_text().replace("audited", "auditeD"))
    broken = operator.run("audit", "verify", "--file", "audit.jsonl")
    assert (broken.code, broken.out.startswith("BROKEN at row ")) == (1, True)


def test_deleted_audit_row_is_detected(operator: Command, database: Database) -> None:
    for name in ("one", "two"):
        operator.run("keys", "create", "--name", name)
    database.sql("DELETE FROM audit_event WHERE seq = 1")
    result = operator.run("audit", "verify")
    assert (result.code, result.out.startswith("BROKEN at row 2")) == (1, True)


@pytest.mark.requirement("TR-13")
def test_usage_is_shown_as_table_and_json(operator: Command, database: Database) -> None:
    database.sql(
        "INSERT INTO usage_count VALUES (3600, '3fGh82kLmQ0a', date_trunc('hour', now()), "
        "'docs', 'VALID', 7)"
    )
    shown = operator.run("usage", "--by", "key,code", "--last", "24h")
    assert ("3fGh82kLmQ0a" in shown.out, "VALID" in shown.out, "#" * 30 in shown.out) == (
        True,
        True,
        True,
    )
    assert shown.err.startswith("7 requests from ")
    assert json.loads(operator.run("usage", "--json").out)["total"] == 7
