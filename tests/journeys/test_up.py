"""`up`, use of the services under IAM enforcement, attacks, and `down`. The observations include
other journeys in the same environment. Unused permissions have a reason in tests/permissions.toml.
"""

import json
import os
import stat
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from gatehouse.commands.cli import retrieval_links

from sandbox.local.run_state import RunStateFile
from sandbox.ports import PLAIN_HTTP
from tests.journeys.attacks import attack_sandbox
from tests.journeys.conftest import STACK, Environment, Running, sandbox
from tests.permission_reasons import listed_reasons
from tools.attack.attacks import ATTACKS, Outcome

DRAIN_S_MAX = 120
PREFIX = f"gatehouse-{STACK}-"


@dataclass(frozen=True)
class FinishedRun:
    """Observations during and after a run.

    mode: permissions of up.json. readiness: status of /readyz by service. gateway_response: to a
        method that the API of the sharing function does not have. drained: processes after the
        sample Core was drained. stopped: output of `down`.
    left: processes that are still running. files: names of the remaining files.
    roles: used and unused actions by role. denied: calls that IAM denied. attacks: results of `make
        attack`.
    """

    mode: int
    readiness: dict[str, int]
    before: dict[str, int]
    after: dict[str, int]
    update: str
    kept: int
    gateway_response: httpx.Response
    drained: dict[str, int]
    destroyed: str
    stopped: str
    left: list[str]
    files: list[str]
    roles: dict[str, dict[str, Any]]
    denied: list[str]
    attacks: list[Outcome]


def services(home: Path) -> dict[str, int]:
    state = RunStateFile(home).read()
    assert state is not None
    names = ("gateway", "console", "core", "sharing-function")
    return {
        child.name: child.pid for child in state.children if child.name in names and child.alive()
    }


def use_permissions(running: Running) -> None:
    key_id, token = running.key()
    assert running.open(token).status_code == 200
    assert running.manage("POST", f"/v1/keys/{key_id}/revoke", {}).status_code == 200
    use_core_credential(running)
    use_links(running)


def use_core_credential(running: Running) -> None:
    """The management API as a Core, which the admin token of the local environment authorizes."""
    value = f"Bearer {running.admin_token}"
    running.store_credential("management", {"url": running.console, "value": value})
    _, agent = running.key(scopes=["cores:register"])
    registered = httpx.put(
        f"{running.gateway}/v1/cores/management",
        json={"url": running.console, "settings": {"credential_header": "Authorization"}},
        headers={"Authorization": f"Bearer {agent}"},
        timeout=60,
        verify=PLAIN_HTTP,
    )
    assert registered.status_code == 200, registered.text
    _, token = running.key(scopes=["cores:read"])
    keys = httpx.get(
        f"{running.gateway}/cores/management/v1/keys",
        headers={"Authorization": f"Bearer {token}"},
        timeout=60,
        verify=PLAIN_HTTP,
    )
    assert keys.status_code == 200, keys.text


def use_links(running: Running) -> None:
    secret_id, link = running.share("correct horse")
    assert running.manage("GET", "/v1/secrets").json()["secrets"][0]["id"] == secret_id
    claim = running.open_link(link).json()["claim"]
    assert running.open_link(link, "acknowledge", claim=claim).status_code == 204
    assert running.purged(secret_id)["state"] == "purged"
    body = {
        "purpose": "Password",
        "retrieval_link": retrieval_links.parameters(retrieval_links.create()),
    }
    link = running.manage("POST", "/v1/secret-requests", body).json()["submission_link"]
    form = {"link": (None, link), "text": (None, "correct horse")}
    assert (
        httpx.post(f"{running.sharing}/v1/requests/submit", files=form, timeout=60).status_code
        == 200
    )


