"""One broken property at a time in what runs and what stands before it: ECS, ECR, load balancers, web firewalls."""

from __future__ import annotations

import json
from typing import Any

from policies.testing.harness import Ref
from tests.policies import programs
from tests.policies.breaks import Program, broken, changed, without
from tests.policies.programs import container


def task(**inputs: Any) -> Program:
    return changed(programs.ecs(), "task", **inputs)


def with_container(**properties: Any) -> Program:
    return task(containerDefinitions=json.dumps([container(**properties)]))


def logging(**options: Any) -> dict[str, Any]:
    merged = {"mode": "non-blocking", "awslogs-group": "/acme/gateway", **options}
    return {"logDriver": "awslogs", "options": {key: value for key, value in merged.items() if value is not None}}


def firewall(**inputs: Any) -> Program:
    return changed(programs.edge(), "firewall", **inputs)


CASES = [
    # --- ECS
    broken("GH-ECS-001", "task", "container gateway is privileged", with_container(privileged=True)),
    broken(
        "GH-ECS-002",
        "task",
        "container gateway can write to its root filesystem",
        with_container(readonlyRootFilesystem=None),
    ),
    broken("GH-ECS-003", "task", "container gateway runs as root", with_container(user="0:0")),
    broken("GH-ECS-003", "task", "container gateway sets no user and runs as root", with_container(user=None)),
    broken("GH-ECS-003", "task", "container gateway names its user instead of numbering it", with_container(user="app")),
    broken("GH-ECS-004", "task", "networkMode is not awsvpc", task(networkMode="host")),
    broken("GH-ECS-004", "task", "pidMode is host", task(pidMode="host")),
    broken(
        "GH-ECS-005",
        "task",
        "container gateway seems to hold a secret in its environment variable DATABASE_PASSWORD",
        with_container(environment=[{"name": "DATABASE_PASSWORD", "value": "hunter2"}]),
    ),
    broken("GH-ECS-006", "task", "container gateway has no logConfiguration", with_container(logConfiguration=None)),
    broken(
        "GH-ECS-006",
        "task",
        "container gateway blocks while it logs (mode is not non-blocking)",
        with_container(logConfiguration=logging(mode=None)),
    ),
    broken(
        "GH-ECS-006",
        "task",
        "container gateway logs to a log group that is not in the stack",
        with_container(logConfiguration=logging(**{"awslogs-group": "/elsewhere"})),
    ),
    broken(
        "GH-ECS-007",
        "service",
        "networkConfiguration.assignPublicIp is true",
        changed(
            programs.ecs(),
            "service",
            networkConfiguration={"subnets": [Ref("app-a"), Ref("app-b")], "assignPublicIp": True},
        ),
    ),
    broken(
        "GH-ECS-008",
        "service",
        "platformVersion is older than 1.4.0",
        changed(programs.ecs(), "service", platformVersion="1.3.0"),
    ),
    broken("GH-ECS-009", "cluster", "Container Insights is not enabled", changed(programs.ecs(), "cluster", settings=None)),
    broken("GH-ECS-011", "task", "taskRoleArn is not set", task(taskRoleArn=None)),
    broken(
        "GH-ECS-011",
        "task",
        "taskRoleArn and executionRoleArn are the same role",
        task(taskRoleArn=Ref("execution-role", "arn")),
    ),
    broken(
        "GH-ECS-012",
        "service",
        "neither the circuit breaker nor an alarm rolls a failed deployment back",
        changed(programs.ecs(), "service", deploymentCircuitBreaker={"enable": True, "rollback": False}),
    ),
    broken("GH-ECS-013", "service", "desiredCount is below 2", changed(programs.ecs(), "service", desiredCount=1)),
    broken("GH-ECS-013", "service", "no scaling target belongs to this service", without(programs.ecs(), "scaling")),
    broken("GH-ECS-014", "task", "container gateway names its image by tag", with_container(image="acme/gateway:latest")),
    broken(
        "GH-ECS-015",
        "task",
        "container gateway does not drop ALL capabilities",
        with_container(linuxParameters={"capabilities": {}}),
    ),
    broken("GH-ECS-015", "task", "container gateway has no healthCheck", with_container(healthCheck=None)),
    broken(
        "GH-ECS-016",
        "task",
        "volumes[0].efsVolumeConfiguration.transitEncryption is not ENABLED",
        task(volumes=[{"name": "files", "efsVolumeConfiguration": {"fileSystemId": "fs-1"}}]),
    ),
    # --- ECR
    broken(
        "GH-ECR-001",
        "images",
        "imageScanningConfiguration.scanOnPush is not true",
        changed(programs.ecs(), "images", imageScanningConfiguration=None),
    ),
    broken(
        "GH-ECR-002",
        "images",
        "imageTagMutability is not IMMUTABLE",
        changed(programs.ecs(), "images", imageTagMutability=None),
    ),
    broken(
        "GH-ECR-003",
        "images",
        "no lifecycle policy belongs to this repository",
        without(programs.ecs(), "images-lifecycle"),
    ),
    broken(
        "GH-ECR-004",
        "images",
        "encryptionConfigurations name no customer key",
        changed(programs.ecs(), "images", encryptionConfigurations=[{"encryptionType": "AES256"}]),
    ),
    # --- ALB and WAF
    broken(
        "GH-ALB-001",
        "http",
        "defaultActions[0] of an HTTP listener does not redirect to HTTPS",
        changed(programs.edge(), "http", defaultActions=[{"type": "forward"}]),
    ),
    broken(
        "GH-ALB-002",
        "https",
        "sslPolicy accepts protocols or ciphers older than TLS 1.2 with forward secrecy",
        changed(programs.edge(), "https", sslPolicy="ELBSecurityPolicy-2016-08"),
    ),
    broken(
        "GH-ALB-002",
        "https",
        "sslPolicy is not set, so TLS 1.0 is accepted",
        changed(programs.edge(), "https", sslPolicy=None),
    ),
    broken(
        "GH-ALB-003",
        "balancer",
        "dropInvalidHeaderFields is not true",
        changed(programs.edge(), "balancer", dropInvalidHeaderFields=None),
    ),
    broken(
        "GH-ALB-004",
        "balancer",
        "accessLogs.enabled is not true",
        changed(programs.edge(), "balancer", accessLogs=None),
    ),
    broken(
        "GH-ALB-005",
        "balancer",
        "enableDeletionProtection is not true",
        changed(programs.edge(), "balancer", enableDeletionProtection=False),
    ),
    broken(
        "GH-ALB-006",
        "balancer",
        "desyncMitigationMode is neither defensive nor strictest",
        changed(programs.edge(), "balancer", desyncMitigationMode="monitor"),
    ),
    broken(
        "GH-ALB-007",
        "balancer",
        "the load balancer has fewer than 2 subnets",
        changed(programs.edge(), "balancer", subnets=[Ref("edge-a")]),
    ),
    broken(
        "GH-ALB-008",
        "balancer",
        "no web ACL is associated with this load balancer",
        without(programs.edge(), "firewall-on-balancer"),
    ),
    broken(
        "GH-WAF-001",
        "firewall",
        "no rule limits the rate of requests",
        firewall(rules=next(one for one in programs.edge() if one.name == "firewall").inputs["rules"][:3]),
    ),
    broken(
        "GH-WAF-002",
        "firewall",
        "no logging configuration belongs to this web ACL",
        without(programs.edge(), "firewall-logging"),
    ),
    broken(
        "GH-WAF-002",
        "firewall",
        "the header x-api-key is not redacted in firewall-logging",
        changed(
            programs.edge(),
            "firewall-logging",
            redactedFields=[{"singleHeader": {"name": name}} for name in ("authorization", "cookie")],
        ),
    ),
    broken(
        "GH-WAF-003",
        "firewall",
        "visibilityConfig.cloudwatchMetricsEnabled is not true",
        firewall(visibilityConfig={"cloudwatchMetricsEnabled": False}),
    ),
]
