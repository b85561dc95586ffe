"""Names, ARNs and subnet ranges."""

import ipaddress
import re

import pytest

from components.contract import Stack
from components.iam.role_policies import role_definitions
from components.naming import Naming
from components.settings.loader import parse
from tests.components.settings.stack_settings import STACKS, raw_settings

NAMES = Naming("dev", "123456789012", "eu-west-1")


def test_names_follow_the_pattern() -> None:
    assert NAMES.name("gateway") == "gatehouse-dev-gateway"
    assert NAMES.bucket("logs") == "gatehouse-dev-logs-123456789012-eu-west-1"
    assert NAMES.secret("pepper") == "gatehouse/dev/pepper"
    assert NAMES.log_group("gateway") == "/gatehouse/dev/gateway"
    assert NAMES.alias("data") == "alias/gatehouse-dev-data"
    assert NAMES.arn("rds", "db:x") == "arn:aws:rds:eu-west-1:123456789012:db:x"
    assert NAMES.boundary_arn == "arn:aws:iam::123456789012:policy/gatehouse-dev-boundary"
    assert NAMES.cache_nodes(2) == ("gatehouse-dev-cache-001", "gatehouse-dev-cache-002")


@pytest.mark.parametrize("environment", STACKS)
def test_names_are_within_aws_length_limits(environment: str) -> None:
    stack = Stack.of(parse(raw_settings(environment), environment))
    names = stack.names.in_region("ap-southeast-2")
    assert all(len(names.bucket(thing)) <= 63 for thing in ("data", "logs", "trail"))
    assert all(len(names.name(service)) <= 32 for service in ("edge", *stack.contract.services)), (
        "load balancer and target groups"
    )
    assert all(len(names.name(role)) <= 64 for role in role_definitions(stack))
    assert all(len(names.name(thing)) <= 40 for thing in ("cache", "app", "default")), "ElastiCache ids"


def test_secret_arn_pattern_matches_one_secret() -> None:
    pattern = re.escape(NAMES.secret_arn("pepper")).replace(r"\?", ".")
    arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:gatehouse/dev/"
    assert re.fullmatch(pattern, f"{arn}pepper-a1B2c3")
    assert not re.fullmatch(pattern, f"{arn}pepper-old-a1B2c3")
    assert not re.fullmatch(pattern, f"{arn}pepper2-a1B2c3")


@pytest.mark.parametrize("stack", STACKS)
def test_subnets_of_tiers_do_not_overlap(stack: str) -> None:
    network = parse(raw_settings(stack), stack).network
    blocks = [ipaddress.ip_network(cidr) for tier in ("edge", "app", "data") for cidr in network.tier_cidrs(tier)]
    assert len(blocks) == 3 * len(network.zones)
    whole = ipaddress.IPv4Network(network.cidr)
    assert all(isinstance(block, ipaddress.IPv4Network) and block.subnet_of(whole) for block in blocks)
    assert not any(a.overlaps(b) for i, a in enumerate(blocks) for b in blocks[i + 1 :])
