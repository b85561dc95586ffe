"""Programs that violate one control: ECS, ECR, Lambda and API Gateway."""

from __future__ import annotations

import json
from typing import Any

from policies.testing.pack_process import Declared, Ref
from tests.policies.rules import account_programs, network_programs, programs
from tests.policies.rules.builders import Program, changed, container, find, violation, without


def task(**inputs: Any) -> Program:
    return changed(programs.ecs(), "task", **inputs)


def logging(**options: Any) -> dict[str, Any]:
    merged = {"mode": "non-blocking", "awslogs-group": "/acme/gateway", **options}
    return {"logDriver": "awslogs", "options": {key: value for key, value in merged.items() if value is not None}}


def with_container(**properties: Any) -> Program:
    return task(containerDefinitions=json.dumps([container(**properties)]))


def function_with_database() -> Program:
    rotate = find(programs.watch(), "rotate")
    variables = {"DATABASE_HOST": Ref("database")}
    reader = Declared(rotate.type, "reader", rotate.inputs).with_inputs(environment={"variables": variables})
    alarm = find(programs.watch(), "rotate-alarm").with_inputs(dimensions={"FunctionName": Ref("reader")})
    board = find(programs.watch(), "dashboard")
    return [*programs.rds(), reader, alarm, Declared(board.type, "lambda-dashboard", board.inputs)]


def exec_enabled() -> Program:
    """ECS Exec with the VPC endpoint that it needs."""
    endpoint = find(network_programs.network(), "sts-endpoint")
    messages = endpoint.with_inputs(serviceName="com.amazonaws.eu-west-1.ssmmessages")
    program = changed(programs.ecs(), "service", enableExecuteCommand=True)
    return [*program, Declared(messages.type, "messages-endpoint", messages.inputs)]


