"""ECS clusters, task definitions and services, Application Auto Scaling, and ECR repositories."""

import json
from typing import Any

from sandbox.emulator import moto_patches
from sandbox.emulator.request import CreateRequest
from sandbox.emulator.resource_type import ResourceType

_DEPLOYMENT = {
    "deploymentCircuitBreaker": "deploymentCircuitBreaker",
    "alarms": "alarms",
    "deploymentMinimumHealthyPercent": "minimumHealthyPercent",
    "deploymentMaximumPercent": "maximumPercent",
}


def _service_parameters(request: CreateRequest) -> dict[str, Any]:
    """Build deploymentConfiguration and awsvpcConfiguration from the flat inputs of the provider."""
    values: dict[str, Any] = {}
    if network := request.take("networkConfiguration"):
        public = "ENABLED" if network.get("assignPublicIp") else "DISABLED"
        values["networkConfiguration"] = {"awsvpcConfiguration": {**network, "assignPublicIp": public}}
    deployment = {member: request.peek(name) for name, member in _DEPLOYMENT.items() if request.take(name) is not None}
    if deployment := {**(request.take("deploymentConfiguration") or {}), **deployment}:
        values["deploymentConfiguration"] = deployment
    return {name: request.part("ecs.create_service", name, value) for name, value in values.items()}


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:ecs/cluster:Cluster": ResourceType(call="ecs.create_cluster", id="{clusterArn}"),
    "aws:ecs/clusterCapacityProviders:ClusterCapacityProviders": ResourceType(
        call="ecs.put_cluster_capacity_providers",
        id="{cluster}",
        names={"clusterName": "cluster"},
        prepare=lambda _request: {"defaultCapacityProviderStrategy": []},
    ),
    "aws:ecs/taskDefinition:TaskDefinition": ResourceType(
        call="ecs.register_task_definition",
        id="{family}",
        # The provider takes the container definitions as JSON text.
        prepare=lambda request: {"containerDefinitions": json.loads(request.take("containerDefinitions"))},
    ),
    "aws:ecs/service:Service": ResourceType(
        call="ecs.create_service",
        id="{serviceArn}",
        names={"capacityProviderStrategies": "capacityProviderStrategy"},
        prepare=_service_parameters,
        finish=lambda request, service: moto_patches.set_ecs_service(request, service["serviceArn"]),
    ),
    "aws:appautoscaling/target:Target": ResourceType(call="application-autoscaling.register_scalable_target", id="{resourceId}"),
    "aws:appautoscaling/scheduledAction:ScheduledAction": ResourceType(
        call="application-autoscaling.put_scheduled_action", id="{name}", names={"name": "ScheduledActionName"}
    ),
    "aws:appautoscaling/policy:Policy": ResourceType(call="application-autoscaling.put_scaling_policy", id="{name}"),
    "aws:ecr/repository:Repository": ResourceType(
        call="ecr.create_repository", id="{repositoryName}", outputs={"repositoryUrl": "{repositoryUri}"}
    ),
    "aws:ecr/lifecyclePolicy:LifecyclePolicy": ResourceType(
        call="ecr.put_lifecycle_policy",
        id="{repository}",
        names={"policy": "lifecyclePolicyText"},
    ),
    "aws:ecr/repositoryPolicy:RepositoryPolicy": ResourceType(
        call="ecr.set_repository_policy",
        id="{repository}",
        names={"policy": "policyText"},
    ),
}
