"""Names, ARNs and subnet ranges."""

import ipaddress
import json
import re
from typing import Any

import pytest

from components.settings.loader import parse
from tests.components.program import Program, run, run_as
from tests.components.settings.stack_settings import CORE, DELIVERY, raw_settings

STACK = "longname"
CORE_NAME_MAX = 20
PREFIX = "acme-gate"
HOSTED: dict[str, Any] = {
    "services.console.hosting": "cloudfront",
    "sharing": {"mode": "serverless", "api_gateway_log_role": True},
    "monitoring.slack_channel": "T0123ABCD/C0123ABCD",
    "delivery": DELIVERY,
    "recovery.stack": "other",
}
"""Changes to the settings of prod, with which it has as many kinds of resources as possible."""
OTHER_NAMES = {
    r"^https://github\.com/example/gatehouse/": "monitoring.runbooks_url",
    r"/\.pulumi/\w+(/organization)?/gatehouse/": "the Pulumi project in the state bucket",
    r"^/opt/gatehouse/bin/python$": "a file of the image",
    r"/cores/gatehouse-echo/check$": "the Core of the gateway itself",
    r"^x-gatehouse-key$": "a header",
}
"""Patterns of what contains the name of the product but is no name of a resource, and the reason.
"""

# Longest name that AWS accepts, for the types with short limits (API references of the services).
LIMITS = {
    ("lb.TargetGroup", "name"): 32,
    ("lb.LoadBalancer", "name"): 32,
    ("elasticache.ReplicationGroup", "replicationGroupId"): 40,
    ("elasticache.User", "userId"): 40,
    ("elasticache.UserGroup", "userGroupId"): 40,
    ("backup.Vault", "name"): 50,
    ("backup.Selection", "name"): 50,
    ("s3.Bucket", "bucket"): 63,
    ("rds.Instance", "identifier"): 63,
    ("iam.Role", "name"): 64,
    ("lambda.Function", "name"): 64,
    ("cloudwatch.EventRule", "name"): 64,
    ("sqs.Queue", "name"): 80,
    ("budgets.Budget", "name"): 100,
    ("iam.Policy", "name"): 128,
    ("cloudtrail.Trail", "name"): 128,
    ("wafv2.WebAcl", "name"): 128,
}


@pytest.fixture(scope="module")
def longest(tmp_path_factory: pytest.TempPathFactory) -> Program:
    secrets = "arn:aws:secretsmanager:ap-southeast-2:123456789012:secret"
    secret = f"{secrets}:{PREFIX}/{STACK}/core-token-abcdef"
    changes: dict[str, Any] = {
        "name_prefix": PREFIX,
        "region": "ap-southeast-2",
        "second_region": "ap-northeast-1",
        "network.zones": ["ap-southeast-2a", "ap-southeast-2b", "ap-southeast-2c"],
        "secrets.operators": ["arn:aws:iam::123456789012:role/operator"],
        **HOSTED,
        "cores": [{**CORE, "name": "c" * CORE_NAME_MAX, "token_secret_arn": secret}],
    }
    return run_as(STACK, tmp_path_factory.mktemp("longest"), environment="prod", changes=changes)


@pytest.mark.parametrize(
    ("type_", "property_", "limit"), [(*key, limit) for key, limit in LIMITS.items()]
)
def test_names_are_within_aws_length_limits(
    longest: Program, type_: str, property_: str, limit: int
) -> None:
    names = [resource.inputs[property_] for resource in longest.of_type(type_)]
    assert any(STACK in name for name in names)
    assert [name for name in names if len(name) > limit] == []


def test_stack_of_its_own_name_has_values_of_its_environment(longest: Program) -> None:
    assert longest.exports["environment"] == "prod"
    service = longest.get("ecs.Service", "gateway").inputs
    assert service["name"] == f"{PREFIX}-{STACK}-gateway"
    assert longest.variables("gateway")["GATEHOUSE_ENVIRONMENT"] == STACK
    names = {resource.name for resource in longest.resources}
    prod = {resource.name for resource in run("prod", changes=HOSTED).resources}
    assert {
        name for name in prod if "eu-west-1" not in name and "-prod-" not in name
    } - names == set()


def test_every_name_begins_with_the_prefix(longest: Program) -> None:
    """Also those in ARNs, policies, variables, queries and texts of alarms."""
    inputs = [row.inputs for row in longest.resources if row.type.startswith("aws:")]
    text = json.dumps([inputs, longest.exports], default=str)
    names = set(re.findall(r"[\w./:-]*gatehouse[-/][\w./:-]*", text))
    patterns = {name: [row for row in OTHER_NAMES if re.search(row, name)] for name in names}
    assert {name for name, found in patterns.items() if not found} == set()
    assert {row for found in patterns.values() for row in found} == set(OTHER_NAMES)
    assert text.count(f"{PREFIX}-{STACK}-") > 500
    assert re.findall(rf"{PREFIX}[-/]prod[-/]", text) == []


@pytest.mark.parametrize("prefix", range(16, 21))
def test_subnets_of_tiers_do_not_overlap(prefix: int) -> None:
    network = parse(raw_settings("prod", {"network.cidr": f"10.20.0.0/{prefix}"}), "prod").network
    blocks = [
        ipaddress.ip_network(cidr)
        for tier in ("edge", "app", "data")
        for cidr in network.tier_cidrs(tier)
    ]
    assert len(blocks) == 3 * len(network.zones)
    assert min(block.num_addresses for block in blocks) >= 64
    whole = ipaddress.IPv4Network(network.cidr)
    assert all(
        isinstance(block, ipaddress.IPv4Network) and block.subnet_of(whole) for block in blocks
    )
    assert not any(a.overlaps(b) for i, a in enumerate(blocks) for b in blocks[i + 1 :])