VIOLATIONS = [
    violation("GH-ECS-001", "task", "privileged", with_container(privileged=True)),
    violation("GH-ECS-002", "task", "filesystem", with_container(readonlyRootFilesystem=None)),
    violation("GH-ECS-003", "task", "container", with_container(user="0:0")),
    violation("GH-ECS-003", "task", "container", with_container(user=None)),
    violation("GH-ECS-003", "task", "non-numeric", with_container(user="app")),
    violation("GH-ECS-004", "task", "networkMode", task(networkMode="host")),
    violation("GH-ECS-004", "task", "pidMode", task(pidMode="host")),
    violation(
        "GH-ECS-005", "task", "DATABASE_PASSWORD", with_container(environment=[{"name": "DATABASE_PASSWORD", "value": "hunter2"}])
    ),
    violation("GH-ECS-006", "task", "logConfiguration", with_container(logConfiguration=None)),
    violation("GH-ECS-006", "task", "non-blocking", with_container(logConfiguration=logging(mode=None))),
    violation("GH-ECS-006", "task", "container", with_container(logConfiguration=logging(**{"awslogs-group": "/elsewhere"}))),
    violation(
        "GH-ECS-007",
        "service",
        "networkConfiguration.assignPublicIp",
        changed(
            programs.ecs(),
            "service",
            networkConfiguration={"subnets": [Ref("app-a"), Ref("app-b")], "assignPublicIp": True},
        ),
    ),
    violation("GH-ECS-008", "service", "platformVersion", changed(programs.ecs(), "service", platformVersion="1.3.0")),
    violation("GH-ECS-009", "cluster", "Container", changed(programs.ecs(), "cluster", settings=None)),
    violation("GH-ECS-010", "service", "enableExecuteCommand", exec_enabled()),
    violation("GH-ECS-011", "task", "taskRoleArn", task(taskRoleArn=None)),
    violation("GH-ECS-011", "task", "taskRoleArn", task(taskRoleArn=Ref("execution-role", "arn"))),
    violation(
        "GH-ECS-012",
        "service",
        "deploymentCircuitBreaker",
        changed(programs.ecs(), "service", deploymentCircuitBreaker={"enable": True, "rollback": False}),
    ),
    violation("GH-ECS-013", "service", "desiredCount", changed(programs.ecs(), "service", desiredCount=1)),
    violation("GH-ECS-013", "service", "service", without(programs.ecs(), "scaling")),
    violation("GH-ECS-014", "task", "container", with_container(image="acme/gateway:latest")),
    violation("GH-ECS-015", "task", "ALL", with_container(linuxParameters={"capabilities": {}})),
    violation("GH-ECS-015", "task", "healthCheck", with_container(healthCheck=None)),
    violation(
        "GH-ECS-016",
        "task",
        "volumes[0].efsVolumeConfiguration.transitEncryption",
        task(volumes=[{"name": "files", "efsVolumeConfiguration": {"fileSystemId": "fs-1"}}]),
    ),
    violation(
        "GH-ECR-001",
        "images",
        "imageScanningConfiguration.scanOnPush",
        changed(programs.ecs(), "images", imageScanningConfiguration=None),
    ),
    violation("GH-ECR-002", "images", "imageTagMutability", changed(programs.ecs(), "images", imageTagMutability=None)),
    violation("GH-ECR-003", "images", "repository", without(programs.ecs(), "images-lifecycle")),
    violation(
        "GH-ECR-004",
        "images",
        "encryptionConfigurations",
        changed(programs.ecs(), "images", encryptionConfigurations=[{"encryptionType": "AES256"}]),
    ),
    violation("GH-LAM-001", "rotate", "supported", changed(programs.watch(), "rotate", runtime="python3.8")),
    violation(
        "GH-LAM-002",
        "rotate",
        "vpcConfig.subnetIds",
        changed(programs.watch(), "rotate", vpcConfig={"subnetIds": ["subnet-1"], "securityGroupIds": ["sg-1"]}),
    ),
    violation("GH-LAM-002", "reader", "vpcConfig", function_with_database()),
    violation(
        "GH-LAM-003",
        "rotate",
        "environment",
        changed(programs.watch(), "rotate", environment={"variables": {"API_TOKEN": "hunter2"}}),
    ),
    violation(
        "GH-LAM-004", "rotate-from-secrets", "sourceArn", changed(programs.watch(), "rotate-from-secrets", sourceAccount=None)
    ),
    violation(
        "GH-LAM-005", "rotate", "tracingConfig.mode", changed(programs.watch(), "rotate", tracingConfig={"mode": "PassThrough"})
    ),
    violation("GH-LAM-005", "rotate", "deadLetterConfig", changed(programs.watch(), "rotate", deadLetterConfig=None)),
    violation(
        "GH-API-001",
        "http-stage",
        "accessLogSettings.destinationArn",
        changed(account_programs.api(), "http-stage", accessLogSettings=None),
    ),
    violation("GH-API-002", "route", "authorizationType", changed(account_programs.api(), "route", authorizationType=None)),
    violation("GH-API-002", "post", "NONE", changed(account_programs.api(), "post", authorization="NONE")),
    violation("GH-API-003", "stage", "ACL", without(account_programs.api(), "stage-firewall")),
    violation("GH-API-003", "http", "CloudFront", changed(account_programs.api(), "front", webAclId=None)),
    violation(
        "GH-API-004", "http", "disableExecuteApiEndpoint", changed(account_programs.api(), "http", disableExecuteApiEndpoint=None)
    ),
    violation("GH-API-004", "domain", "securityPolicy", changed(account_programs.api(), "domain", securityPolicy="TLS_1_0")),
    violation(
        "GH-API-005",
        "settings",
        "settings.dataTraceEnabled",
        changed(account_programs.api(), "settings", settings={"dataTraceEnabled": True, "throttlingRateLimit": 1}),
    ),
    violation("GH-API-005", "stage", "xrayTracingEnabled", changed(account_programs.api(), "stage", xrayTracingEnabled=None)),
]
