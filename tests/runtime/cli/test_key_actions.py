"""`gatehouse keys` actions against a running console."""

from __future__ import annotations

import json

import pytest

from tests.runtime.cli.conftest import Command


def _id(token: str) -> str:
    return token.split("_")[2][:12]


def _show(operator: Command, key_id: str) -> dict[str, object]:
    shown: dict[str, object] = json.loads(operator.run("keys", "show", key_id, "--json").out)
    return shown


def test_key_with_every_option_is_created_and_updated(operator: Command) -> None:
    created = operator.run(
        *("keys", "create", "--name", "whole", "--role", "agent", "--address", "192.0.2.0/24", "--method", "GET"),
        *("--credits", "5000:5000/month", "--tag", "nightly"),
    )
    key_id = _id(created.out.strip())
    changed = operator.run("keys", "update", key_id, "--owner", "me", "--empty", "addresses", "--credits", "none")
    assert (changed.code, changed.out.startswith(f"Updated {key_id} (whole), state active. ")) == (0, True)
    shown = _show(operator, key_id)
    assert (shown["owner"], shown["addresses"], shown["credits"], shown["roles"]) == ("me", [], None, ["agent"])
    assert key_id in operator.run("keys", "list", "--tag", "nightly").out


@pytest.mark.requirement("CG-15")
def test_key_is_rotated_and_its_grace_period_ended(operator: Command) -> None:
    key_id = _id(operator.run("keys", "create", "--name", "turning").out.strip())
    rotated = operator.run("keys", "rotate", key_id, "--grace", "1h", "--reason", "quarterly")
    new_id = _id(rotated.out.strip())
    assert (rotated.code, f"{key_id} works until" in rotated.err) == (0, True)
    assert {key["id"] for key in json.loads(operator.run("keys", "list", "--family", key_id, "--json").out)} == {key_id, new_id}
    assert operator.run("keys", "end-grace", key_id).code == 0
    again = operator.run("keys", "rotate", key_id)
    assert (again.code, again.err) == (1, f"gatehouse: The key was rotated before; rotate its successor {new_id}\n")


@pytest.mark.requirement("CG-08")
def test_key_passes_through_every_state(operator: Command) -> None:
    key_id = _id(operator.run("keys", "create", "--name", "gone").out.strip())
    for command, state in (("disable", "disabled"), ("enable", "active"), ("delete", "deleted"), ("restore", "active")):
        result = operator.run("keys", command, key_id, "--reason", "a test")
        assert (result.code, f"state {state}. In effect at every gateway." in result.out) == (0, True), command
    early = operator.run("keys", "purge", key_id, "--yes")
    assert (early.code, "delete or revoke the key first" in early.err) == (1, True)
    operator.run("keys", "delete", key_id)
    purged = operator.run("keys", "purge", key_id, "--yes")
    assert (purged.code, purged.out.startswith(f"Purged {key_id} at ")) == (0, True)
    assert _show(operator, key_id)["state"] == "purged"


def test_explain_and_pepper_status(operator: Command) -> None:
    key_id = _id(operator.run("keys", "create", "--name", "why", "--core", "docs").out.strip())
    explanation = operator.run("keys", "explain", key_id, "--core", "payroll", "--scope", "cores:read")
    assert (explanation.code, explanation.out.strip().splitlines()[-1]) == (0, "FORBIDDEN")
    status = json.loads(operator.run("pepper", "status", "--json").out)
    assert (status["current"], status["generations"][0]["removable"]) == (1, False)
    assert "Current generation: 1" in operator.run("pepper", "status").err
