"""ECS clusters, task definitions and services, and Application Auto Scaling."""

import json
from typing import Any

from sandbox.emulator import moto_state
from sandbox.emulator.request import Make
from sandbox.emulator.resource_type import HOW_PULUMI_WORKS, Row


def _capacity_providers(make: Make) -> tuple[str, dict[str, Any]]:
    names = {"clusterName": "cluster", "defaultCapacityProviderStrategies": "defaultCapacityProviderStrategy"}
    parameters = make.parameters("ecs.put_cluster_capacity_providers", names=names)
    parameters.setdefault("capacityProviders", [])
    parameters.setdefault("defaultCapacityProviderStrategy", [])
    make.call("ecs.put_cluster_capacity_providers", parameters)
    return parameters["cluster"], {}


def _task_definition(make: Make, parameters: dict[str, Any]) -> None:
    """Container definitions are JSON text for the provider; every member of them is checked here."""
    try:
        containers = json.loads(make.take("containerDefinitions"))
    except ValueError as exc:
        raise make.error(f"property containerDefinitions is not JSON: {exc}.") from exc
    parameters["containerDefinitions"] = make.part("ecs.register_task_definition", "containerDefinitions", containers)


def _task_definition_outputs(make: Make, task: dict[str, Any]) -> dict[str, Any]:
    arn = task["taskDefinitionArn"]
    return {"arn": arn, "arnWithoutRevision": arn.rpartition(":")[0], "revision": task["revision"]}


_DEPLOYMENT = {
    "deploymentCircuitBreaker": "deploymentCircuitBreaker",
    "alarms": "alarms",
    "deploymentMinimumHealthyPercent": "minimumHealthyPercent",
    "deploymentMaximumPercent": "maximumPercent",
}


def _service(make: Make, parameters: dict[str, Any]) -> None:
    """What AWS gathers under deploymentConfiguration and awsvpcConfiguration is spread over the provider's inputs."""
    network = make.take("networkConfiguration")
    if network:
        public = {"assignPublicIp": "ENABLED" if network.get("assignPublicIp") else "DISABLED"}
        parameters["networkConfiguration"] = make.part(
            "ecs.create_service", "networkConfiguration", {"awsvpcConfiguration": {**network, **public}}
        )
    own = make.take("deploymentConfiguration")
    configuration = dict(own) if own else {}
    for name, member in _DEPLOYMENT.items():
        value = make.take(name)
        if value is not None:
            configuration[member] = value
    if configuration:
        parameters["deploymentConfiguration"] = make.part("ecs.create_service", "deploymentConfiguration", configuration)


def _service_kept(make: Make, service: dict[str, Any]) -> dict[str, Any]:
    moto_state.ecs_service(make, service)
    return {"arn": service["serviceArn"]}


def _target(make: Make) -> tuple[str, dict[str, Any]]:
    call = "application-autoscaling.register_scalable_target"
    answer = make.call(call, make.parameters(call))
    arn = answer.get("ScalableTargetARN")
    return str(make.peek("resourceId")), {"arn": arn} if arn else {}


_BY_HAND_IN_SERVICE = ("networkConfiguration", "deploymentConfiguration", *_DEPLOYMENT)


ROWS: dict[str, Row] = {
    "aws:ecs/cluster:Cluster": Row(
        call="ecs.create_cluster",
        reply="cluster",
        id="{clusterArn}",
        names={"name": "clusterName"},
        outputs={"arn": "{clusterArn}"},
    ),
    "aws:ecs/clusterCapacityProviders:ClusterCapacityProviders": Row(make=_capacity_providers),
    "aws:ecs/taskDefinition:TaskDefinition": Row(
        call="ecs.register_task_definition",
        reply="taskDefinition",
        id="{family}",
        shape=_task_definition,
        then=_task_definition_outputs,
        by_hand=("containerDefinitions",),
        ignored={"skipDestroy": HOW_PULUMI_WORKS, "trackLatest": HOW_PULUMI_WORKS},
    ),
    "aws:ecs/service:Service": Row(
        call="ecs.create_service",
        reply="service",
        id="{serviceArn}",
        shape=_service,
        then=_service_kept,
        by_hand=_BY_HAND_IN_SERVICE,
        names={"name": "serviceName", "capacityProviderStrategies": "capacityProviderStrategy"},
        ignored={
            "waitForSteadyState": HOW_PULUMI_WORKS,
            "forceNewDeployment": HOW_PULUMI_WORKS,
            "triggers": HOW_PULUMI_WORKS,
            "sigintRollback": HOW_PULUMI_WORKS,
            "forceDelete": HOW_PULUMI_WORKS,
        },
    ),
    "aws:appautoscaling/target:Target": Row(make=_target),
    "aws:appautoscaling/policy:Policy": Row(
        call="application-autoscaling.put_scaling_policy",
        id="{name}",
        names={"name": "PolicyName"},
        outputs={"arn": "{PolicyARN}"},
    ),
}
