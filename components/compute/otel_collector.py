"""The OpenTelemetry collector sidecar of a task: its container definition and its configuration."""

import json
from collections.abc import Sequence
from typing import Any

from components.compute.container_definition import log_configuration
from components.contract import ContractService
from components.iam.role_policies import COLLECTOR, COLLECTOR_METRICS_STREAM

USER = "4317:4317"
"""Numeric user id, which differs from that of the application container."""
MEMORY_MIB = 64
SCRAPE_INTERVAL_S = 60
NAMESPACE = "Gatehouse"


def collector_container(
    *, image: str, region: str, environment: str, process: str, services: Sequence[ContractService], log_group: str
) -> dict[str, Any]:
    """Return the container definition. The container is not essential: if it stops, the task continues.

    Source: ECS API Reference, ContainerDefinition.
    """
    settings = collector_configuration(region, environment, process, services, log_group)
    return {
        "name": COLLECTOR,
        "image": image,
        "essential": False,
        "user": USER,
        "privileged": False,
        "readonlyRootFilesystem": True,
        "linuxParameters": {"initProcessEnabled": True, "capabilities": {"drop": ["ALL"]}},
        "memoryReservation": MEMORY_MIB,
        # Source: AWS Distro for OpenTelemetry, "Setting up the ADOT Collector on Amazon ECS".
        "environment": [{"name": "AOT_CONFIG_CONTENT", "value": json.dumps(settings, separators=(",", ":"))}],
        # The image contains no shell.
        "healthCheck": {"command": ["CMD", "/healthcheck"], "interval": 30, "timeout": 5, "retries": 3, "startPeriod": 10},
        "logConfiguration": log_configuration(log_group, region, COLLECTOR, buffer_mb=5),
    }


def collector_configuration(
    region: str, environment: str, process: str, services: Sequence[ContractService], log_group: str
) -> dict[str, Any]:
    """Return the configuration of the collector.

    It scrapes the metrics of the application container and receives its traces on the loopback interface. Metrics go to
    CloudWatch in embedded metric format through the log group of the process, traces to X-Ray.
    """
    targets = [f"127.0.0.1:{service.port}" for service in services]
    scrape_config = {
        "job_name": process,
        "scrape_interval": f"{SCRAPE_INTERVAL_S}s",
        "metrics_path": "/metrics",
        "static_configs": [{"targets": targets}],
    }
    return {
        "extensions": {"health_check": {"endpoint": "127.0.0.1:13133"}},
        "receivers": {
            "prometheus": {"config": {"scrape_configs": [scrape_config]}},
            "otlp": {"protocols": {"grpc": {"endpoint": "127.0.0.1:4317"}, "http": {"endpoint": "127.0.0.1:4318"}}},
        },
        "processors": {
            "memory_limiter": {"check_interval": "1s", "limit_mib": MEMORY_MIB - 8},
            "batch": {"timeout": "10s"},
            "resource": {"attributes": [{"key": "deployment.environment", "value": environment, "action": "upsert"}]},
        },
        "exporters": {
            "awsxray": {"region": region},
            "awsemf": {
                "region": region,
                "namespace": NAMESPACE,
                "log_group_name": log_group,
                "log_stream_name": COLLECTOR_METRICS_STREAM,
                "dimension_rollup_option": "NoDimensionRollup",
            },
        },
        "service": {
            "extensions": ["health_check"],
            "pipelines": {"metrics": _pipeline("prometheus", "awsemf"), "traces": _pipeline("otlp", "awsxray")},
        },
    }


def _pipeline(receiver: str, exporter: str) -> dict[str, list[str]]:
    return {"receivers": [receiver], "processors": ["memory_limiter", "resource", "batch"], "exporters": [exporter]}
