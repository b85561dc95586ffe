"""Verification of the ECS services, the URLs and the canary key."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from release import verify
from release.verify import POLL_S, check_health, rollout_error, rollout_errors
from sandbox.emulator.server import Emulator
from tests.release.fake_aws import NEW
from tests.release.fake_cli import FakePulumi, deployed

WANTED = "arn:aws:ecs:eu-west-1:123456789012:task-definition/gateway:2"


def service(
    definition: str = WANTED, state: str = "COMPLETED", running: int = 2, **other: Any
) -> dict[str, Any]:
    counts = {"runningCount": running, "desiredCount": 2}
    primary = {"status": "PRIMARY", "taskDefinition": definition, "rolloutState": state}
    return {"deployments": [{**primary, **counts, **other}]}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({}, "runs no task "),
        (service(WANTED.replace(":2", ":1"), rolloutStateReason="alarm x"), "gateway:1 "),
        (service(state="FAILED", running=0, rolloutStateReason="tasks failed"), "tasks failed"),
        (service(state="IN_PROGRESS", running=1), "IN_PROGRESS, 1 of 2"),
        (service(running=1), "1 of 2"),
        (service(), ""),
    ],
)
def test_service_that_does_not_run_the_version_is_an_error(
    row: dict[str, Any], message: str
) -> None:
    error = rollout_error(row, WANTED)
    assert bool(error) == bool(message)
    assert message in error


@pytest.fixture
def ecs() -> Iterator[Any]:
    with Emulator.start() as emulator:
        yield emulator.client("ecs", "eu-west-1")


@pytest.mark.parametrize("tasks", [0, 2])
def test_rollout_is_waited_for_until_the_timeout(
    ecs: Any, tasks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """moto starts no tasks of a service."""
    monkeypatch.setattr(verify, "ROLLOUT", {"Delay": 0, "MaxAttempts": 2})
    definition = ecs.register_task_definition(
        family="gateway", containerDefinitions=[{"name": "gateway", "image": "x", "memory": 64}]
    )["taskDefinition"]["taskDefinitionArn"]
    ecs.create_cluster(clusterName="main")
    options = {"serviceName": "gateway", "taskDefinition": definition, "desiredCount": tasks}
    ecs.create_service(cluster="main", **options)
    errors = rollout_errors(ecs, "main", {"gateway": definition})
    assert len(errors) == (1 if tasks else 0)


@pytest.mark.parametrize(
    ("canary", "unhealthy", "code"),
    [(True, (), 0), (None, (), 0), (False, (), 1), (True, ("console",), 1)],
)
def test_urls_and_canary_key_are_verified(
    account: FakePulumi,
    canary: bool | None,
    unhealthy: tuple[str, ...],
    code: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(verify, "HEALTH_CHECK_ATTEMPTS", 1)
    account.canary, account.unhealthy = canary, unhealthy
    deployed(account, NEW)
    result = account.release("verify")
    assert (result.returncode, account.steps) == (code, ["invoke the probe"] * (canary is not None))
    assert all(f"{account.url}/{name}/healthz" in result.stderr for name in unhealthy)
    assert "ECS-09 cannot be read: " in result.stdout


def test_health_is_checked_after_a_rollback_of_ecs(account: FakePulumi) -> None:
    account.unhealthy, account.rolls_back = ("sharing",), True
    deployed(account, NEW)
    result = account.release("verify")
    assert result.returncode == 1
    assert ["sharing: " in line for line in result.stderr.splitlines()] == [False, False, True]


def test_unhealthy_url_is_retried(account: FakePulumi) -> None:
    account.unhealthy = ("gateway", "console")
    sleeps = list[float]()

    def recover(seconds: float) -> None:
        sleeps.append(seconds)
        account.unhealthy = ("console",)

    urls = {name: f"{account.url}/{name}" for name in ("gateway", "console")}
    (error,) = check_health(urls, attempts=3, sleep=recover)
    assert (error.partition(":")[0], sleeps) == ("console", [POLL_S] * 2)


def test_url_without_a_response_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor() as threads:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        errors = threads.submit(check_health, {"gateway": url}, attempts=1)
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"SSH-2.0-OpenSSH\r\n")
    assert len(errors.result()) == 1
    assert len(check_health({"gateway": url}, attempts=1)) == 1  # refuses the connection
