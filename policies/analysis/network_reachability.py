"""Answers who reaches what in a VPC: which addresses a group or an ACL lets in, which subnets face the internet, and
which AWS services are called from inside.
"""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass

from policies.analysis import type_tokens as tokens
from policies.analysis.properties import Props
from policies.analysis.resources import Resource, Stack

WORLD = ("0.0.0.0/0", "::/0")
WIDE = {4: 8, 6: 16}
"""Prefix length, by IP version, below which a network is taken for the whole internet: 0.0.0.0/1 and 128.0.0.0/1 are all of it
in two rules, and nobody owns a network that large."""


@dataclass(frozen=True, slots=True)
class Source:
    """One ingress rule, wherever it is declared. `name` says where, for messages."""

    name: str
    props: Props


def sources_of(group: Resource, stack: Stack) -> Iterator[Source]:
    """All rules that let something into a security group: inline, standalone and old standalone ones."""
    for block in group.props.blocks("ingress"):
        yield Source(f"{group.name} ({block.path})", block)
    for rule in stack.users(group, tokens.SECURITY_GROUP_INGRESS, "securityGroupId"):
        yield Source(rule.name, rule.props)
    for rule in stack.users(group, tokens.SECURITY_GROUP_RULE, "securityGroupId"):
        if rule.props.text("type") == "ingress":
            yield Source(rule.name, rule.props)


def addresses_let_in(rule: Props) -> list[str]:
    """The address ranges of a rule, in any of the three forms it can be declared in; empty when it names groups or
    lists.
    """
    ranges = [rule.text(name) for name in ("cidrIpv4", "cidrIpv6") if rule.has(name)]
    for name in ("cidrBlocks", "ipv6CidrBlocks"):
        ranges += rule.texts(name)
    return ranges


def lets_the_world_in(rule: Props) -> bool:
    """True when anyone on the internet matches, or a part of it so large that it comes to the same."""
    return any(_is_world(one) for one in addresses_let_in(rule))


def _is_world(address: str) -> bool:
    try:
        network = ipaddress.ip_network(address.strip(), strict=False)
    except ValueError:
        return False
    return network.prefixlen < WIDE[network.version]


def port_of(rule: Props) -> int:
    """The one TCP port that a rule opens; -1 for a range, another protocol or everything."""
    protocol = rule.text("ipProtocol") or rule.text("protocol")
    first, last = rule.number("fromPort", -1), rule.number("toPort", -1)
    return int(first) if protocol.lower() in ("tcp", "6") and first == last else -1


def opens_every_port(rule: Props) -> bool:
    """True when the rule is for all protocols, or for all ports of one."""
    protocol = rule.text("ipProtocol") or rule.text("protocol")
    return protocol in ("-1", "all") or (rule.number("fromPort", 0) <= 1 and rule.number("toPort", 65535) >= 65535)


def acl_number(rule: Props) -> float:
    """The place of a network ACL's rule in the order in which they are tried."""
    return rule.number("ruleNumber") or rule.number("ruleNo")


def acl_allows(rule: Props) -> bool:
    """True when a network ACL's rule lets traffic through."""
    return (rule.text("ruleAction") or rule.text("action")).lower() == "allow"


def acl_matches(rule: Props, addresses: str, port: int) -> bool:
    """True when a network ACL's rule decides about TCP from these addresses to this port."""
    if addresses not in (rule.text("cidrBlock"), rule.text("ipv6CidrBlock")):
        return False
    protocol = rule.text("protocol").lower()
    if protocol in ("-1", "all"):
        return True
    return protocol in ("tcp", "6") and rule.number("fromPort") <= port <= rule.number("toPort")


def endpoints_wanted(stack: Stack) -> list[tuple[str, bool]]:
    """The AWS services that tasks in a VPC call, each with whether this program gives them a reason to."""
    services = stack.of(tokens.SERVICE)
    shells = any(one.props.flag("enableExecuteCommand") for one in services)
    return [
        *((service, bool(services)) for service in ("s3", "ecr.api", "ecr.dkr", "logs", "sts")),
        ("dynamodb", bool(stack.of(tokens.TABLE))),
        ("secretsmanager", bool(stack.of(tokens.SECRET))),
        ("kms", bool(stack.of(tokens.KEY))),
        ("ssmmessages", shells),
    ]


def is_public_subnet(subnet: Resource, stack: Stack) -> bool:
    """True when the subnet hands out public addresses, or a route table of the stack leads it to an internet
    gateway.
    """
    if subnet.props.flag("mapPublicIpOnLaunch"):
        return True
    return any(leads_to_internet(table, stack) for table in tables_of(subnet, stack))


def tables_of(subnet: Resource, stack: Stack) -> list[Resource]:
    """The route tables that are associated with a subnet."""
    associations = stack.users(subnet, tokens.ROUTE_TABLE_ASSOCIATION, "subnetId")
    return [table for one in associations for table in stack.targets(one, "routeTableId", tokens.ROUTE_TABLE)]


def leads_to_internet(table: Resource, stack: Stack) -> bool:
    """True when a route of the table goes to an internet gateway."""
    for route in stack.users(table, tokens.ROUTE, "routeTableId"):
        if stack.targets(route, "gatewayId", tokens.INTERNET_GATEWAY) or _is_gateway(route.props):
            return True
    inline = table.props.blocks("routes")
    if any(_is_gateway(route) for route in inline):
        return True
    return any(route.has("gatewayId") for route in inline) and bool(stack.targets(table, "routes", tokens.INTERNET_GATEWAY))


def leads_to_nat(table: Resource, stack: Stack) -> bool:
    """True when a route of the table goes to a NAT gateway."""
    standalone = (route.props for route in stack.users(table, tokens.ROUTE, "routeTableId"))
    return any(route.has("natGatewayId") for route in (*standalone, *table.props.blocks("routes")))


def _is_gateway(route: Props) -> bool:
    return route.known("gatewayId") and route.text("gatewayId").startswith("igw-")
