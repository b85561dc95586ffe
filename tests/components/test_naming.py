"""Names, ARNs and subnet ranges."""

import ipaddress
import json
import re
from typing import Any

import pytest

from components.settings.loader import parse
from tests.components.program import Program, run, run_as
from tests.components.settings.stack_settings import CORE, raw_settings

STACK = "longname"
CORE_NAME_MAX = 20
HOSTED = {"services.console.hosting": "cloudfront"}


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
    prefix = "arn:aws:secretsmanager:ap-southeast-2:123456789012:secret:gatehouse"
    secret = f"{prefix}/{STACK}/core-token-abcdef"
    changes: dict[str, Any] = {
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
    assert service["name"] == f"gatehouse-{STACK}-gateway"
    assert longest.variables("gateway")["GATEHOUSE_ENVIRONMENT"] == STACK
    names = {resource.name for resource in longest.resources}
    prod = {resource.name for resource in run("prod", changes=HOSTED).resources}
    assert {
        name for name in prod if "eu-west-1" not in name and "-prod-" not in name
    } - names == set()
    texts = [
        json.dumps(resource.inputs, default=str)
        for resource in longest.resources
        if resource.type.startswith("aws:")
    ]
    assert [text for text in texts if re.search(r"gatehouse[-/]prod[-/]", text)] == []


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
