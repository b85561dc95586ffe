"""docs/costs.md: estimated fixed monthly cost of each stack, computed from its resources."""

import asyncio
import json
import tomllib
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from gatehouse.platform.metrics import Metrics
from prometheus_client.parser import text_string_to_metric_families
from pulumi_local.type_tokens import aws
from pulumi_local.types import Registration

from components.contract import read
from components.iam.role_policies import COLLECTOR
from sandbox.paths import REPOSITORY
from tools.docs import markdown
from tools.docs.deployments import STACKS, deployed
from tools.docs.markdown import table

HOURS = 730
"""Hours in a month, as in the AWS Pricing Calculator."""

PRICES: dict[str, Any] = tomllib.loads(Path(__file__).with_name("prices.toml").read_text())
DATABASE, CACHE, NETWORK, FIXED, METRICS, REQUESTS, LOGS = (
    PRICES[section]["usd"]
    for section in ("database", "cache", "network", "fixed", "metrics", "requests", "logs")
)
STORAGE = float(PRICES["database_storage"]["usd"]["gib"])
VCPU, GIB = float(PRICES["fargate"]["usd"]["vcpu"]), float(PRICES["fargate"]["usd"]["gib"])
MIB_PER_GIB, UNITS_PER_VCPU = 1024, 1024
INSIGHTS = PRICES["metrics_of_container_insights"]
SERVICES = [process for process in read().processes.values() if process.services]
SCRAPE_METRICS = 5
"""Metrics without labels that a Prometheus receiver adds to those it reads, such as `up`. Source:
Prometheus documentation, "Jobs and instances"."""
SCALING_ALARMS = 2
"""Alarms that Application Auto Scaling creates for a target tracking policy."""
DATABASE_VCPU = float(PRICES["database_insights"]["usd"]["vcpu"])
VCPUS_OF_CLASS = 2
"""vCPUs of every instance class with a price."""
LINE_KIB = 0.5
"""Size of a log line for a request."""
KIB_PER_GIB = 1024 * 1024


def _tasks(services: list[Registration], definitions: list[Registration]) -> Iterator[float]:
    sizes = {
        resource.name: (
            int(resource.inputs["cpu"]) / UNITS_PER_VCPU,
            int(resource.inputs["memory"]) / MIB_PER_GIB,
        )
        for resource in definitions
    }
    for service in services:
        vcpu, gib = sizes[service.name]
        yield service.inputs["desiredCount"] * HOURS * (vcpu * VCPU + gib * GIB)


def _databases(instances: list[Registration]) -> float:
    """USD a month of the database. Database Insights monitors one instance of a Multi-AZ pair."""
    return sum(
        VCPUS_OF_CLASS
        * DATABASE_VCPU
        * HOURS
        * bool(resource.inputs["databaseInsightsMode"] == "advanced")
        + (2 if resource.inputs["multiAz"] else 1)
        * (
            float(DATABASE[resource.inputs["instanceClass"]]) * HOURS
            + STORAGE * int(resource.inputs["allocatedStorage"])
        )
        for resource in instances
    )


def balancers_usd(balancers: Iterable[Registration]) -> float:
    """USD a month of the load balancers, which have a public address in each zone unless they are
    internal."""
    usd = 0.0
    for resource in balancers:
        addresses = 0 if resource.inputs.get("internal") else len(resource.inputs["subnets"])
        usd += (NETWORK["balancer"] + addresses * NETWORK["address"]) * HOURS
    return usd


def _endpoints(endpoints: Iterable[Registration]) -> int:
    return sum(
        len(resource.inputs["subnetIds"])
        for resource in endpoints
        if resource.inputs.get("vpcEndpointType") == "Interface"
    )


def alarm_metrics(alarms: Iterable[Registration]) -> list[dict[str, Any]]:
    """The metrics of the alarms. CloudWatch charges for each metric of an alarm (CloudWatch
    pricing, "alarm metric")."""
    return [
        metric
        for alarm in alarms
        for metric in (
            alarm.inputs,
            *(query.get("metric") or {} for query in alarm.inputs.get("metricQueries") or ()),
        )
        if metric.get("metricName")
    ]


def _custom_metrics(alarms: Iterable[Registration]) -> int:
    return len(
        {
            (metric["metricName"], *sorted((metric.get("dimensions") or {}).items()))
            for metric in alarm_metrics(alarms)
            if metric["namespace"].startswith("Gatehouse")
        }
    )


