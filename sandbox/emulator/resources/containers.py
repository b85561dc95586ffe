"""ECS clusters, task definitions and services, Application Auto Scaling, and ECR repositories."""

import json
from typing import Any

from sandbox.emulator.request import ChangeRequest, CreateRequest

_DEPLOYMENT = {
    "deploymentCircuitBreaker": "deploymentCircuitBreaker",
    "alarms": "alarms",
    "deploymentMinimumHealthyPercent": "minimumHealthyPercent",
    "deploymentMaximumPercent": "maximumPercent",
}


def service_parameters(request: CreateRequest) -> dict[str, Any]:
    """Build deploymentConfiguration and awsvpcConfiguration from the flat inputs of the
    provider.
    """
    values: dict[str, Any] = {}
    if network := request.take("networkConfiguration"):
        public = "ENABLED" if network.get("assignPublicIp") else "DISABLED"
        values["networkConfiguration"] = {
            "awsvpcConfiguration": {**network, "assignPublicIp": public}
        }
    deployment = {
        member: request.peek(name)
        for name, member in _DEPLOYMENT.items()
        if request.take(name) is not None
    }
    if deployment := {**(request.take("deploymentConfiguration") or {}), **deployment}:
        values["deploymentConfiguration"] = deployment
    return {name: request.part("ecs.create_service", name, value) for name, value in values.items()}


def container_definitions(request: CreateRequest) -> dict[str, Any]:
    """The provider takes the container definitions as JSON text."""
    return {"containerDefinitions": json.loads(request.take("containerDefinitions"))}


def deregister_task(request: ChangeRequest) -> None:
    """Deregister the revision, unless `skipDestroy` keeps it for rollbacks."""
    if not request.old.registration.inputs.get("skipDestroy"):
        request.call("ecs.deregister_task_definition", taskDefinition=request.old.outputs["arn"])


def delete_repository(request: ChangeRequest) -> None:
    inputs = request.old.registration.inputs
    request.call(
        "ecr.delete_repository",
        repositoryName=request.old.id,
        force=bool(inputs.get("forceDelete")),
    )
