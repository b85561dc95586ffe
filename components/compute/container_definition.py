"""The container definition of a process: what the contract says, in the form ECS takes, with nothing allowed that it
does not need."""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from components.contract import Process, Secret

STOP_TIMEOUT_S = 60
"""How long a task may finish its requests before it is killed."""

SCRATCH = "scratch"
"""The task's one writable place, mounted at /tmp; it is gone with the task."""


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
    """One container definition (ECS API, ContainerDefinition).

    variables: value of each variable of the process. secret_arns: ARN of each secret by kind. health: the command that
    tells how it is; without one, our own processes ask their services. Raises KeyError naming what is missing.
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
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": log_group,
                "awslogs-region": region,
                "awslogs-stream-prefix": process.name,
                # A slow log service must not stop the process; 25 MB are kept, then lines are dropped.
                "mode": "non-blocking",
                "max-buffer-size": "25m",
            },
        },
    }
    if process.services:
        # The image has no shell tools; it asks its own services whether they answer.
        definition["healthCheck"] = {
            "command": ["CMD", *(health or (process.command[0], "health", *(service.name for service in process.services)))],
            "interval": 15,
            "timeout": 10,
            "retries": 3,
            "startPeriod": 30,
        }
    return definition


def _value_from(secret: Secret, arns: Mapping[str, pulumi.Input[str]]) -> pulumi.Input[str]:
    """The secret, or one member of its JSON: the two empty parts at the end mean its current version (ECS developer
    guide)."""
    arn = arns[secret.kind]
    return pulumi.Output.format("{}:{}::", arn, secret.json_key) if secret.json_key else arn
