"""Key and audit commands against a running console."""

from __future__ import annotations

import json

from tests.runtime.commands.cli.conftest import BOOTSTRAP, Command


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
