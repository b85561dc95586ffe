"""Analyzes network reachability in a VPC: security group and network ACL rules, public subnets and
VPC endpoints.
"""

import ipaddress
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any

from pulumi_local.type_tokens import aws

from gatehouse_policies.analysis.properties import Properties, UnknownPropertyError
from gatehouse_policies.analysis.resources import Resource, Stack

_ADDRESSES_MAX = {4: 2**24, 6: 2**100}
"""Maximum number of public addresses, keyed by IP version, of ranges that do not count as the
internet: one /8 or /28. No cloud provider or content delivery network publishes a larger range."""
_PRIVATE = [
    ipaddress.ip_network(text)
    for text in (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16"),
        *("fc00::/7", "fe80::/10"),
    )
]
# Types of error messages, such as those of path MTU discovery (RFC 792, RFC 4443).
_ICMP_ERRORS = {"icmp": (3, 11, 12), "1": (3, 11, 12), "icmpv6": range(1, 5), "58": range(1, 5)}

PREFIX_LISTS = aws("ec2.ManagedPrefixList")
PREFIX_LIST_ENTRIES = aws("ec2.ManagedPrefixListEntry")

SUBNETS = aws("ec2.Subnet", "ec2.DefaultSubnet")
VPCS = aws("ec2.Vpc", "ec2.DefaultVpc")
_ROUTE_TABLES = aws("ec2.RouteTable", "ec2.DefaultRouteTable")


def ingress_rules(group: Resource, stack: Stack) -> Iterator[tuple[str, Properties]]:
    """All ingress rules of a security group, inline and separate, each with its location for
    messages.
    """
    for block in group.props.blocks("ingress"):
        yield f"{group.name} ({block.path})", block
    types = aws("vpc.SecurityGroupIngressRule", "ec2.SecurityGroupRule")
    for rule in stack.referencing(group, types, "securityGroupId"):
        if rule.props.text("type", "ingress") == "ingress":
            yield rule.name, rule.props


@dataclass(frozen=True)
class Ingress:
    """The traffic that a rule allows.

    protocol: "" for all. first, last: TCP or UDP ports, or types of ICMP. unknown: the path of an
    unknown protocol or port, with which the rule counts as one for all traffic.
    """

    protocol: str
    first: float
    last: float
    ranges: tuple[str, ...]
    unknown: str = ""

    def includes(self, protocol: str, port: float) -> bool:
        same = self.protocol in ("", protocol)
        return same and (not self.protocol or self.first <= port <= self.last)


def ingress_of(holder: Resource, stack: Stack) -> tuple[Ingress, ...]:
    """The traffic that the known rules of a security group allow, or a rule that is a separate
    resource, with the entries of prefix lists of the program.
    """
    types = aws("vpc.SecurityGroupIngressRule", "ec2.SecurityGroupRule")
    is_rule = holder.type in types
    separate = [holder] if is_rule else stack.referencing(holder, types, "securityGroupId")
    blocks = [] if is_rule or not holder.props.known("ingress") else holder.props.blocks("ingress")
    rules = [(holder, block) for block in blocks] + [(each, each.props) for each in separate]
    found = []
    for owner, rule in rules:
        with suppress(UnknownPropertyError):  # The rule itself is undecided.
            ranges = (*address_ranges(rule), *listed_ranges(owner, rule, stack))
            if rule.text("type", "ingress") == "ingress":
                found.append(_ingress(rule, ranges))
    return tuple(found)


def _ingress(rule: Properties, ranges: tuple[str, ...]) -> Ingress:
    try:
        protocol = _protocol(rule)
        protocol = {"all": "", "-1": "", "6": "tcp", "17": "udp"}.get(protocol, protocol)
        first, last = rule.number("fromPort", 0), rule.number("toPort", 65535)
        return Ingress(protocol, first, last, () if is_error_message(rule) else ranges)
    except UnknownPropertyError as error:
        return Ingress("", 0, 65535, ranges, error.path)


def listed_ranges(owner: Resource, rule: Properties, stack: Stack) -> Iterator[str]:
    """The ranges of the prefix lists to which a rule of a resource refers."""
    names = [name for name in ("prefixListId", "prefixListIds") if rule.has(name)]
    prop = names[0] if rule is owner.props and names else "ingress"
    lists = stack.referenced_by(owner, prop, PREFIX_LISTS) if names else ()
    return entry_ranges(lists, stack)


