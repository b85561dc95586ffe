"""docs/costs.md: what each stack costs a month before anybody uses it, counted from its resources."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

from sandbox.clouds import InventedCloud
from sandbox.engine import run
from sandbox.journal import REPOSITORY
from sandbox.types import Registration
from tools.docs.markdown import table

STACKS = ("dev", "staging", "prod")
HOURS = 730
"""Hours of a month, as AWS counts them in its calculators."""

DATABASE = {"db.t4g.micro": 0.016, "db.t4g.small": 0.032, "db.t4g.medium": 0.065, "db.m7g.large": 0.168}
"""RDS for PostgreSQL, one machine, USD an hour. A standby doubles it."""
CACHE = {"cache.t4g.micro": 0.0128, "cache.t4g.small": 0.0256, "cache.m7g.large": 0.1264}
"""ElastiCache for Valkey, a node, USD an hour."""
VCPU, GIB = 0.03238, 0.00356
"""Fargate on ARM, USD an hour."""
MIB_A_GIB, UNITS_A_VCPU = 1024, 1024
HEAD = f"""# What a stack costs

USD a month for what stands there when nobody uses it, counted from the resources of each stack: AWS's list prices of us-east-1
for {HOURS} hours, rounded. Other regions differ; Ireland is some 5 to 10 percent above it. [AWS's calculator](https://calculator.aws/)
knows your region, your discounts, and what traffic, logs and stored data add.
"""
TAIL = """
What comes with use, and is not in the table: data through NAT gateways, endpoints and the load balancer; log lines written and
kept; requests to KMS, DynamoDB, S3 and WAF; backups and copies; CloudTrail's data events; with the account baseline, what Config,
GuardDuty and Security Hub look at.

Each part is a setting ([settings.md](settings.md)): `network.nat`, `network.endpoint_zones`, `database.instance_class`,
`database.multi_az`, `cache.node_type`, `cache.replicas`, and the sizes and counts under `services`. `budget.monthly_usd` tells
you before a month costs more than you meant.
"""


def _tasks(services: list[Registration], definitions: list[Registration]) -> Iterator[float]:
    sizes = {one.name: (int(one.inputs["cpu"]) / UNITS_A_VCPU, int(one.inputs["memory"]) / MIB_A_GIB) for one in definitions}
    for service in services:
        vcpu, gib = sizes[service.name]
        yield service.inputs["desiredCount"] * HOURS * (vcpu * VCPU + gib * GIB)


def _database(inputs: dict[str, Any]) -> float:
    machines = 2 if inputs["multiAz"] else 1
    return float(machines) * (DATABASE[inputs["instanceClass"]] * HOURS + 0.115 * int(inputs["allocatedStorage"]))


def _endpoints(found: Iterable[Registration]) -> int:
    return sum(len(one.inputs["subnetIds"]) for one in found if one.inputs.get("vpcEndpointType") == "Interface")


ROWS: tuple[tuple[str, tuple[str, ...], Callable[..., tuple[str, float]]], ...] = (
    # What it is, the types it is counted from, and from those: how much of it, and USD a month.
    ("NAT gateways, with their addresses", ("ec2/natGateway:NatGateway",), lambda n: _each(n, (0.045 + 0.005) * HOURS)),
    (
        "interface endpoints, one address a zone",
        ("ec2/vpcEndpoint:VpcEndpoint",),
        lambda found: (str(_endpoints(found)), _endpoints(found) * 0.01 * HOURS),
    ),
    ("load balancer", ("lb/loadBalancer:LoadBalancer",), lambda n: _each(n, (0.0225 + 2 * 0.005) * HOURS)),
    ("web ACL with its rules", ("wafv2/webAcl:WebAcl",), lambda n: (str(len(n)), sum(5 + len(a.inputs["rules"]) for a in n))),
    (
        "tasks that serve (Fargate, ARM)",
        ("ecs/service:Service", "ecs/taskDefinition:TaskDefinition"),
        lambda services, definitions: (
            str(sum(one.inputs["desiredCount"] for one in services)),
            sum(_tasks(services, definitions)),
        ),
    ),
    (
        "database, with its storage",
        ("rds/instance:Instance",),
        lambda n: (", ".join(_named(one.inputs) for one in n), sum(_database(one.inputs) for one in n)),
    ),
    (
        "cache",
        ("elasticache/replicationGroup:ReplicationGroup",),
        lambda n: (
            ", ".join(f"{one.inputs['numCacheClusters']} {one.inputs['nodeType']}" for one in n),
            sum(one.inputs["numCacheClusters"] * CACHE[one.inputs["nodeType"]] * HOURS for one in n),
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
    """What, how much of it, USD a month: one row each. Raises KeyError for a class without a price above."""
    resources = [one.registration for one in run(REPOSITORY, stack, InventedCloud(), preview=False).resources]
    by_type = {kind: [one for one in resources if one.type == f"aws:{kind}"] for _, kinds, _ in ROWS for kind in kinds}
    return tuple((what, *count(*(by_type[kind] for kind in kinds))) for what, kinds, count in ROWS)


def page() -> str:
    """The page without the word on top."""
    found = {stack: estimate(stack) for stack in STACKS}
    rows = [
        (what, *(f"{found[stack][index][1]}: {found[stack][index][2]:.0f}" for stack in STACKS))
        for index, (what, _, _) in enumerate(ROWS)
    ]
    total = ("**together, about**", *(f"**{round(sum(usd for *_, usd in found[stack]), -1):.0f}**" for stack in STACKS))
    return f"{HEAD}\n{table(('how many: USD a month', *STACKS), [*rows, total])}\n{TAIL}"


def _each(found: list[Registration], usd: float) -> tuple[str, float]:
    return str(len(found)), len(found) * usd


def _named(inputs: dict[str, Any]) -> str:
    return f"{'2' if inputs['multiAz'] else '1'} {inputs['instanceClass']}"
