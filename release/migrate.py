"""Runs the database migration as a standalone ECS task before the services receive the new
image.
"""

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import WaiterError

from release.errors import DeploymentFailed
from release.stack_file import Stack

CONTAINER = "migrate"
"""Container whose exit code is the result. AWS adds containers to tasks, such as the agent of
GuardDuty Runtime Monitoring.
"""
POLL_S = 5
TIMEOUT_S = 900


def migrate(stack: Stack, ecs: Any, output: Mapping[str, Any]) -> str:
    """Run the task and wait until it stops. Returns the task ID.

    output: the stack output `migration`. Raises ValueError if the output has no subnets, security
    group or task definition of the stack, DeploymentFailed if the migration does not succeed, and
    ClientError.
    """
    arn = _start(stack, ecs, output)
    task_id = arn.rpartition("/")[2]
    try:
        ecs.get_waiter("tasks_stopped").wait(
            cluster=stack.cluster,
            tasks=[arn],
            WaiterConfig={"Delay": POLL_S, "MaxAttempts": TIMEOUT_S // POLL_S},
        )
    except WaiterError as exc:
        raise DeploymentFailed(
            f"the migration task {task_id} is still running after {TIMEOUT_S} s; check it before "
            f"you retry"
        ) from exc
    (task,) = ecs.describe_tasks(cluster=stack.cluster, tasks=[arn])["tasks"]
    codes = {container["name"]: container.get("exitCode") for container in task["containers"]}
    code = codes.get(CONTAINER)
    if code != 0:
        # A container without an exit code did not start: the image could not be pulled or a secret
        # could not be read.
        text = "did not start" if code is None else f"exited with {code}"
        raise DeploymentFailed(
            f"the migration task {task_id} failed: {CONTAINER} {text}. "
            f"{task.get('stoppedReason', '')}\nLogs: make logs ENV={stack.name} PROCESS=migrate"
        )
    return task_id


def _start(stack: Stack, ecs: Any, output: Mapping[str, Any]) -> str:
    missing = [key for key in ("taskDefinition", "subnets", "securityGroup") if not output.get(key)]
    if missing:
        raise ValueError(
            f"the stack output `migration` has no {', '.join(missing)}; deploy the current "
            f"program first"
        )
    family = str(output["taskDefinition"]).rpartition("/")[2].partition(":")[0]
    if family != stack.names.name(CONTAINER):  # the state may have changed
        raise ValueError(f"the migration of the stack {stack.name} has another task definition")
    network = {
        "subnets": output["subnets"],
        "securityGroups": [output["securityGroup"]],
        "assignPublicIp": "DISABLED",
    }
    response = ecs.run_task(
        cluster=stack.cluster,
        taskDefinition=output["taskDefinition"],
        launchType="FARGATE",
        count=1,
        startedBy="release",
        networkConfiguration={"awsvpcConfiguration": network},
    )
    if not response["tasks"]:
        reasons = ", ".join(
            str(failure.get("reason", "no reason")) for failure in response.get("failures", [])
        )
        raise DeploymentFailed(
            f"ECS did not start the migration task: {reasons or 'no reason was reported'}"
        )
    return str(response["tasks"][0]["taskArn"])
