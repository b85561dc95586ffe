"""The function that runs the migration as an ECS task."""

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.stub import Stubber

from sandbox.emulator import sessions
from tests.runtime.functions.function_loader import load

migration = load("migration")
TASK = "arn:aws:ecs:eu-west-1:1:task/main/abc"
EVENT = {
    "cluster": "main",
    "taskDefinition": "arn:aws:ecs:eu-west-1:1:task-definition/migrate:2",
    "subnets": ["subnet-1"],
    "securityGroup": "sg-1",
    "assignPublicIp": "DISABLED",
    "database": "db-1",
}


class Context:
    def __init__(self, remaining_ms: int = 900_000) -> None:
        self.remaining_ms = remaining_ms

    def get_remaining_time_in_millis(self) -> int:
        return self.remaining_ms


@pytest.fixture
def ecs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubber]:
    client = sessions.session("x", "x", region="eu-west-1").client("ecs")
    monkeypatch.setattr(migration.boto3, "client", {"ecs": client}.__getitem__)
    monkeypatch.setattr(migration, "POLL_S", 0)
    with Stubber(client) as stub:
        yield stub
        stub.assert_no_pending_responses()


def start(stub: Stubber) -> None:
    groups = {"subnets": ["subnet-1"], "securityGroups": ["sg-1"], "assignPublicIp": "DISABLED"}
    parameters = {
        "cluster": "main",
        "taskDefinition": EVENT["taskDefinition"],
        "launchType": "FARGATE",
        "startedBy": "migration",
        "propagateTags": "TASK_DEFINITION",
        "networkConfiguration": {"awsvpcConfiguration": groups},
    }
    tasks = [{"taskArn": TASK, "lastStatus": "PROVISIONING"}]
    stub.add_response("run_task", {"tasks": tasks, "failures": []}, parameters)


def describe(stub: Stubber, status: str, code: int | None = None) -> None:
    containers: list[dict[str, Any]] = [
        {"name": "aws-guardduty-agent-Xy1", "exitCode": 137},
        {"name": "migrate", **({} if code is None else {"exitCode": code})},
    ]
    row = {"taskArn": TASK, "lastStatus": status, "containers": containers, "stoppedReason": "why"}
    stub.add_response("describe_tasks", {"tasks": [row]}, {"cluster": "main", "tasks": [TASK]})


def test_end_of_the_migration_is_awaited(ecs: Stubber) -> None:
    start(ecs)
    describe(ecs, "RUNNING")
    describe(ecs, "STOPPED", 0)
    assert migration.handler(EVENT, Context()) == {"task": "abc"}


@pytest.mark.parametrize("code", [1, None])
def test_failed_migration_is_an_error(ecs: Stubber, code: int | None) -> None:
    start(ecs)
    describe(ecs, "STOPPED", code)
    with pytest.raises(migration.MigrationFailed, match="why"):
        migration.handler(EVENT, Context())


def test_task_that_does_not_start_is_an_error(ecs: Stubber) -> None:
    failures = [{"reason": "RESOURCE:ENI"}]
    ecs.add_response("run_task", {"tasks": [], "failures": failures})
    with pytest.raises(migration.MigrationFailed, match="RESOURCE:ENI"):
        migration.handler(EVENT, Context())


def test_function_ends_before_its_timeout(ecs: Stubber) -> None:
    start(ecs)
    with pytest.raises(migration.MigrationFailed, match="still runs in the task abc"):
        migration.handler(EVENT, Context(remaining_ms=10_000))