def _containers(
    services: list[Registration], definitions: list[Registration]
) -> Iterator[tuple[int, int]]:
    """Number of tasks, and of containers in a task, of each service."""
    containers = {
        resource.name: json.loads(resource.inputs["containerDefinitions"])
        for resource in definitions
    }
    for service in services:
        yield service.inputs["desiredCount"], len(containers[service.name])


def insights_metrics(services: list[Registration], definitions: list[Registration]) -> int:
    """Number of metrics of Container Insights with enhanced observability."""
    count: int = INSIGHTS["cluster"]
    for tasks, containers in _containers(services, definitions):
        count += INSIGHTS["service"] + containers * INSIGHTS["container_of_service"]
        count += tasks * (INSIGHTS["task"] + containers * INSIGHTS["container_of_task"])
    return count


def standard_insights(services: int) -> float:
    """USD a month of Container Insights without enhanced observability."""
    metrics = INSIGHTS["standard_cluster"] + services * INSIGHTS["standard_service"]
    return float(metrics * METRICS["custom"])


def series(metrics: Metrics) -> int:
    """Number of metrics that CloudWatch creates from those of a service: one for each combination
    of labels. The collector sends the buckets of a histogram as one metric."""
    families = text_string_to_metric_families(asyncio.run(metrics.exposition()).decode())
    return sum(
        len(
            {
                frozenset((label, value) for label, value in sample.labels.items() if label != "le")
                for sample in family.samples
            }
        )
        for family in families
    )


def collector_metrics(services: list[Registration], definitions: list[Registration]) -> int:
    """Number of metrics that the collectors send without traffic, when a service only receives
    health checks and scrapes. Services share metrics without labels, because the task is no
    dimension."""
    collected = {
        resource.name
        for resource in definitions
        if any(
            container["name"] == COLLECTOR
            for container in json.loads(resource.inputs["containerDefinitions"])
        )
    }
    processes = [read().processes[task.name] for task in services if task.name in collected]
    if not processes:
        return 0
    metrics = Metrics()
    for process in processes:
        for service in process.services:
            for route in (service.health, service.ready, "/metrics"):
                metrics.durations(service.name, route, 200)
    return series(metrics) + SCRAPE_METRICS


def million_requests() -> tuple[float, float]:
    """USD for a million requests to the gateway: AWS WAF and the log of the gateway."""
    return float(REQUESTS["waf"]), 1e6 * LINE_KIB / KIB_PER_GIB * sum(LOGS.values())


ROWS: tuple[tuple[str, tuple[str, ...], Callable[..., tuple[str, float]]], ...] = (
    # Item, resource types, and a function that returns the quantity and the cost in USD a month.
    (
        "NAT gateways with Elastic IPs",
        ("ec2.NatGateway",),
        lambda n: _each(n, (NETWORK["nat"] + NETWORK["address"]) * HOURS),
    ),
    (
        "interface endpoints, per zone",
        ("ec2.VpcEndpoint",),
        lambda endpoints: _counted(_endpoints(endpoints), NETWORK["endpoint"] * HOURS),
    ),
    ("load balancer", ("lb.LoadBalancer",), lambda n: (str(len(n)), balancers_usd(n))),
    (
        "web ACL with rules",
        ("wafv2.WebAcl",),
        lambda n: (
            str(len(n)),
            sum(FIXED["acl"] + FIXED["rule"] * len(a.inputs["rules"]) for a in n),
        ),
    ),
    (
        "ECS tasks (Fargate, ARM)",
        ("ecs.Service", "ecs.TaskDefinition"),
        lambda services, definitions: (
            str(sum(resource.inputs["desiredCount"] for resource in services)),
            sum(_tasks(services, definitions)),
        ),
    ),
    (
        "Container Insights, metrics",
        ("ecs.Service", "ecs.TaskDefinition", "ecs.Cluster"),
        lambda services, definitions, clusters: (
            _counted(insights_metrics(services, definitions), METRICS["insights"])
            if clusters[0].inputs["settings"][0]["value"] == "enhanced"
            else ("", 0.0)
        ),
    ),
    (
        "public addresses of tasks",
        ("ecs.Service",),
        lambda services: _counted(
            sum(
                row.inputs["desiredCount"]
                for row in services
                if row.inputs["networkConfiguration"]["assignPublicIp"]
            ),
            NETWORK["address"] * HOURS,
        ),
    ),
    (
        "collector, metrics without traffic",
        ("ecs.Service", "ecs.TaskDefinition"),
        lambda services, definitions: _counted(
            collector_metrics(services, definitions), METRICS["custom"]
        ),
    ),
    (
        "database with storage and Database Insights",
        ("rds.Instance",),
        lambda n: (", ".join(_named(resource.inputs) for resource in n), _databases(n)),
    ),
    (
        "cache",
        ("elasticache.ReplicationGroup",),
        lambda n: (
            ", ".join(
                f"{resource.inputs['numCacheClusters']} {resource.inputs['nodeType']}"
                for resource in n
            ),
            sum(
                resource.inputs["numCacheClusters"] * CACHE[resource.inputs["nodeType"]] * HOURS
                for resource in n
            ),
        ),
    ),
    (
        "KMS keys",
        ("kms.Key", "kms.ReplicaKey"),
        lambda keys, replicas: _each([*keys, *replicas], FIXED["key"]),
    ),
    (
        "secrets",
        ("secretsmanager.Secret", "rds.Instance"),
        # RDS creates a secret for the password of an instance.
        lambda secrets, instances: _each([*secrets, *instances], FIXED["secret"]),
    ),
    (
        "metrics of alarms, also of auto scaling",
        ("cloudwatch.MetricAlarm", "appautoscaling.Policy"),
        lambda alarms, policies: _counted(
            len(alarm_metrics(alarms)) + SCALING_ALARMS * len(policies), FIXED["alarm"]
        ),
    ),
    ("composite alarms", ("cloudwatch.CompositeAlarm",), lambda n: _each(n, FIXED["composite"])),
    (
        "custom metrics of the alarms",
        ("cloudwatch.MetricAlarm",),
        lambda n: _counted(_custom_metrics(n), METRICS["custom"]),
    ),
    ("dashboard", ("cloudwatch.Dashboard",), lambda n: _each(n, FIXED["dashboard"])),
    ("hosted zone", ("route53.Zone",), lambda n: _each(n, FIXED["zone"])),
)


