"""Runs the migration as a task of its own, before any service gets the new image, and waits for its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import WaiterError

POLL_S = 5
WAIT_S_MAX = 900


class MigrationFailed(Exception):
    """The schema is not what the new image needs; nothing was deployed. The text says why and what to look at."""


@dataclass(frozen=True, slots=True)
class Migration:
    """Where and what: ECS cluster, task definition ARN, subnets of the app tier, security group of the migration."""

    cluster: str
    definition: str
    subnets: tuple[str, ...]
    group: str

    @classmethod
    def of(cls, cluster: str, export: Mapping[str, Any]) -> Migration:
        """From the stack's export `migration`. Raises ValueError when a part of it is missing."""
        lacking = [key for key in ("taskDefinition", "subnets", "securityGroup") if not export.get(key)]
        if lacking:
            raise ValueError(f"the stack's output `migration` has no {', '.join(lacking)}; deploy the present program first")
        return cls(cluster, str(export["taskDefinition"]), tuple(export["subnets"]), str(export["securityGroup"]))


def migrate(ecs: Any, wanted: Migration, *, poll_s: int = POLL_S, wait_s_max: int = WAIT_S_MAX) -> str:
    """Run the task to its end; its id. Raises MigrationFailed when it is not started, does not end, or fails."""
    answer = ecs.run_task(
        cluster=wanted.cluster,
        taskDefinition=wanted.definition,
        launchType="FARGATE",
        count=1,
        startedBy="release",
        networkConfiguration={
            "awsvpcConfiguration": {
                "subnets": list(wanted.subnets),
                "securityGroups": [wanted.group],
                "assignPublicIp": "DISABLED",
            }
        },
    )
    if not answer["tasks"]:
        reasons = ", ".join(str(failure.get("reason", "no reason")) for failure in answer.get("failures", []))
        raise MigrationFailed(f"ECS did not start the migration: {reasons or 'no reason was given'}")
    arn = str(answer["tasks"][0]["taskArn"])
    try:
        ecs.get_waiter("tasks_stopped").wait(
            cluster=wanted.cluster, tasks=[arn], WaiterConfig={"Delay": poll_s, "MaxAttempts": max(1, wait_s_max // poll_s)}
        )
    except WaiterError as exc:
        raise MigrationFailed(
            f"the migration {_id(arn)} has not ended after {wait_s_max} s; it was left running, so look at it first"
        ) from exc
    (task,) = ecs.describe_tasks(cluster=wanted.cluster, tasks=[arn])["tasks"]
    codes = {str(container["name"]): container.get("exitCode") for container in task["containers"]}
    # A container without an exit code was never started: the image could not be pulled, or a secret not be read.
    bad = {name: code for name, code in codes.items() if code != 0}
    if bad:
        said = ", ".join(f"{name} {'never started' if code is None else f'ended with {code}'}" for name, code in bad.items())
        raise MigrationFailed(f"the migration {_id(arn)} failed: {said}. {task.get('stoppedReason', '')}".rstrip())
    return _id(arn)


def _id(arn: str) -> str:
    return arn.rpartition("/")[2]
