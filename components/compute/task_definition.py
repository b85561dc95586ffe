"""ECS task definitions, each with a log group, the container of a process and the OpenTelemetry
collector as a sidecar.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
import pulumi_aws as aws

from components.component import StackComponent
from components.compute.container_image import RUNTIME
from components.compute.environment import DRAIN_S, REQUESTS_S
from components.context import Stack
from components.contract import Process, Secret
from components.iam.role_policies import COLLECTOR, COLLECTOR_METRICS_STREAM
from components.naming import Naming, tags

STOP_TIMEOUT_S = DRAIN_S + REQUESTS_S + 10
"""Time between SIGTERM and SIGKILL. After the last request, Envoy and then the workers have five
seconds each to close their connections and to write pending data
(`gatehouse.platform.supervisor`). Fargate allows 120 seconds.
"""
SCRATCH = "scratch"
"""Ephemeral volume, mounted at /tmp, the only writable path. Contains the configuration of Envoy,
and the sockets and pipes between Envoy and the workers.
"""
LINUX_PARAMETERS = {"initProcessEnabled": True, "capabilities": {"drop": ["ALL"]}}

DOCKERFILE = Path(__file__).parents[2] / "runtime" / "Dockerfile"
(COLLECTOR_DIGEST,) = re.findall(r"(?m)^FROM \S+@(\S+) AS collector$", DOCKERFILE.read_text())
"""Digest of the image index (amd64 and arm64) of the AWS Distro for OpenTelemetry collector."""
COLLECTOR_USER = "4317:4317"
"""Numeric user ID, which differs from that of the application container."""
COLLECTOR_MEMORY_MIB = 64
SCRAPE_INTERVAL_S = 60


class TaskDefinition(StackComponent):
    """A Fargate task definition with a read-only root file system, no Linux capabilities, a numeric
    user and a log group that masks credentials.

    Why: Environment variables and secrets come from the contract only. Secrets are referenced by
        ARN.

    secret_arns: ARN of each secret, keyed by kind.
    """

    def __init__(
        self,
        process: Process,
        stack: Stack,
        opts: pulumi.ResourceOptions,
        *,
        image: str,
        variables: Mapping[str, pulumi.Input[str]],
        secret_arns: Mapping[str, pulumi.Input[str]],
        task_role_arn: pulumi.Input[str],
        execution_role_arn: pulumi.Input[str],
        logs_key_arn: pulumi.Input[str],
        data_protection_policy: Mapping[str, Any],
    ) -> None:
        name = process.name
        super().__init__(name, stack, opts)
        group = self.create_log_group(name, self.names.log_group(name), logs_key_arn)
        data_protection = aws.cloudwatch.LogDataProtectionPolicy(
            name,
            log_group_name=group.name,
            policy_document=pulumi.Output.json_dumps(data_protection_policy),
            opts=self.child,
        )
        size = self.settings.task_size(name)
        containers = [self._container(process, image, variables, secret_arns)]
        if stack.has_collector(process):
            containers.append(collector_container(process, self.names))
        task = aws.ecs.TaskDefinition(
            name,
            family=self.names.name(name),
            container_definitions=pulumi.Output.json_dumps(containers),
            cpu=str(size.cpu),
            memory=str(size.memory_mib),
            network_mode="awsvpc",
            requires_compatibilities=["FARGATE"],
            runtime_platform={"cpu_architecture": "ARM64", "operating_system_family": "LINUX"},
            volumes=[{"name": SCRATCH}],
            task_role_arn=task_role_arn,
            execution_role_arn=execution_role_arn,
            # A change registers a new revision. Earlier revisions remain active, because ECS and
            # `make rollback` can deploy them again.
            skip_destroy=True,
            tags=tags("internal"),
            # No property references these resources. Events that are logged before the policy
            # exists are not masked.
            opts=self.after(group, data_protection),
        )
        self.definition_arn, self.log_group = task.arn, group.name
        self.register_outputs({})

    def _container(
        self,
        process: Process,
        image: str,
        variables: Mapping[str, pulumi.Input[str]],
        secret_arns: Mapping[str, pulumi.Input[str]],
    ) -> dict[str, Any]:
        """Return the container definition of the process. Raises KeyError if a variable or secret
        has no value.
        """
        core = self.settings.core_tasks.get(process.name)
        definition: dict[str, Any] = {
            "name": process.name,
            "image": image,
            "essential": True,
            **({"command": list(process.command)} if process.command else {}),
            "user": self.contract.user,
            "privileged": False,
            "readonlyRootFilesystem": True,
            "mountPoints": [{"sourceVolume": SCRATCH, "containerPath": "/tmp", "readOnly": False}],  # noqa: S108 in the container
            "linuxParameters": LINUX_PARAMETERS,
            "environment": [{"name": name, "value": variables[name]} for name in process.variables],
            "secrets": [
                {"name": secret.variable, "valueFrom": _value_from(secret, secret_arns)}
                for secret in process.secrets
            ],
            "portMappings": [
                {"name": service.name, "containerPort": service.port, "protocol": "tcp"}
                for service in process.services
            ],
            "stopTimeout": STOP_TIMEOUT_S,
            "logConfiguration": _log_configuration(process, self.names, process.name, buffer_mb=25),
        }
        if process.services:
            # Envoy forwards the request of the check to a worker, so both have to respond.
            ports = (str(service.port) for service in process.services)
            check = core.health_command if core else ("healthcheck", *ports)
            definition["healthCheck"] = {
                "command": ["CMD", *check],
                "interval": 15,
                "timeout": 10,
                "retries": 3,
                "startPeriod": 30,
            }
        return definition


def collector_container(process: Process, names: Naming) -> dict[str, Any]:
    """Return the container definition of the collector. The container is not essential: if it
    stops, the task continues, and ECS restarts it.

    Source: ECS API Reference, ContainerDefinition.
    """
    configuration = json.dumps(collector_configuration(process, names), separators=(",", ":"))
    return {
        "name": COLLECTOR,
        "image": f"{names.registry}/{names.name(RUNTIME)}@{COLLECTOR_DIGEST}",
        "essential": False,
        # ECS Developer Guide, "Restart individual containers in Amazon ECS tasks with container
        # restart policies", read 2026-11-30.
        "restartPolicy": {"enabled": True},
        "user": COLLECTOR_USER,
        "privileged": False,
        "readonlyRootFilesystem": True,
        "linuxParameters": LINUX_PARAMETERS,
        "memoryReservation": COLLECTOR_MEMORY_MIB,
        # Source: AWS Distro for OpenTelemetry, "Setting up the ADOT Collector on Amazon ECS".
        "environment": [{"name": "AOT_CONFIG_CONTENT", "value": configuration}],
        # The image contains no shell.
        "healthCheck": {
            "command": ["CMD", "/healthcheck"],
            "interval": 30,
            "timeout": 5,
            "retries": 3,
            "startPeriod": 10,
        },
        "logConfiguration": _log_configuration(process, names, COLLECTOR, buffer_mb=5),
    }


def collector_configuration(process: Process, names: Naming) -> dict[str, Any]:
    """Return the configuration of the collector.

    The collector scrapes metrics from the application container and receives traces on the loopback
    interface. Metrics go to CloudWatch in embedded metric format through the log group of the
    process, and traces go to X-Ray.
    """
    scrape_config = {
        "job_name": process.name,
        "scrape_interval": f"{SCRAPE_INTERVAL_S}s",
        "metrics_path": "/metrics",
        # The certificate is self-signed. The connection does not leave the task.
        "scheme": "https",
        "tls_config": {"insecure_skip_verify": True},
        "static_configs": [
            {"targets": [f"127.0.0.1:{service.port}" for service in process.services]}
        ],
    }
    return {
        "extensions": {"health_check": {"endpoint": "127.0.0.1:13133"}},
        "receivers": {
            "prometheus": {"config": {"scrape_configs": [scrape_config]}},
            "otlp": {
                "protocols": {
                    "grpc": {"endpoint": "127.0.0.1:4317"},
                    "http": {"endpoint": "127.0.0.1:4318"},
                }
            },
        },
        "processors": {
            "memory_limiter": {"check_interval": "1s", "limit_mib": COLLECTOR_MEMORY_MIB - 8},
            "batch": {"timeout": "10s"},
            "resource": {
                "attributes": [
                    {"key": "deployment.environment", "value": names.stack, "action": "upsert"}
                ]
            },
        },
        "exporters": {
            "awsxray": {"region": names.region},
            "awsemf": {
                "region": names.region,
                "namespace": names.namespace,
                "log_group_name": names.log_group(process.name),
                "log_stream_name": COLLECTOR_METRICS_STREAM,
                "dimension_rollup_option": "NoDimensionRollup",
            },
        },
        "service": {
            "extensions": ["health_check"],
            "pipelines": {
                "metrics": _pipeline("prometheus", "awsemf"),
                "traces": _pipeline("otlp", "awsxray"),
            },
        },
    }


def _pipeline(receiver: str, exporter: str) -> dict[str, list[str]]:
    return {
        "receivers": [receiver],
        "processors": ["memory_limiter", "resource", "batch"],
        "exporters": [exporter],
    }


def _log_configuration(
    process: Process, names: Naming, stream_prefix: str, *, buffer_mb: int
) -> dict[str, Any]:
    """Return a log configuration that does not block the container: lines are dropped if the buffer
    is full.
    """
    group = names.log_group(process.name)
    options = {
        "awslogs-group": group,
        "awslogs-region": names.region,
        "awslogs-stream-prefix": stream_prefix,
    }
    return {
        "logDriver": "awslogs",
        "options": {**options, "mode": "non-blocking", "max-buffer-size": f"{buffer_mb}m"},
    }


def _value_from(secret: Secret, arns: Mapping[str, pulumi.Input[str]]) -> pulumi.Input[str]:
    """Return the ARN of the secret, or of one JSON key of its current version. Source: ECS
    Developer Guide, "Pass Secrets Manager secrets through Amazon ECS environment variables"."""
    arn = arns[secret.kind]
    return pulumi.Output.format("{}:{}::", arn, secret.json_key) if secret.json_key else arn