SMALL_STACK = "dev, profile: small"
COLUMNS = (SMALL_STACK, *STACKS)


@cache
def estimate(column: str) -> tuple[tuple[str, str, float], ...]:
    """Item, quantity and USD a month. Raises KeyError for an instance class without a price."""
    stack, _, profile = column.partition(", profile: ")
    config = yaml.safe_load((REPOSITORY / f"Pulumi.{stack}.yaml").read_text())["config"]
    settings = json.dumps({**config["gatehouse:settings"], "profile": profile}) if profile else ""
    resources = [resource.registration for resource in deployed(stack, settings).resources]
    by_type = {
        kind: [resource for resource in resources if resource.type in aws(kind)]
        for _, kinds, _ in ROWS
        for kind in kinds
    }
    return tuple((item, *count(*(by_type[kind] for kind in kinds))) for item, kinds, count in ROWS)


def total(column: str) -> float:
    return sum(usd for *_, usd in estimate(column))


def page() -> str:
    estimates = {column: estimate(column) for column in COLUMNS}
    rows = [
        (
            item,
            *(
                f"{estimates[stack][index][1]}: {estimates[stack][index][2]:.0f}".removeprefix(": ")
                for stack in COLUMNS
            ),
        )
        for index, (item, _, _) in enumerate(ROWS)
    ]
    totals = ("**total, about**", *(f"**{round(total(column), -1):.0f}**" for column in COLUMNS))
    return markdown.page(
        "costs",
        hours=HOURS,
        date=PRICES["date"],
        region=PRICES["region"],
        waf=f"{million_requests()[0]:.2f}",
        log=f"{million_requests()[1]:.2f}",
        million=f"{sum(million_requests()):.1f}",
        standard=f"{standard_insights(len(SERVICES)):.0f}",
        table=table(("item (quantity: USD a month)", *COLUMNS), [*rows, totals]),
        prices=table(("item", "USD", "per", "source"), _price_rows()),
    )


def _price_rows() -> list[tuple[str, ...]]:
    rows = [row for row in PRICES.values() if isinstance(row, dict) and "usd" in row]
    amounts = [", ".join(f"{key} {usd}" for key, usd in row["usd"].items()) for row in rows]
    return [
        (row["item"], amount, row["unit"], row["source"])
        for row, amount in zip(rows, amounts, strict=True)
    ]


def _each(resources: list[Registration], usd: float) -> tuple[str, float]:
    return _counted(len(resources), usd)


def _counted(count: int, usd: float) -> tuple[str, float]:
    return str(count), count * usd


def _named(inputs: dict[str, Any]) -> str:
    return f"{'2' if inputs['multiAz'] else '1'} {inputs['instanceClass']}"