def open_together(rules: Iterable[Ingress]) -> tuple[str, str]:
    """The first port that several rules together open to the internet, such as "tcp 22", "" if
    there is none, and an unknown path on which that depends. Rules that open it alone do not count.
    """
    parts = [rule for rule in rules if rule.ranges and not is_internet(*rule.ranges)]
    for known in (True, False):
        members = [rule for rule in parts if not (known and rule.unknown)]
        for protocol, port in dict.fromkeys((each.protocol or "tcp", each.first) for each in parts):
            together = [rule for rule in members if rule.includes(protocol, port)]
            if is_internet(*(each for rule in together for each in rule.ranges)):
                unknown = "" if known else next(each.unknown for each in members if each.unknown)
                return f"{protocol} {port:g}", unknown
    return "", ""


def address_ranges(rule: Properties) -> list[str]:
    """The CIDR ranges of a rule, or of an entry of a prefix list. Empty if the rule refers to
    security groups or prefix lists.
    """
    ranges = [rule.text(name) for name in ("cidrIpv4", "cidrIpv6", "cidr") if rule.has(name)]
    for name in ("cidrBlocks", "ipv6CidrBlocks"):
        ranges += rule.texts(name)
    return ranges


def entry_ranges(prefix_lists: Iterable[Resource], stack: Stack) -> Iterator[str]:
    """The known CIDR ranges of the entries of prefix lists, which GH-VPC-004 evaluates as well."""
    for source in prefix_lists:
        separate = stack.referencing(source, PREFIX_LIST_ENTRIES, "prefixListId")
        for entry in (*source.props.blocks("entries"), *(each.props for each in separate)):
            yield entry.known_text("cidr")


def allows_internet(rule: Properties, *others: str) -> bool:
    """True if the rule applies to the whole internet or a comparably large range, also in parts and
    together with other ranges.
    """
    return is_internet(*address_ranges(rule), *others)


def is_internet(*addresses: str) -> bool:
    """True for the whole internet or a comparably large range, which several can form together."""
    public = [
        network
        for address in addresses
        for network in _networks(address)
        if not any(_contains(private, network) for private in _PRIVATE)
    ]
    return any(
        sum(
            network.num_addresses
            for network in ipaddress.collapse_addresses(
                network for network in public if network.version == version
            )
        )
        > maximum
        for version, maximum in _ADDRESSES_MAX.items()
    )


def _contains(network: Any, other: Any) -> bool:
    return bool(network.version == other.version and other.subnet_of(network))


def _networks(address: str) -> list[Any]:
    try:
        return [ipaddress.ip_network(address.strip(), strict=False)]
    except ValueError:
        return []


def single_tcp_port(rule: Properties) -> int:
    """The TCP port of a rule for a single port; -1 for a port range, another protocol or all
    traffic.
    """
    first, last = rule.number("fromPort", -1), rule.number("toPort", -1)
    return int(first) if _protocol(rule) in ("tcp", "6") and first == last else -1


def is_error_message(rule: Properties) -> bool:
    """True for a rule for error messages of ICMP, without which path MTU discovery fails."""
    return rule.number("fromPort", -1) in _ICMP_ERRORS.get(_protocol(rule), ())


def allows_all_ports(rule: Properties) -> bool:
    """True if the rule applies to all protocols, or to all ports of one protocol."""
    return _protocol(rule) in ("-1", "all") or (
        rule.number("fromPort", 0) <= 1 and rule.number("toPort", 65535) >= 65535
    )


def _protocol(rule: Properties) -> str:
    return (rule.text("ipProtocol") or rule.text("protocol")).lower()


def acl_allows(rules: Iterable[Properties], cidr: str, port: int) -> bool:
    """True if ingress rules of a network ACL allow TCP traffic from this range to this port.

    Rules are evaluated in ascending order of their number. The first matching rule applies.
    """
    for rule in sorted(rules, key=lambda rule: rule.number("ruleNumber") or rule.number("ruleNo")):
        if _acl_matches(rule, cidr, port):
            return _is_allow(rule)
    return False


def _is_allow(rule: Properties) -> bool:
    return (rule.text("ruleAction") or rule.text("action")).lower() == "allow"


