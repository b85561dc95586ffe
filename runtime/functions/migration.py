"""Runs the database migration as an ECS task and waits for its end.

The Pulumi program invokes the function with the event `{"cluster": "gatehouse-dev-main",
"taskDefinition": ARN, "subnets": [ID], "securityGroup": ID, "assignPublicIp": "DISABLED"}`, before
the services receive a new image. A migration that is still running when the function ends goes on:
another one waits for it or fails, and changes nothing.

Source: docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RunTask.html
"""

import json
import logging
import time
from collections.abc import Mapping
from typing import Any

import boto3

#: Container of the task. AWS adds others, such as the agent of GuardDuty.
CONTAINER = "migrate"
POLL_S = 5.0
#: Time for the response of the function, in milliseconds.
MARGIN_MS = 15_000

log = logging.getLogger("gatehouse.migration")
log.setLevel(logging.INFO)


class MigrationFailed(Exception):
    """The database was not migrated. The message has the reason and what to do."""


def handler(event: Mapping[str, Any], context: Any) -> dict[str, str]:
    """Return the ID of the task that migrated the database. Raises MigrationFailed, or botocore's
    ClientError if AWS rejects a call.
    """
    ecs, cluster = boto3.client("ecs"), event["cluster"]
    network = {
        "subnets": event["subnets"],
        "securityGroups": [event["securityGroup"]],
        "assignPublicIp": event["assignPublicIp"],
    }
    started = ecs.run_task(
        cluster=cluster,
        taskDefinition=event["taskDefinition"],
        launchType="FARGATE",
        startedBy="migration",
        propagateTags="TASK_DEFINITION",
        networkConfiguration={"awsvpcConfiguration": network},
    )
    if not started["tasks"]:
        raise MigrationFailed(f"ECS did not start the migration: {started['failures']}")
    arn = str(started["tasks"][0]["taskArn"])
    task = arn.rpartition("/")[2]
    log.info(json.dumps({"event": "migration_started", "task": task}))
    row = started["tasks"][0]
    while row["lastStatus"] != "STOPPED":
        if context.get_remaining_time_in_millis() < MARGIN_MS:
            raise MigrationFailed(
                f"the migration still runs in the task {task}. When it has ended, repeat the update"
            )
        time.sleep(POLL_S)
        (row,) = ecs.describe_tasks(cluster=cluster, tasks=[arn])["tasks"]
    codes = {container["name"]: container.get("exitCode") for container in row["containers"]}
    if (code := codes.get(CONTAINER)) != 0:
        # Without an exit code, the image could not be pulled or a secret could not be read.
        raise MigrationFailed(
            f"the migration failed (exit code {code}): {row.get('stoppedReason')}. The services "
            f"were not changed. See the log: make logs ENV=<stack> PROCESS={CONTAINER}"
        )
    log.info(json.dumps({"event": "migration_completed", "task": task}))
    return {"task": task}
