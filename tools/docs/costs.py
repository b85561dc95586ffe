"""docs/costs.md: estimated fixed monthly cost of each stack, computed from its resources."""

import tomllib
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from gatehouse_policies.program.types import Registration

from tools.docs import markdown
from tools.docs.deployments import STACKS, deployed
from tools.docs.markdown import table

HOURS = 730
"""Hours in a month, as in the AWS Pricing Calculator."""

PRICES: dict[str, Any] = tomllib.loads(
    Path(__file__).with_name("prices.toml").read_text(encoding="utf-8")
)
DATABASE, CACHE, NETWORK, FIXED = (
    PRICES[section]["usd"] for section in ("database", "cache", "network", "fixed")
)
STORAGE = float(PRICES["database_storage"]["usd"]["gib"])
VCPU, GIB = float(PRICES["fargate"]["usd"]["vcpu"]), float(PRICES["fargate"]["usd"]["gib"])
MIB_PER_GIB, UNITS_PER_VCPU = 1024, 1024


def _tasks(services: list[Registration], definitions: list[Registration]) -> Iterator[float]:
    """USD a month of each service."""
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
    """USD a month of the database."""
    return sum(
        (2 if resource.inputs["multiAz"] else 1)
        * (
            float(DATABASE[resource.inputs["instanceClass"]]) * HOURS
            + STORAGE * int(resource.inputs["allocatedStorage"])
        )
        for resource in instances
    )


def _endpoints(endpoints: Iterable[Registration]) -> int:
    return sum(
        len(resource.inputs["subnetIds"])
        for resource in endpoints
        if resource.inputs.get("vpcEndpointType") == "Interface"
    )


ROWS: tuple[tuple[str, tuple[str, ...], Callable[..., tuple[str, float]]], ...] = (
    # Item, resource types, and a function that returns the quantity and the cost in USD a month.
    (
        "NAT gateways with Elastic IPs",
        ("ec2/natGateway:NatGateway",),
        lambda n: _each(n, (NETWORK["nat"] + NETWORK["address"]) * HOURS),
    ),
    (
        "interface endpoints, per zone",
        ("ec2/vpcEndpoint:VpcEndpoint",),
        lambda endpoints: (
            str(_endpoints(endpoints)),
            _endpoints(endpoints) * NETWORK["endpoint"] * HOURS,
        ),
    ),
    (
        "load balancer",
        ("lb/loadBalancer:LoadBalancer",),
        lambda n: _each(n, (NETWORK["balancer"] + 2 * NETWORK["address"]) * HOURS),
    ),
    (
        "web ACL with rules",
        ("wafv2/webAcl:WebAcl",),
        lambda n: (
            str(len(n)),
            sum(FIXED["acl"] + FIXED["rule"] * len(a.inputs["rules"]) for a in n),
        ),
    ),
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
        lambda n: (", ".join(_named(resource.inputs) for resource in n), _databases(n)),
    ),
    (
        "cache",
        ("elasticache/replicationGroup:ReplicationGroup",),
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
        ("kms/key:Key", "kms/replicaKey:ReplicaKey"),
        lambda keys, replicas: _each([*keys, *replicas], FIXED["key"]),
    ),
    ("secrets", ("secretsmanager/secret:Secret",), lambda n: _each(n, FIXED["secret"])),
    ("alarms", ("cloudwatch/metricAlarm:MetricAlarm",), lambda n: _each(n, FIXED["alarm"])),
    ("dashboard", ("cloudwatch/dashboard:Dashboard",), lambda n: _each(n, FIXED["dashboard"])),
    ("hosted zone", ("route53/zone:Zone",), lambda n: _each(n, FIXED["zone"])),
)


@cache
def estimate(stack: str) -> tuple[tuple[str, str, float], ...]:
    """Item, quantity and USD a month. Raises KeyError for an instance class without a price."""
    resources = [resource.registration for resource in deployed(stack).resources]
    by_type = {
        kind: [resource for resource in resources if resource.type == f"aws:{kind}"]
        for _, kinds, _ in ROWS
        for kind in kinds
    }
    return tuple((item, *count(*(by_type[kind] for kind in kinds))) for item, kinds, count in ROWS)


def total(stack: str) -> float:
    """Fixed cost of a stack in USD a month."""
    return sum(usd for *_, usd in estimate(stack))


def page() -> str:
    """One row for each item and a total, and the prices."""
    estimates = {stack: estimate(stack) for stack in STACKS}
    rows = [
        (
            item,
            *(
                f"{estimates[stack][index][1]}: {estimates[stack][index][2]:.0f}"
                for stack in STACKS
            ),
        )
        for index, (item, _, _) in enumerate(ROWS)
    ]
    totals = ("**total, about**", *(f"**{round(total(stack), -1):.0f}**" for stack in STACKS))
    return markdown.page(
        "costs",
        hours=HOURS,
        date=PRICES["date"],
        region=PRICES["region"],
        table=table(("item (quantity: USD a month)", *STACKS), [*rows, totals]),
        prices=table(("item", "USD", "per", "source"), _price_rows()),
    )


def _price_rows() -> list[tuple[str, ...]]:
    rows = [row for row in PRICES.values() if isinstance(row, dict)]
    amounts = [", ".join(f"{key} {usd}" for key, usd in row["usd"].items()) for row in rows]
    return [
        (row["item"], amount, row["unit"], row["source"])
        for row, amount in zip(rows, amounts, strict=True)
    ]


def _each(resources: list[Registration], usd: float) -> tuple[str, float]:
    return str(len(resources)), len(resources) * usd


def _named(inputs: dict[str, Any]) -> str:
    return f"{'2' if inputs['multiAz'] else '1'} {inputs['instanceClass']}"
