"""The OpenTelemetry collector beside a process: its container, and what it collects and sends where."""

import json
from collections.abc import Sequence
from typing import Any

from components.contract import ContractService

NAME = "collector"
USER = "4317:4317"
"""Numeric, and another one than the process has: neither reads the other's memory."""
MEMORY_MIB = 64
SCRAPE_S = 60
NAMESPACE = "Gatehouse"
EXPORTER_STREAM = "otel-metrics"


def collector(
    *, image: str, region: str, environment: str, process: str, services: Sequence[ContractService], log_group: str
) -> dict[str, Any]:
    """The container definition (ECS API, ContainerDefinition). Not essential: a task serves without it."""
    settings = configuration(region, environment, process, services, log_group)
    return {
        "name": NAME,
        "image": image,
        "essential": False,
        "user": USER,
        "privileged": False,
        "readonlyRootFilesystem": True,
        "linuxParameters": {"initProcessEnabled": True, "capabilities": {"drop": ["ALL"]}},
        "memoryReservation": MEMORY_MIB,
        # The collector takes its whole configuration from this variable (AWS Distro for OpenTelemetry, "ECS set-up").
        "environment": [{"name": "AOT_CONFIG_CONTENT", "value": json.dumps(settings, separators=(",", ":"))}],
        # The image has a program for this, and no shell.
        "healthCheck": {"command": ["CMD", "/healthcheck"], "interval": 30, "timeout": 5, "retries": 3, "startPeriod": 10},
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": log_group,
                "awslogs-region": region,
                "awslogs-stream-prefix": NAME,
                "mode": "non-blocking",
                "max-buffer-size": "5m",
            },
        },
    }


def configuration(
    region: str, environment: str, process: str, services: Sequence[ContractService], log_group: str
) -> dict[str, Any]:
    """What the collector does: it reads the process's own metrics and takes traces from inside the task alone; metrics go to
    CloudWatch through the process's log group (embedded metric format), traces to X-Ray."""
    targets = [f"127.0.0.1:{service.port}" for service in services]
    job = {
        "job_name": process,
        "scrape_interval": f"{SCRAPE_S}s",
        "metrics_path": "/metrics",
        "static_configs": [{"targets": targets}],
    }
    return {
        "extensions": {"health_check": {"endpoint": "127.0.0.1:13133"}},
        "receivers": {
            "prometheus": {"config": {"scrape_configs": [job]}},
            "otlp": {
                "protocols": {"grpc": {"endpoint": "127.0.0.1:4317"}, "http": {"endpoint": "127.0.0.1:4318"}},
            },
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
                "log_stream_name": EXPORTER_STREAM,
                "dimension_rollup_option": "NoDimensionRollup",
            },
        },
        "service": {
            "extensions": ["health_check"],
            "pipelines": {
                "metrics": {
                    "receivers": ["prometheus"],
                    "processors": ["memory_limiter", "resource", "batch"],
                    "exporters": ["awsemf"],
                },
                "traces": {
                    "receivers": ["otlp"],
                    "processors": ["memory_limiter", "resource", "batch"],
                    "exporters": ["awsxray"],
                },
            },
        },
    }
