"""Under IAM enforcement, no call is denied, and unused permissions have a reason in tests/permissions.toml."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.conftest import Running, running_from, sandbox
from tools.docs.iam_documents import reasons

STACK = "dev"
PREFIX = f"gatehouse-{STACK}-"


def use_permissions(running: Running) -> None:
    """Use the permissions of each role. A new permission needs a step here or a reason in tests/permissions.toml."""
    key_id, token = running.key()
    assert running.open(token).status_code == 200
    assert running.manage("POST", f"/v1/keys/{key_id}/revoke", {}).status_code == 200
    secret_id, link = running.share("correct horse")
    assert running.manage("GET", "/v1/secrets").json()["secrets"][0]["id"] == secret_id
    claim = running.open_link(link).json()["claim"]
    assert running.open_link(link, "acknowledge", claim=claim).status_code == 204
    assert running.purged(secret_id)["state"] == "purged"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The permissions.json of a separate run, since `up` writes it when it stops."""
    home: Path = tmp_path_factory.mktemp("home")
    started = sandbox(home, "up", "--env", STACK, "--detach")
    assert started.returncode == 0, started.stdout[-4000:] + started.stderr[-4000:]
    try:
        use_permissions(running_from(home))
    finally:
        stopped = sandbox(home, "down")
    assert stopped.returncode == 0, stopped.stderr
    permissions: dict[str, Any] = json.loads((home / "permissions.json").read_text())
    return permissions


@pytest.mark.requirement("CG-18", "ECS-01")
def test_no_call_is_denied(report: dict[str, Any]) -> None:
    assert report["denied"] == []
    assert any(row["used"] for row in report["roles"].values())


@pytest.mark.requirement("CG-18")
def test_unused_permissions_have_a_reason(report: dict[str, Any]) -> None:
    unused = {(role.removeprefix(PREFIX), action) for role, row in report["roles"].items() for action in row["unused"]}
    assert unused - set(reasons()) == set(), "use the permission, remove it, or add a reason to tests/permissions.toml"


def test_used_permissions_have_no_reason(report: dict[str, Any]) -> None:
    used = {(role.removeprefix(PREFIX), action) for role, row in report["roles"].items() for action in row["used"]}
    assert used & set(reasons()) == set(), "remove the reason from tests/permissions.toml"
