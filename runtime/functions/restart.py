"""Restarts the ECS services that still use the previous value of a rotated secret.

ECS injects secrets when a task starts. EventBridge invokes the function after each successful
rotation and after each completed deployment of a service of the stack, with the event `{"cluster":
"gatehouse-dev-main", "services": [{"service": "gatehouse-dev-console", "secrets":
["gatehouse/dev/pepper"]}]}`. The function starts one deployment: of the first service, in the order
of the event, whose deployment is older than the last rotation of one of its secrets. The completed
deployment invokes the function again, which then restarts the next service. While a deployment is
in progress, the function does nothing. Idempotent.

Source: docs.aws.amazon.com/AmazonECS/latest/APIReference/API_UpdateService.html
    (forceNewDeployment), API_Deployment.html
"""

import json
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import boto3

log = logging.getLogger("gatehouse.restart")
log.setLevel(logging.INFO)


class InvalidEvent(Exception):
    """The event contains no cluster or no services."""


def handler(event: Mapping[str, Any], context: object) -> dict[str, str]:
    """Restart at most one service. Return its name as `restarted`, or the reason why no service was
    restarted.

    Raises InvalidEvent, or botocore's ClientError if AWS rejects a call.
    """
    cluster, services = event.get("cluster"), event.get("services")
    if not isinstance(cluster, str) or not isinstance(services, Sequence) or not services:
        raise InvalidEvent(
            'the event must be {"cluster": string, "services": [{"service": name, "secrets": '
            "[name]}]}"
        )
    ecs, secrets_manager = boto3.client("ecs"), boto3.client("secretsmanager")
    rows = ecs.describe_services(
        cluster=cluster, services=[entry["service"] for entry in services]
    )["services"]
    deployments = {
        row["serviceName"]: row["deployments"] for row in rows if row["status"] == "ACTIVE"
    }
    if any(map(is_in_progress, deployments.values())):
        return _result("reason", "a deployment is in progress")
    for entry in services:
        started = started_at(deployments.get(entry["service"], []))
        rotated = [
            secrets_manager.describe_secret(SecretId=secret).get("LastRotatedDate")
            for secret in entry["secrets"]
        ]
        if started and any(time and started < time for time in rotated):
            ecs.update_service(cluster=cluster, service=entry["service"], forceNewDeployment=True)
            return _result("restarted", entry["service"])
    return _result("reason", "all services use the current secrets")


def is_in_progress(deployments: Sequence[Mapping[str, Any]]) -> bool:
    return len(deployments) > 1 or any(
        row.get("rolloutState") == "IN_PROGRESS" for row in deployments
    )


def started_at(deployments: Sequence[Mapping[str, Any]]) -> datetime | None:
    """Start time of the deployment of a service. All of its tasks are at least as new. None if the
    service does not exist.
    """
    return next((row["createdAt"] for row in deployments if row["status"] == "PRIMARY"), None)


def _result(key: str, value: str) -> dict[str, str]:
    log.info(json.dumps({"event": "services_checked", key: value}))
    return {key: value}
