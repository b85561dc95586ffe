"""Answers who reaches what in a VPC: which addresses a security group lets in, and which subnets face the internet."""

from collections.abc import Iterator
from dataclasses import dataclass

from policies import tokens
from policies.props import Props
from policies.stack import Resource, Stack

WORLD = ("0.0.0.0/0", "::/0")


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
    """True when anyone on the internet matches."""
    return any(one in WORLD for one in addresses_let_in(rule))


def port_of(rule: Props) -> int:
    """The one TCP port that a rule opens; -1 for a range, another protocol or everything."""
    protocol = rule.text("ipProtocol") or rule.text("protocol")
    first, last = rule.number("fromPort", -1), rule.number("toPort", -1)
    return int(first) if protocol.lower() in ("tcp", "6") and first == last else -1


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
