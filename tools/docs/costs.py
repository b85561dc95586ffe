"""docs/costs.md: estimated fixed monthly cost of each stack, computed from its resources."""

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

from sandbox.engine.types import Registration
from tools.docs import markdown
from tools.docs.deployments import deployed
from tools.docs.markdown import table

STACKS = ("dev", "staging", "prod")
HOURS = 730
"""Hours in a month, as in the AWS Pricing Calculator."""

DATABASE = {"db.t4g.micro": 0.016, "db.t4g.small": 0.032, "db.t4g.medium": 0.065, "db.m7g.large": 0.168}
"""RDS for PostgreSQL, Single-AZ, USD per hour. Multi-AZ doubles the price."""
CACHE = {"cache.t4g.micro": 0.0128, "cache.t4g.small": 0.0256, "cache.m7g.large": 0.1264}
"""ElastiCache for Valkey, USD per node and hour."""
VCPU, GIB = 0.03238, 0.00356
"""Fargate on ARM, USD per hour."""
MIB_PER_GIB, UNITS_PER_VCPU = 1024, 1024


def _tasks(services: list[Registration], definitions: list[Registration]) -> Iterator[float]:
    sizes = {
        resource.name: (int(resource.inputs["cpu"]) / UNITS_PER_VCPU, int(resource.inputs["memory"]) / MIB_PER_GIB)
        for resource in definitions
    }
    for service in services:
        vcpu, gib = sizes[service.name]
        yield service.inputs["desiredCount"] * HOURS * (vcpu * VCPU + gib * GIB)


def _database(inputs: dict[str, Any]) -> float:
    machines = 2 if inputs["multiAz"] else 1
    return float(machines) * (DATABASE[inputs["instanceClass"]] * HOURS + 0.115 * int(inputs["allocatedStorage"]))


def _endpoints(endpoints: Iterable[Registration]) -> int:
    return sum(
        len(resource.inputs["subnetIds"]) for resource in endpoints if resource.inputs.get("vpcEndpointType") == "Interface"
    )


ROWS: tuple[tuple[str, tuple[str, ...], Callable[..., tuple[str, float]]], ...] = (
    # Item, resource types, and a function that returns the quantity and the cost in USD a month.
    ("NAT gateways with Elastic IPs", ("ec2/natGateway:NatGateway",), lambda n: _each(n, (0.045 + 0.005) * HOURS)),
    (
        "interface endpoints, per zone",
        ("ec2/vpcEndpoint:VpcEndpoint",),
        lambda endpoints: (str(_endpoints(endpoints)), _endpoints(endpoints) * 0.01 * HOURS),
    ),
    ("load balancer", ("lb/loadBalancer:LoadBalancer",), lambda n: _each(n, (0.0225 + 2 * 0.005) * HOURS)),
    ("web ACL with rules", ("wafv2/webAcl:WebAcl",), lambda n: (str(len(n)), sum(5 + len(a.inputs["rules"]) for a in n))),
    (
        "ECS tasks (Fargate, ARM)",
        ("ecs/service:Service", "ecs/taskDefinition:TaskDefinition"),
        lambda services, definitions: (
            str(sum(resource.inputs["desiredCount"] for resource in services)),
            sum(_tasks(services, definitions)),
        ),
    ),
    (
        "database with storage",
        ("rds/instance:Instance",),
        lambda n: (", ".join(_named(resource.inputs) for resource in n), sum(_database(resource.inputs) for resource in n)),
    ),
    (
        "cache",
        ("elasticache/replicationGroup:ReplicationGroup",),
        lambda n: (
            ", ".join(f"{resource.inputs['numCacheClusters']} {resource.inputs['nodeType']}" for resource in n),
            sum(resource.inputs["numCacheClusters"] * CACHE[resource.inputs["nodeType"]] * HOURS for resource in n),
        ),
    ),
    ("KMS keys", ("kms/key:Key", "kms/replicaKey:ReplicaKey"), lambda keys, replicas: _each([*keys, *replicas], 1)),
    ("secrets", ("secretsmanager/secret:Secret",), lambda n: _each(n, 0.4)),
    ("alarms", ("cloudwatch/metricAlarm:MetricAlarm",), lambda n: _each(n, 0.1)),
    ("composite alarms", ("cloudwatch/compositeAlarm:CompositeAlarm",), lambda n: _each(n, 0.5)),
    ("dashboard", ("cloudwatch/dashboard:Dashboard",), lambda n: _each(n, 3)),
    ("hosted zone", ("route53/zone:Zone",), lambda n: _each(n, 0.5)),
)


@cache
def estimate(stack: str) -> tuple[tuple[str, str, float], ...]:
    """Item, quantity and USD a month. Raises KeyError for an instance class without a price."""
    resources = [resource.registration for resource in deployed(stack).resources]
    by_type = {
        kind: [resource for resource in resources if resource.type == f"aws:{kind}"] for _, kinds, _ in ROWS for kind in kinds
    }
    return tuple((item, *count(*(by_type[kind] for kind in kinds))) for item, kinds, count in ROWS)


def total(stack: str) -> float:
    """Fixed cost of a stack in USD a month."""
    return sum(usd for *_, usd in estimate(stack))


def page() -> str:
    """One row for each item and a total."""
    estimates = {stack: estimate(stack) for stack in STACKS}
    rows = [
        (item, *(f"{estimates[stack][index][1]}: {estimates[stack][index][2]:.0f}" for stack in STACKS))
        for index, (item, _, _) in enumerate(ROWS)
    ]
    totals = ("**total, about**", *(f"**{round(total(stack), -1):.0f}**" for stack in STACKS))
    return markdown.page("costs", hours=HOURS, table=table(("item (quantity: USD a month)", *STACKS), [*rows, totals]))


def _each(resources: list[Registration], usd: float) -> tuple[str, float]:
    return str(len(resources)), len(resources) * usd


def _named(inputs: dict[str, Any]) -> str:
    return f"{'2' if inputs['multiAz'] else '1'} {inputs['instanceClass']}"
