"""Under enforcement every role does what it is for, nothing is refused, and what is granted but not used has a written reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.conftest import Running, sandbox
from tools.docs.iam_documents import reasons

STACK = "dev"
PREFIX = f"gatehouse-{STACK}-"


def walk(running: Running) -> None:
    """What makes each role do what it is for. A role that gets a new permission gets a step here, or a written reason."""
    key_id, token = running.key()
    assert running.open(token).status_code == 200
    assert running.manage("POST", f"/v1/keys/{key_id}/revoke", {}).status_code == 200


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `up` wrote when it stopped; a run of its own, because the answer comes only at the end."""
    home: Path = tmp_path_factory.mktemp("home")
    started = sandbox(home, "up", "--env", STACK, "--detach")
    assert started.returncode == 0, started.stdout[-4000:] + started.stderr[-4000:]
    try:
        at = json.loads((home / "up.json").read_text())
        walk(Running(home, at["gateway"], at["console"], at["emulator"], at["admin_token"], at["stack"]))
    finally:
        stopped = sandbox(home, "down")
    assert stopped.returncode == 0, stopped.stderr
    told: dict[str, Any] = json.loads((home / "permissions.json").read_text())
    return told


@pytest.mark.requirement("CG-18", "ECS-01")
def test_no_call_of_the_runtime_is_refused(report: dict[str, Any]) -> None:
    assert report["refused"] == []
    assert any(row["used"] for row in report["roles"].values())


@pytest.mark.requirement("CG-18")
def test_what_is_granted_is_used_or_has_a_written_reason(report: dict[str, Any]) -> None:
    unused = {(role.removeprefix(PREFIX), action) for role, row in report["roles"].items() for action in row["unused"]}
    assert unused - set(reasons()) == set(), "use it, take it away, or give it a reason in tests/permissions.toml"


def test_no_reason_is_given_for_what_is_used(report: dict[str, Any]) -> None:
    used = {(role.removeprefix(PREFIX), action) for role, row in report["roles"].items() for action in row["used"]}
    assert used & set(reasons()) == set(), "take the reason out of tests/permissions.toml"
