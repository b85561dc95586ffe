"""ECS clusters, task definitions and services, and Application Auto Scaling."""

import json
from typing import Any

from sandbox.emulator import moto_patches
from sandbox.emulator.request import Created, CreateRequest
from sandbox.emulator.resource_type import PULUMI_ONLY, ResourceType


def _put_capacity_providers(request: CreateRequest) -> Created:
    names = {"clusterName": "cluster", "defaultCapacityProviderStrategies": "defaultCapacityProviderStrategy"}
    parameters = request.parameters("ecs.put_cluster_capacity_providers", names=names)
    parameters.setdefault("capacityProviders", [])
    parameters.setdefault("defaultCapacityProviderStrategy", [])
    request.call("ecs.put_cluster_capacity_providers", parameters)
    return parameters["cluster"], {}


def _set_containers(request: CreateRequest, parameters: dict[str, Any]) -> None:
    """Parse the container definitions, which the provider takes as JSON text."""
    try:
        containers = json.loads(request.take("containerDefinitions"))
    except ValueError as exc:
        raise request.error(f"property containerDefinitions is not JSON: {exc}.") from exc
    parameters["containerDefinitions"] = request.part("ecs.register_task_definition", "containerDefinitions", containers)


def _describe_task_definition(request: CreateRequest, task: dict[str, Any]) -> dict[str, Any]:
    arn = task["taskDefinitionArn"]
    return {"arn": arn, "arnWithoutRevision": arn.rpartition(":")[0], "revision": task["revision"]}


_DEPLOYMENT = {
    "deploymentCircuitBreaker": "deploymentCircuitBreaker",
    "alarms": "alarms",
    "deploymentMinimumHealthyPercent": "minimumHealthyPercent",
    "deploymentMaximumPercent": "maximumPercent",
}


def _set_service_parameters(request: CreateRequest, parameters: dict[str, Any]) -> None:
    """Build deploymentConfiguration and awsvpcConfiguration from the flat inputs of the provider."""
    network = request.take("networkConfiguration")
    if network:
        public = {"assignPublicIp": "ENABLED" if network.get("assignPublicIp") else "DISABLED"}
        parameters["networkConfiguration"] = request.part(
            "ecs.create_service", "networkConfiguration", {"awsvpcConfiguration": {**network, **public}}
        )
    own = request.take("deploymentConfiguration")
    configuration = dict(own) if own else {}
    for name, member in _DEPLOYMENT.items():
        value = request.take(name)
        if value is not None:
            configuration[member] = value
    if configuration:
        parameters["deploymentConfiguration"] = request.part("ecs.create_service", "deploymentConfiguration", configuration)


def _describe_service(request: CreateRequest, service: dict[str, Any]) -> dict[str, Any]:
    moto_patches.set_ecs_service(request, service["serviceArn"])
    return {"arn": service["serviceArn"]}


def _register_target(request: CreateRequest) -> Created:
    call = "application-autoscaling.register_scalable_target"
    target = request.call(call, request.parameters(call))
    arn = target.get("ScalableTargetARN")
    return str(request.peek("resourceId")), {"arn": arn} if arn else {}


_BY_HAND_IN_SERVICE = ("networkConfiguration", "deploymentConfiguration", *_DEPLOYMENT)


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:ecs/cluster:Cluster": ResourceType(
        call="ecs.create_cluster",
        result="cluster",
        id="{clusterArn}",
        names={"name": "clusterName"},
        outputs={"arn": "{clusterArn}"},
    ),
    "aws:ecs/clusterCapacityProviders:ClusterCapacityProviders": ResourceType(create=_put_capacity_providers),
    "aws:ecs/taskDefinition:TaskDefinition": ResourceType(
        call="ecs.register_task_definition",
        result="taskDefinition",
        id="{family}",
        prepare=_set_containers,
        finish=_describe_task_definition,
        handled=("containerDefinitions",),
        ignored={"skipDestroy": PULUMI_ONLY, "trackLatest": PULUMI_ONLY},
    ),
    "aws:ecs/service:Service": ResourceType(
        call="ecs.create_service",
        result="service",
        id="{serviceArn}",
        prepare=_set_service_parameters,
        finish=_describe_service,
        handled=_BY_HAND_IN_SERVICE,
        names={"name": "serviceName", "capacityProviderStrategies": "capacityProviderStrategy"},
        ignored={
            "waitForSteadyState": PULUMI_ONLY,
            "forceNewDeployment": PULUMI_ONLY,
            "triggers": PULUMI_ONLY,
            "sigintRollback": PULUMI_ONLY,
            "forceDelete": PULUMI_ONLY,
        },
    ),
    "aws:appautoscaling/target:Target": ResourceType(create=_register_target),
    "aws:appautoscaling/policy:Policy": ResourceType(
        call="application-autoscaling.put_scaling_policy",
        id="{name}",
        names={"name": "PolicyName"},
        outputs={"arn": "{PolicyARN}"},
    ),
}
