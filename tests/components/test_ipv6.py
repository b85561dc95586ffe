"""IPv6 connections from the internet (`load_balancer.ipv6`)."""

import ipaddress

import pytest

from components.network.vpc import ipv6_block
from tests.components.program import Program, run

INTERNET = "::/0"


@pytest.fixture(scope="module")
def program() -> Program:
    return run("dev", changes={"load_balancer.ipv6": True})


def test_edge_subnets_have_blocks_of_the_vpc_and_a_route(program: Program) -> None:
    assert program.get("ec2/vpc:Vpc", "vpc").inputs["assignGeneratedIpv6CidrBlock"] is True
    blocks = {
        row.name: row.inputs.get("ipv6CidrBlock") for row in program.of_type("ec2/subnet:Subnet")
    }
    own = [str(block) for name, block in blocks.items() if name.startswith("edge-")]
    assert own == ["2001:db8:1234:1a00::/64", "2001:db8:1234:1a01::/64"]
    assert {block for name, block in blocks.items() if not name.startswith("edge-")} == {None}
    routes = [
        row.inputs
        for row in program.of_type("ec2/route:Route")
        if row.inputs.get("destinationIpv6CidrBlock")
    ]
    assert [(row["destinationIpv6CidrBlock"], row["gatewayId"]) for row in routes] == [
        (INTERNET, "internet-id")
    ]


def test_only_the_public_load_balancer_accepts_ipv6(program: Program) -> None:
    assert (
        program.get("lb/loadBalancer:LoadBalancer", "edge").inputs["ipAddressType"] == "dualstack"
    )
    rules = [
        row.inputs
        for row in program.of_type("vpc/securityGroupIngressRule:SecurityGroupIngressRule")
    ]
    accepting = [row for row in rules if row.get("cidrIpv6")]
    assert {(row["securityGroupId"], row["fromPort"], row["cidrIpv6"]) for row in accepting} == {
        ("edge-id", 443, INTERNET),
        ("edge-id", 80, INTERNET),
    }
    assert not [
        row
        for row in program.of_type("vpc/securityGroupEgressRule:SecurityGroupEgressRule")
        if row.inputs.get("cidrIpv6")
    ]


def test_network_acl_of_the_edge_tier_accepts_only_web_traffic(program: Program) -> None:
    for acl in program.of_type("ec2/networkAcl:NetworkAcl"):
        inbound = [
            (rule["fromPort"], rule["toPort"])
            for rule in acl.inputs["ingress"]
            if rule.get("ipv6CidrBlock")
        ]
        outbound = [
            (rule["fromPort"], rule["toPort"])
            for rule in acl.inputs["egress"]
            if rule.get("ipv6CidrBlock")
        ]
        assert inbound == ([(443, 443), (80, 80)] if acl.name == "edge" else [])
        assert outbound == ([(1024, 65535)] if acl.name == "edge" else [])


def test_host_names_have_both_addresses(program: Program) -> None:
    records = program.of_type("route53/record:Record")
    kinds: dict[str, set[str]] = {}
    for record in records:
        if record.inputs["type"] in ("A", "AAAA"):
            kinds.setdefault(record.inputs["name"], set()).add(record.inputs["type"])
    assert len(kinds) == 3
    assert set(map(frozenset, kinds.values())) == {frozenset({"A", "AAAA"})}


def test_internal_load_balancer_has_no_ipv6_addresses() -> None:
    program = run(
        "dev", changes={"load_balancer.ipv6": True, "services.console.hosting": "cloudfront"}
    )
    types = {
        row.name: row.inputs.get("ipAddressType")
        for row in program.of_type("lb/loadBalancer:LoadBalancer")
    }
    assert types == {"edge": "dualstack", "origin": None}


def test_stacks_have_no_ipv6_by_default() -> None:
    program = run("dev")
    assert "assignGeneratedIpv6CidrBlock" not in program.get("ec2/vpc:Vpc", "vpc").inputs
    assert "ipAddressType" not in program.get("lb/loadBalancer:LoadBalancer", "edge").inputs
    assert "AAAA" not in {row.inputs["type"] for row in program.of_type("route53/record:Record")}


@pytest.mark.parametrize("number", [0, 2, 255])
def test_block_of_a_subnet_is_within_the_vpc(number: int) -> None:
    block = ipaddress.IPv6Network(ipv6_block("2001:db8:1234:1a00::/56", number))
    assert block.prefixlen == 64
    assert block.subnet_of(ipaddress.IPv6Network("2001:db8:1234:1a00::/56"))
