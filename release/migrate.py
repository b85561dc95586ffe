"""Runs the database migration as an ECS task before the services receive the new image."""

from collections.abc import Mapping
from typing import Any

from release.errors import CommandFailed, step
from release.pulumi.stack import Stack

CONTAINER = "migrate"
"""AWS adds others, such as the agent of GuardDuty."""
WAIT = {"Delay": 5, "MaxAttempts": 180}


def migrate(stack: Stack, output: Mapping[str, Any]) -> None:
    """Run the task and wait until it stops. Raises CommandFailed, ClientError and WaiterError.

    output: the stack output `migration`.
    """
    ecs = stack.client("ecs")
    groups = {
        "securityGroups": [output["securityGroup"]],
        "assignPublicIp": output.get("assignPublicIp", "DISABLED"),
    }
    network = {"subnets": output["subnets"], **groups}
    response = ecs.run_task(
        cluster=stack.cluster,
        taskDefinition=output["taskDefinition"],
        launchType="FARGATE",
        startedBy="release",
        networkConfiguration={"awsvpcConfiguration": network},
    )
    if not response["tasks"]:
        raise CommandFailed(f"ECS did not start the migration task: {response['failures']}")
    task = {"cluster": stack.cluster, "tasks": [str(response["tasks"][0]["taskArn"])]}
    step(f"running the migration task {task['tasks'][0].rpartition('/')[2]}")
    ecs.get_waiter("tasks_stopped").wait(**task, WaiterConfig=WAIT)
    (stopped,) = ecs.describe_tasks(**task)["tasks"]
    codes = {container["name"]: container.get("exitCode") for container in stopped["containers"]}
    if (code := codes.get(CONTAINER)) != 0:
        # Without an exit code, the image could not be pulled or a secret could not be read.
        raise CommandFailed(
            f"the migration failed (exit code {code}): {stopped.get('stoppedReason')}. The ECS "
            f"services were not changed. Run: make logs ENV={stack.name} PROCESS={CONTAINER}"
        )
