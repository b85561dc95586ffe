"""ECS container definitions of processes."""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from components.contract import Process, Secret

STOP_TIMEOUT_S = 60
"""Time between SIGTERM and SIGKILL, in which a task completes its requests."""

SCRATCH = "scratch"
"""Ephemeral volume, mounted at /tmp. It is the only writable path."""


def container_definition(
    process: Process,
    *,
    image: str,
    user: str,
    region: str,
    log_group: str,
    variables: Mapping[str, pulumi.Input[str]],
    secret_arns: Mapping[str, pulumi.Input[str]],
    health: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the ECS container definition of a process. Raises KeyError if a variable or secret has no value.

    variables: Values of the process's environment variables.
    secret_arns: ARN of each secret, by kind.
    health: Health check command; by default the `health` command of the image with the names of the services.
    """
    definition: dict[str, Any] = {
        "name": process.name,
        "image": image,
        "essential": True,
        **({"command": list(process.command)} if process.command else {}),
        "user": user,
        "privileged": False,
        "readonlyRootFilesystem": True,
        "mountPoints": [{"sourceVolume": SCRATCH, "containerPath": "/tmp", "readOnly": False}],  # noqa: S108 in the container
        "linuxParameters": {"initProcessEnabled": True, "capabilities": {"drop": ["ALL"]}},
        "environment": [{"name": name, "value": variables[name]} for name in process.variables],
        "secrets": [{"name": secret.variable, "valueFrom": _value_from(secret, secret_arns)} for secret in process.secrets],
        "portMappings": [
            {"name": service.name, "containerPort": service.port, "protocol": "tcp"} for service in process.services
        ],
        "stopTimeout": STOP_TIMEOUT_S,
        "logConfiguration": log_configuration(log_group, region, process.name, buffer_mb=25),
    }
    if process.services:
        # The image contains no shell, so the check is a command of the application.
        definition["healthCheck"] = {
            "command": ["CMD", *(health or (process.command[0], "health", *(service.name for service in process.services)))],
            "interval": 15,
            "timeout": 10,
            "retries": 3,
            "startPeriod": 30,
        }
    return definition


def log_configuration(log_group: str, region: str, stream_prefix: str, *, buffer_mb: int) -> dict[str, Any]:
    """Return a log configuration that does not block the container: lines are dropped if the buffer is full."""
    options = {"awslogs-group": log_group, "awslogs-region": region, "awslogs-stream-prefix": stream_prefix}
    return {"logDriver": "awslogs", "options": {**options, "mode": "non-blocking", "max-buffer-size": f"{buffer_mb}m"}}


def _value_from(secret: Secret, arns: Mapping[str, pulumi.Input[str]]) -> pulumi.Input[str]:
    """Return the ARN of the secret, or of one JSON key of its current version. Source: ECS Developer Guide, "Pass Secrets
    Manager secrets through Amazon ECS environment variables"."""
    arn = arns[secret.kind]
    return pulumi.Output.format("{}:{}::", arn, secret.json_key) if secret.json_key else arn
