"""ECS clusters, task definitions and services, Application Auto Scaling, and ECR repositories."""

import json
from typing import Any

from sandbox.emulator.request import ChangeRequest, CreateRequest
from sandbox.emulator.resource_type import ResourceType, Setting

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


TYPES = {
    "ecs.Cluster": ResourceType("ecs.create_cluster", "{clusterArn}"),
    "ecs.TaskDefinition": ResourceType(
        "ecs.register_task_definition",
        "{family}",
        prepare=container_definitions,
        delete=deregister_task,
    ),
    "ecs.Service": ResourceType(
        "ecs.create_service",
        "{serviceArn}",
        prepare=service_parameters,
        delete_parameters={"force": True},
    ),
    "appautoscaling.Target": ResourceType(
        "application-autoscaling.register_scalable_target", "{resourceId}"
    ),
    "appautoscaling.Policy": ResourceType("application-autoscaling.put_scaling_policy", "{name}"),
    "ecr.Repository": ResourceType(
        "ecr.create_repository",
        "{repositoryName}",
        outputs={"repositoryUrl": "{repositoryUri}"},
        delete=delete_repository,
        settings=(
            Setting(
                "ecr.put_image_scanning_configuration", ["imageScanningConfiguration"], created=True
            ),
            Setting("ecr.put_image_tag_mutability", ["imageTagMutability"], created=True),
        ),
    ),
    "ecr.LifecyclePolicy": ResourceType(
        "ecr.put_lifecycle_policy", "{repository}", names={"policy": "lifecyclePolicyText"}
    ),
    "ecr.RepositoryPolicy": ResourceType(
        "ecr.set_repository_policy", "{repository}", names={"policy": "policyText"}
    ),
}
