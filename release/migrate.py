"""Runs the database migration as a standalone ECS task before the services get the new image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import WaiterError

POLL_S = 5
TIMEOUT_S = 900


class MigrationFailed(Exception):
    """The migration task did not start, finish or succeed."""


@dataclass(frozen=True, slots=True)
class Migration:
    """Network and task definition of the migration task.

    cluster: name of the ECS cluster.
    definition: ARN of the task definition.
    subnets: ids of the app-tier subnets.
    group: id of the security group.
    """

    cluster: str
    definition: str
    subnets: tuple[str, ...]
    group: str

    @classmethod
    def of(cls, cluster: str, export: Mapping[str, Any]) -> Migration:
        """From the stack output `migration`. Raises ValueError if a member is missing."""
        missing = [key for key in ("taskDefinition", "subnets", "securityGroup") if not export.get(key)]
        if missing:
            raise ValueError(f"the stack output `migration` has no {', '.join(missing)}; deploy the current program first")
        return cls(cluster, str(export["taskDefinition"]), tuple(export["subnets"]), str(export["securityGroup"]))


def migrate(ecs: Any, migration: Migration, *, poll_s: int = POLL_S, timeout_s: int = TIMEOUT_S) -> str:
    """Run the task and wait until it stops. Returns the task id. Raises MigrationFailed."""
    response = ecs.run_task(
        cluster=migration.cluster,
        taskDefinition=migration.definition,
        launchType="FARGATE",
        count=1,
        startedBy="release",
        networkConfiguration={
            "awsvpcConfiguration": {
                "subnets": list(migration.subnets),
                "securityGroups": [migration.group],
                "assignPublicIp": "DISABLED",
            }
        },
    )
    if not response["tasks"]:
        reasons = ", ".join(str(failure.get("reason", "no reason")) for failure in response.get("failures", []))
        raise MigrationFailed(f"ECS did not start the migration task: {reasons or 'no reason given'}")
    arn = str(response["tasks"][0]["taskArn"])
    try:
        ecs.get_waiter("tasks_stopped").wait(
            cluster=migration.cluster, tasks=[arn], WaiterConfig={"Delay": poll_s, "MaxAttempts": max(1, timeout_s // poll_s)}
        )
    except WaiterError as exc:
        raise MigrationFailed(
            f"the migration task {_id(arn)} is still running after {timeout_s} s; check it before you retry"
        ) from exc
    (task,) = ecs.describe_tasks(cluster=migration.cluster, tasks=[arn])["tasks"]
    codes = {str(container["name"]): container.get("exitCode") for container in task["containers"]}
    # A container without an exit code did not start: the image could not be pulled or a secret could not be read.
    failures = {name: code for name, code in codes.items() if code != 0}
    if failures:
        text = ", ".join(
            f"{name} {'did not start' if code is None else f'exited with {code}'}" for name, code in failures.items()
        )
        raise MigrationFailed(f"the migration task {_id(arn)} failed: {text}. {task.get('stoppedReason', '')}".rstrip())
    return _id(arn)


def _id(arn: str) -> str:
    return arn.rpartition("/")[2]