def drain(running: Running) -> dict[str, int]:
    command = [str(Path(sys.executable).with_name("gatehouse")), "cores", "drain", "docs"]
    credentials = {
        "GATEHOUSE_CONSOLE_URL": running.console,
        "GATEHOUSE_ADMIN_TOKEN": running.admin_token,
    }
    subprocess.run(command, env=os.environ | credentials, check=True)
    deadline = time.monotonic() + DRAIN_S_MAX
    while "core" in (processes := services(running.home)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return processes


def permissions(finished: FinishedRun, kind: str) -> set[tuple[str, str]]:
    return {
        (role.removeprefix(PREFIX), action)
        for role, row in finished.roles.items()
        for action in row[kind]
    }


def has_reason(role: str, action: str) -> bool:
    return not listed_reasons().keys().isdisjoint({(role, action), (role, "*")})


@pytest.fixture(scope="module")
def finished(environment: Environment, running: Running) -> FinishedRun:
    home = running.home
    try:
        mode = stat.S_IMODE((home / "up.json").stat().st_mode)
        urls = {"gateway": running.gateway, "console": running.console, "sharing": running.sharing}
        readiness = {
            service: httpx.get(f"{url}/readyz", timeout=60).status_code
            for service, url in urls.items()
        }
        use_permissions(running)
        attacks = attack_sandbox(home)
        before, key = services(home), running.key(scopes=["cores:read"])[1]
        changes = ("--set", f"image.digest=sha256:{'b' * 64}", "--set", "sharing.mode=serverless")
        update = sandbox(home, "up", "--env", STACK, *changes)
        assert update.returncode == 0, update.stdout[-4000:] + update.stderr
        after, kept = services(home), running.open(key).status_code
        use_links(running)
        gateway_response = httpx.delete(f"{running.sharing}/s/x", timeout=60)
        state = RunStateFile(home).read()
        assert state is not None
        drained = drain(running)
        destroyed = sandbox(home, "destroy")
        assert destroyed.returncode == 0, destroyed.stdout[-4000:] + destroyed.stderr
    finally:
        stopped = environment.stop()
    left = [child.name for child in (state.owner, *state.children) if child.alive()]
    permissions = json.loads((home / "permissions.json").read_text())
    files = [file.name for file in home.iterdir()]
    changed = (before, after, update.stdout, kept, gateway_response, drained, destroyed.stdout)
    return FinishedRun(
        mode,
        readiness,
        *changed,
        stopped,
        left,
        files,
        permissions["roles"],
        permissions["denied"],
        attacks,
    )


def test_up_serves_every_service_until_down(finished: FinishedRun) -> None:
    assert finished.mode == 0o600
    assert finished.readiness == {"gateway": 200, "console": 200, "sharing": 200}
    assert finished.stopped == f"Gatehouse (stack {STACK}) is stopped.\n"
    assert finished.left == []
    assert "up.json" not in finished.files


def test_second_up_updates_the_running_stack(finished: FinishedRun) -> None:
    assert "aws:ecs/taskDefinition:TaskDefinition  gateway" in finished.update
    assert finished.before.keys() == {"gateway", "console", "core"}
    assert finished.after.keys() == {*finished.before, "sharing-function"}
    assert {name for name, pid in finished.before.items() if finished.after[name] == pid} == {
        "core"
    }
    assert finished.kept == 200


def test_drained_core_ends_its_agent_and_nothing_else(finished: FinishedRun) -> None:
    others = {name: pid for name, pid in finished.after.items() if name != "core"}
    assert finished.drained == others


def test_destroy_deletes_every_resource(finished: FinishedRun) -> None:
    assert "aws:ec2/vpc:Vpc" in finished.destroyed
    assert "state.json" not in finished.files


def test_no_call_is_denied(finished: FinishedRun) -> None:
    assert finished.denied == []
    assert any(row["used"] for row in finished.roles.values())


def test_unused_permissions_have_a_reason(finished: FinishedRun) -> None:
    without = [
        permission for permission in permissions(finished, "unused") if not has_reason(*permission)
    ]
    assert without == [], "use the permission, remove it, or add a reason to tests/permissions.toml"


def test_every_attack_is_rejected(finished: FinishedRun) -> None:
    assert [
        (outcome.name, outcome.failures) for outcome in finished.attacks if outcome.failures
    ] == []
    assert sum(outcome.cases for outcome in finished.attacks) > 100
    assert len(finished.attacks) == len(ATTACKS)


def test_used_permissions_have_no_reason(finished: FinishedRun) -> None:
    used = permissions(finished, "used")
    assert len(used) > 10
    assert [permission for permission in used if has_reason(*permission)] == [], (
        "remove the reason from tests/permissions.toml"
    )