def _acl_matches(rule: Properties, cidr: str, port: int) -> bool:
    ranges = {rule.text("cidrBlock"), rule.text("ipv6CidrBlock")} - {""}
    # A rule that allows a large part of the internet allows the internet.
    allowed = _is_allow(rule) and any(
        is_internet(each) and (":" in each) == (":" in cidr) for each in ranges
    )
    if cidr not in ranges and not allowed:
        return False
    protocol = _protocol(rule)
    if protocol in ("-1", "all"):
        return True
    return protocol in ("tcp", "6") and rule.number("fromPort") <= port <= rule.number("toPort")


def required_endpoints(stack: Stack) -> list[str]:
    """The AWS services that ECS services call from inside the VPC. Empty for a program without ECS
    services.
    """
    services = stack.of_type(aws("ecs.Service"))
    if not services:
        return []
    optional = {
        "dynamodb": bool(stack.of_type(aws("dynamodb.Table"))),
        "secretsmanager": bool(stack.of_type(aws("secretsmanager.Secret"))),
        "kms": bool(stack.of_type(aws("kms.Key"))),
        "ssmmessages": any(service.props.flag("enableExecuteCommand") for service in services),
    }
    required = [name for name, in_use in optional.items() if in_use]
    return ["s3", "ecr.api", "ecr.dkr", "logs", "sts", *required]


def is_public_subnet(subnet: Resource, stack: Stack) -> bool:
    """True if the subnet assigns public IP addresses or has a route to an internet gateway."""
    # True is the default of default subnets.
    if subnet.props.flag("mapPublicIpOnLaunch", subnet.type in aws("ec2.DefaultSubnet")):
        return True
    tables = route_tables(subnet, stack)
    return any(stack.once(routes_to_internet_gateway, table) for table in tables)


def route_tables(subnet: Resource, stack: Stack) -> list[Resource]:
    """The route tables that apply to a subnet: those of its associations, otherwise the main one of
    its VPC.

    https://docs.aws.amazon.com/vpc/latest/userguide/subnet-route-tables.html
    """
    associations = stack.referencing(subnet, aws("ec2.RouteTableAssociation"), "subnetId")
    if associations:
        return _associated_tables(associations, stack)
    vpcs = stack.referenced_by(subnet, "vpcId", VPCS)
    return list(chain.from_iterable(_main_tables(vpc, stack) for vpc in vpcs))


def _main_tables(vpc: Resource, stack: Stack) -> list[Resource]:
    """The main route table of a VPC. Routes can refer to the main table by an output of the VPC,
    which then represents the table.
    """
    associations = stack.referencing(vpc, aws("ec2.MainRouteTableAssociation"), "vpcId")
    if associations:
        return _associated_tables(associations, stack)
    return [vpc, *stack.referencing(vpc, aws("ec2.DefaultRouteTable"), "defaultRouteTableId")]


def _associated_tables(associations: list[Resource], stack: Stack) -> list[Resource]:
    tables = (
        stack.referenced_by(association, "routeTableId", _ROUTE_TABLES)
        or stack.outputs_in(association, "routeTableId", VPCS)
        for association in associations
    )
    return list(chain.from_iterable(tables))


def _separate_routes(table: Resource, stack: Stack) -> list[Resource]:
    routes = aws("ec2.Route")
    if table.type not in VPCS:
        return stack.referencing(table, routes, "routeTableId")
    return [
        route
        for route in stack.of_type(routes)
        if table in stack.outputs_in(route, "routeTableId", VPCS)
    ]


def routes_to_internet_gateway(table: Resource, stack: Stack) -> bool:
    for route in _separate_routes(table, stack):
        if stack.referenced_by(
            route, "gatewayId", aws("ec2.InternetGateway")
        ) or _is_internet_gateway(route.props):
            return True
    inline = table.props.blocks("routes")
    if any(_is_internet_gateway(route) for route in inline):
        return True
    has_gateway = any(route.has("gatewayId") for route in inline)
    return has_gateway and bool(stack.referenced_by(table, "routes", aws("ec2.InternetGateway")))


def routes_to_nat_gateway(table: Resource, stack: Stack) -> bool:
    separate = (route.props for route in _separate_routes(table, stack))
    return any(route.has("natGatewayId") for route in (*separate, *table.props.blocks("routes")))


def _is_internet_gateway(route: Properties) -> bool:
    return route.known("gatewayId") and route.text("gatewayId").startswith("igw-")
