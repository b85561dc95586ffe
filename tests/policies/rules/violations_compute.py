"""Programs that violate one control: ECS, ECR, Lambda and API Gateway."""

import json
from typing import Any

from tests.policies.pack_process import Declared, Ref
from tests.policies.rules.account_programs import api
from tests.policies.rules.builders import (
    Program,
    by_change,
    changed,
    container,
    find,
    violation,
    without,
)
from tests.policies.rules.network_programs import network
from tests.policies.rules.programs import ecs, lifecycle, rds, watch


def task(**inputs: Any) -> Program:
    return changed(ecs(), "task", **inputs)


def logging(**options: Any) -> dict[str, Any]:
    merged = {"mode": "non-blocking", "awslogs-group": "/acme/gateway", **options}
    return {
        "logDriver": "awslogs",
        "options": {key: value for key, value in merged.items() if value is not None},
    }


def with_container(**properties: Any) -> Program:
    return task(containerDefinitions=json.dumps([container(**properties)]))


def function_with_database() -> Program:
    rotate = find(watch(), "rotate")
    variables = {"DATABASE_HOST": Ref("database")}
    reader = Declared(rotate.type, "reader", rotate.inputs).with_inputs(
        environment={"variables": variables}
    )
    alarm = find(watch(), "rotate-alarm").with_inputs(dimensions={"FunctionName": Ref("reader")})
    board = find(watch(), "dashboard")
    return [*rds(), reader, alarm, Declared(board.type, "lambda-dashboard", board.inputs)]


def exec_enabled() -> Program:
    """ECS Exec with the VPC endpoint that it needs."""
    endpoint = find(network(), "sts-endpoint")
    messages = endpoint.with_inputs(serviceName="com.amazonaws.eu-west-1.ssmmessages")
    program = changed(ecs(), "service", enableExecuteCommand=True)
    return [*program, Declared(messages.type, "messages-endpoint", messages.inputs)]


PASSWORD = {"name": "DATABASE_PASSWORD", "value": "hunter2-Prod"}
VIOLATIONS = [
    violation("GH-ECS-001", "task", "privileged", with_container(privileged=True)),
    violation("GH-ECS-002", "task", "filesystem", with_container(readonlyRootFilesystem=None)),
    violation("GH-ECS-003", "task", "container", with_container(user="0:0")),
    violation("GH-ECS-003", "task", "container", with_container(user=None)),
    violation("GH-ECS-003", "task", "non-numeric", with_container(user="app")),
    violation("GH-ECS-004", "task", "networkMode", task(networkMode="host")),
    violation("GH-ECS-004", "task", "pidMode", task(pidMode="host")),
    violation(
        "GH-ECS-005",
        "task",
        "command",
        with_container(command=["serve", "--password=hunter2-Prod"]),
    ),
    violation(
        "GH-ECS-005",
        "task",
        "DATABASE_PASSWORD",
        with_container(environment=[PASSWORD]),
    ),
    violation("GH-ECS-006", "task", "logConfiguration", with_container(logConfiguration=None)),
    violation(
        "GH-ECS-006", "task", "non-blocking", with_container(logConfiguration=logging(mode=None))
    ),
    violation(
        "GH-ECS-006",
        "task",
        "container",
        with_container(logConfiguration=logging(**{"awslogs-group": "/elsewhere"})),
    ),
    by_change(
        "GH-ECS-007",
        ecs,
        "service",
        "networkConfiguration.assignPublicIp",
        networkConfiguration={"subnets": [Ref("app-a"), Ref("app-b")], "assignPublicIp": True},
    ),
    by_change("GH-ECS-008", ecs, "service", "platformVersion", platformVersion="1.3.0"),
    by_change("GH-ECS-009", ecs, "cluster", "Container", settings=None),
    violation("GH-ECS-010", "service", "enableExecuteCommand", exec_enabled()),
    violation("GH-ECS-011", "task", "taskRoleArn", task(taskRoleArn=None)),
    violation("GH-ECS-011", "task", "taskRoleArn", task(taskRoleArn=Ref("execution-role", "arn"))),
    by_change(
        "GH-ECS-012",
        ecs,
        "service",
        "deploymentCircuitBreaker",
        deploymentCircuitBreaker={"enable": True, "rollback": False},
    ),
    by_change("GH-ECS-013", ecs, "service", "desiredCount", desiredCount=1),
    violation("GH-ECS-013", "service", "service", without(ecs(), "scaling")),
    violation("GH-ECS-014", "task", "container", with_container(image="acme/gateway:latest")),
    violation("GH-ECS-015", "task", "ALL", with_container(linuxParameters={"capabilities": {}})),
    violation("GH-ECS-015", "task", "healthCheck", with_container(healthCheck=None)),
    violation(
        "GH-ECS-016",
        "task",
        "volumes[0].efsVolumeConfiguration.transitEncryption",
        task(volumes=[{"name": "files", "efsVolumeConfiguration": {"fileSystemId": "fs-1"}}]),
    ),
    by_change(
        "GH-ECR-001",
        ecs,
        "images",
        "imageScanningConfiguration.scanOnPush",
        imageScanningConfiguration=None,
    ),
    by_change("GH-ECR-002", ecs, "images", "imageTagMutability", imageTagMutability=None),
    violation("GH-ECR-003", "images", "repository", without(ecs(), "images-lifecycle")),
    by_change("GH-ECR-005", ecs, "images-lifecycle", "any", policy=lifecycle(tagStatus="any")),
    by_change(
        "GH-ECR-004",
        ecs,
        "images",
        "encryptionConfigurations",
        encryptionConfigurations=[{"encryptionType": "AES256"}],
    ),
    by_change("GH-LAM-001", watch, "rotate", "supported", runtime="python3.8"),
    by_change(
        "GH-LAM-002",
        watch,
        "rotate",
        "vpcConfig.subnetIds",
        vpcConfig={"subnetIds": ["subnet-1"], "securityGroupIds": ["sg-1"]},
    ),
    violation("GH-LAM-002", "reader", "vpcConfig", function_with_database()),
    by_change(
        "GH-LAM-003",
        watch,
        "rotate",
        "environment",
        environment={"variables": {"DATABASE_PASSWORD": "hunter2-Prod"}},
    ),
    by_change("GH-LAM-004", watch, "rotate-from-secrets", "sourceArn", sourceAccount=None),
    by_change(
        "GH-LAM-005", watch, "rotate", "tracingConfig.mode", tracingConfig={"mode": "PassThrough"}
    ),
    by_change("GH-LAM-005", watch, "rotate", "deadLetterConfig", deadLetterConfig=None),
    by_change(
        "GH-API-001", api, "http-stage", "accessLogSettings.destinationArn", accessLogSettings=None
    ),
    by_change("GH-API-002", api, "route", "authorizationType", authorizationType=None),
    by_change("GH-API-002", api, "post", "NONE", authorization="NONE"),
    violation("GH-API-003", "stage", "ACL", without(api(), "stage-firewall")),
    violation("GH-API-003", "http", "CloudFront", without(api(), "cdn", "cdn-log", "cdn-delivery")),
    by_change(
        "GH-API-004", api, "http", "disableExecuteApiEndpoint", disableExecuteApiEndpoint=None
    ),
    by_change("GH-API-004", api, "domain", "securityPolicy", securityPolicy="TLS_1_0"),
    by_change(
        "GH-API-005",
        api,
        "settings",
        "settings.dataTraceEnabled",
        settings={"dataTraceEnabled": True, "throttlingRateLimit": 1},
    ),
    by_change("GH-API-005", api, "stage", "xrayTracingEnabled", xrayTracingEnabled=None),
]
