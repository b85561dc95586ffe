"""Rules for VPCs: security groups, network ACLs, subnets, endpoints and flow logs."""

import re
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from itertools import chain

from pulumi_local.lists import leaves
from pulumi_local.type_tokens import aws, by_token

from gatehouse_policies.analysis import network_reachability as network
from gatehouse_policies.analysis.iam.actions import reaches_all_resources
from gatehouse_policies.analysis.iam.grammar import Statement
from gatehouse_policies.analysis.iam.strangers import THROUGH_ENDPOINT, limits_of
from gatehouse_policies.analysis.policy_holders import (
    is_evaluated_elsewhere,
    is_of_program,
    resource_documents,
)
from gatehouse_policies.analysis.properties import Properties, is_unknown
from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.engine.guard import check_each
from gatehouse_policies.engine.requirements import (
    any_of,
    for_types,
    has_resource,
    is_exactly,
    is_false,
    is_not_true,
    is_set,
    is_true,
    satisfies,
    where,
)
from gatehouse_policies.engine.rule import (
    CheckResults,
    Requirement,
    Undecided,
    Violation,
    resource_rule,
    stack_rule,
)
from gatehouse_policies.rules.security.account import ACCOUNT_STACKS, manages_account

_DEFAULT_GROUPS = aws("ec2.DefaultSecurityGroup")
_GROUPS = aws("ec2.SecurityGroup") + _DEFAULT_GROUPS
_SEPARATE_RULES = aws(
    "ec2.SecurityGroupRule", "vpc.SecurityGroupIngressRule", "vpc.SecurityGroupEgressRule"
)
_ACLS = aws("ec2.NetworkAcl", "ec2.DefaultNetworkAcl")
_ACL_RULES = aws("ec2.NetworkAclRule")
_PREFIX_LISTS = network.PREFIX_LISTS + network.PREFIX_LIST_ENTRIES
_vpc_rule = partial(stack_rule, types=aws("ec2.Vpc"))


flow_logs_are_enabled = _vpc_rule("GH-VPC-001").requires(
    has_resource(
        "ec2.FlowLog", "vpcId", is_exactly("trafficType", "ALL"), missing="the VPC has no flow log"
    )
)


def _not_of_default_group(rule: Resource, stack: Stack) -> CheckResults:
    # The group of the rule is an output of the VPC, or a DefaultSecurityGroup.
    if stack.outputs_in(rule, "securityGroupId", network.VPCS) or stack.referenced_by(
        rule, "securityGroupId", _DEFAULT_GROUPS
    ):
        yield "the rule belongs to the default security group"


default_security_group_is_empty = stack_rule(
    "GH-VPC-002", types=aws("ec2.Vpc") + _DEFAULT_GROUPS + _SEPARATE_RULES
).requires(
    for_types(_SEPARATE_RULES, Requirement(_not_of_default_group, "remove the rule")),
    for_types(
        aws("ec2.Vpc") + _DEFAULT_GROUPS,
        has_resource(
            "ec2.DefaultSecurityGroup",
            "vpcId",
            *(
                satisfies(
                    name, lambda group, key: not group.size(key), "is not empty", f"remove {name}"
                )
                for name in ("ingress", "egress")
            ),
            missing="the VPC has no DefaultSecurityGroup",
            owner="ec2.Vpc",
        ),
    ),
)


public_addresses_are_not_assigned = resource_rule("GH-VPC-003", types=network.SUBNETS).requires(
    for_types(aws("ec2.Subnet"), is_not_true("mapPublicIpOnLaunch")),
    for_types(aws("ec2.DefaultSubnet"), is_false("mapPublicIpOnLaunch")),
)


# Properties with the security groups of resources that can have a public address.
_GROUP_PROPERTIES = {
    **dict.fromkeys(
        aws("ec2.Instance", "ec2.SpotInstanceRequest", "ec2.LaunchTemplate"), "vpcSecurityGroupIds"
    ),
    **dict.fromkeys(aws("ec2.NetworkInterface", "ec2.LaunchConfiguration"), "securityGroups"),
    **dict.fromkeys(aws("ecs.Service"), "networkConfiguration"),
    **dict.fromkeys(aws("rds.Instance", "rds.Cluster", "redshift.Cluster"), "vpcSecurityGroupIds"),
}
_BALANCERS = aws("lb.LoadBalancer", "elb.LoadBalancer")


@stack_rule(
    "GH-VPC-004",
    types=(
        *(*_GROUPS, *_PREFIX_LISTS, *_GROUP_PROPERTIES),
        *aws("ec2.SecurityGroupRule", "vpc.SecurityGroupIngressRule"),
    ),
    # Names of security groups, or of their rules, whose load balancers are in another stack.
    lists={"load_balancer_groups": ()},
)
def internet_ingress_is_limited(holder: Resource, stack: Stack) -> CheckResults:
    if holder.type in _PREFIX_LISTS:
        is_list = holder.type in network.PREFIX_LISTS
        entries = holder.props.blocks("entries") if is_list else [holder.props]
        ranges = [*network.entry_ranges([holder], stack), *(each.text("cidr") for each in entries)]
        if network.is_internet(*ranges):
            yield "the entries of a prefix list contain the internet"
    elif holder.type in _GROUP_PROPERTIES:
        yield from _groups_are_limited_together(holder, stack)
    else:
        rules = _rules(holder, "ingress")
        yield from check_each(rules, lambda rule: _rule_is_limited(rule, holder, stack))
        yield from _are_limited_together("the rules", _ingress_of_group(holder, stack))


def _rule_is_limited(rule: Properties, holder: Resource, stack: Stack) -> CheckResults:
    ranges = network.listed_ranges(holder, rule, stack)
    if network.is_error_message(rule) or not network.allows_internet(rule, *ranges):
        return
    name = rule.path or "the rule"
    if network.single_tcp_port(rule) not in (80, 443):
        yield f"{name} allows the internet on ports other than 80 and 443"
    elif not _belongs_to_load_balancer(holder, stack):
        if not _groups(holder, stack) and not holder.props.known("securityGroupId"):
            yield Undecided("securityGroupId")  # The group is in another stack.
            return
        yield f"{name} allows the internet, but the group does not belong to a load balancer"
    elif others := [
        each.name
        for group in _groups(holder, stack)
        for types, prop in _GROUP_PROPERTIES.items()
        for each in stack.referencing(group, (types,), prop)
    ]:
        yield Violation(
            f"{name} allows the internet, and the group of the load balancer is also that of "
            f"{', '.join(others)}",
            "create a security group that allows the group of the load balancer",
        )


def _ingress_of_group(holder: Resource, stack: Stack) -> tuple[network.Ingress, ...]:
    """The rules of a security group. Of several rules of a group that the program does not manage,
    the first one has them.
    """
    if holder.type in _GROUPS:
        return stack.once(network.ingress_of, holder)
    rules = [] if _groups(holder, stack) else stack.of_same_owner(holder, "securityGroupId")
    if not rules or rules[0].urn != holder.urn:
        return ()
    return tuple(chain.from_iterable(network.ingress_of(rule, stack) for rule in rules))


def _groups_are_limited_together(holder: Resource, stack: Stack) -> CheckResults:
    groups = stack.referenced_by(holder, _GROUP_PROPERTIES[holder.type], _GROUPS)
    rules = [stack.once(network.ingress_of, group) for group in groups]
    if not any(network.open_together(each)[0] for each in rules):
        names = ", ".join(group.name for group in groups)
        together = tuple(chain.from_iterable(rules))
        yield from _are_limited_together(f"the security groups {names}", together)


def _are_limited_together(subject: str, rules: Iterable[network.Ingress]) -> CheckResults:
    port, unknown = network.open_together(rules)
    if unknown:
        yield Undecided(unknown)
    elif port:
        yield f"{subject} together open {port} to the internet"


def _groups(holder: Resource, stack: Stack) -> list[Resource]:
    """The security group, or the security groups of a rule that is a separate resource."""
    if holder.type in _GROUPS:
        return [holder]
    return stack.referenced_by(holder, "securityGroupId", _GROUPS)


def _belongs_to_load_balancer(holder: Resource, stack: Stack) -> bool:
    groups = _groups(holder, stack)
    if not {holder.name, *(group.name for group in groups)}.isdisjoint(
        holder.lists["load_balancer_groups"]
    ):
        return True
    return any(stack.referencing(group, _BALANCERS, "securityGroups") for group in groups)


_ENDPOINT_POLICIES = aws("ec2.VpcEndpointPolicy")


def _is_for_aws_service(endpoint: Resource) -> bool:
    """False for an endpoint for a service of another customer or partner, for a load balancer, or
    for Amazon VPC Lattice, which have no endpoint policies.
    """
    kind = endpoint.props.text("vpcEndpointType", "Gateway")
    is_private = ".vpce-svc-" in endpoint.props.known_text("serviceName")
    return kind in ("Gateway", "Interface") and not is_private


@stack_rule("GH-VPC-009", strict=True, types=_ENDPOINT_POLICIES + aws("ec2.VpcEndpoint"))
def endpoint_policy_is_restrictive(endpoint: Resource, stack: Stack) -> CheckResults:
    types = aws("ec2.VpcEndpoint")
    if is_evaluated_elsewhere(endpoint, stack, _ENDPOINT_POLICIES, "vpcEndpointId", types):
        return
    documents = resource_documents(endpoint, stack, _ENDPOINT_POLICIES, "vpcEndpointId")
    if not documents and _is_for_aws_service(endpoint):
        yield "policy is not set, so the endpoint allows all requests"
    for allow in (allow for document in documents for allow in document.allows):
        clauses = tuple((condition, True) for condition in allow.conditions)
        if (
            allow.applies_to_everyone()
            and limits_of(clauses, THROUGH_ENDPOINT) == ()
            and _reaches_other_accounts(allow)
        ):
            yield (
                "a statement of the policy allows everyone to use all resources without a condition"
            )


def _reaches_other_accounts(allow: Statement) -> bool:
    """True if a statement applies to all resources of other accounts. ARNs of buckets have no
    account.
    """
    foreign = (each for each in allow.resources or () if not re.search(r":\d{12}:", each))
    elsewhere = replace(allow, resources=None if allow.resources is None else tuple(foreign))
    return any(reaches_all_resources(elsewhere, action) for action in allow.actions or ("*",))


interface_endpoint_is_effective = resource_rule(
    "GH-VPC-012", types=aws("ec2.VpcEndpoint")
).requires(
    # A VPC with a gateway endpoint for S3 or DynamoDB may use private DNS names for requests from
    # other networks only.
    where(
        _is_for_aws_service,
        any_of(
            is_true("privateDnsEnabled"),
            is_set("dnsOptions"),
            message="privateDnsEnabled is not true",
        ),
    ),
    is_set("securityGroupIds"),
    when=lambda endpoint: endpoint.props.text("vpcEndpointType", "Gateway") == "Interface",
)


# Property that contains the subnets, keyed by resource type. The property of other types is
# "subnetIds".
_SUBNET_PROPERTIES = by_token(
    {
        "ecs.ExpressGatewayService": "networkConfigurations",
        "ecs.Service": "networkConfiguration",
        "efs.MountTarget": "subnetId",
        "elasticsearch.Domain": "vpcOptions",
        "lambda.Function": "vpcConfig",
        "msk.Cluster": "brokerNodeGroupInfo",
        "opensearch.Domain": "vpcOptions",
    }
)
_SUBNET_GROUPS = aws(
    *("elasticache.SubnetGroup", "rds.SubnetGroup", "redshift.SubnetGroup", "docdb.SubnetGroup"),
    *("neptune.SubnetGroup", "memorydb.SubnetGroup", "dax.SubnetGroup"),
    "redshiftserverless.Workgroup",
)


@stack_rule(
    "GH-VPC-010",
    types=_SUBNET_GROUPS
    + tuple(_SUBNET_PROPERTIES)
    + aws("ec2.DefaultVpc", "elasticache.ServerlessCache", "mq.Broker"),
)
def workloads_use_private_subnets(holder: Resource, stack: Stack) -> CheckResults:
    if holder.type in aws("ec2.DefaultVpc"):
        yield Violation("the program uses the default VPC", "create an aws.ec2.Vpc")
        return
    prop = _SUBNET_PROPERTIES.get(holder.type, "subnetIds")
    if holder.type in aws("ecs.ExpressGatewayService") and not any(
        block.has("subnets") for block in holder.props.blocks(prop)
    ):
        yield f"{prop} has no subnets, so the tasks use the default VPC"
    public, routed = list[str](), list[str]()
    for subnet in stack.referenced_by(holder, prop, network.SUBNETS):
        if network.is_public_subnet(subnet, stack):
            public.append(subnet.name)
        elif holder.type in _SUBNET_GROUPS and any(
            stack.once(network.routes_to_nat_gateway, table)
            for table in network.route_tables(subnet, stack)
        ):
            routed.append(subnet.name)
    if public:
        yield f"subnets are public: {', '.join(public)}"
    if routed:
        yield f"subnets of a data store have a route to a NAT gateway: {', '.join(routed)}"


@resource_rule(
    "GH-VPC-005",
    strict=True,
    types=(*_GROUPS, *aws("ec2.SecurityGroupRule", "vpc.SecurityGroupEgressRule")),
)
def egress_is_limited(holder: Resource) -> CheckResults:
    def check(rule: Properties) -> CheckResults:
        if network.allows_internet(rule) and network.allows_all_ports(rule):
            yield f"{rule.path or 'the rule'} allows all traffic to the internet"

    yield from check_each(_rules(holder, "egress"), check)


def _rules(holder: Resource, direction: str) -> list[Properties]:
    """The rules for one direction in a security group, or the single rule of a rule resource."""
    if holder.type in _GROUPS:
        return holder.props.blocks(direction)
    return [holder.props] if holder.props.text("type", direction) == direction else []


@stack_rule("GH-VPC-006", strict=True, types=aws("ec2.SecurityGroup") + _SEPARATE_RULES)
def rules_have_description_and_one_owner(holder: Resource, stack: Stack) -> CheckResults:
    if holder.props.text("description") in ("", "Managed by Pulumi"):
        yield "description is not set"
    inline = [block for name in ("ingress", "egress") for block in holder.props.blocks(name)]
    yield from check_each(inline, _check_description)
    if inline and stack.referencing(holder, _SEPARATE_RULES, "securityGroupId"):
        yield "the group has both inline and separate rules"


def _check_description(rule: Properties) -> CheckResults:
    if not rule.text("description"):
        yield f"{rule.path_of('description')} is not set"


@stack_rule(
    "GH-VPC-007",
    types=_ACLS + _ACL_RULES,
    # The first matching rule applies, so all rules of an ACL are evaluated together:
    # https://docs.aws.amazon.com/vpc/latest/userguide/nacl-rules.html
)
def acl_denies_remote_administration(acl: Resource, stack: Stack) -> CheckResults:
    if acl.type in _ACLS:
        separate = stack.referencing(acl, _ACL_RULES, "networkAclId")
        own = ingress = [*acl.props.blocks("ingress"), *_ingress(separate)]
    elif is_of_program(acl, stack, "networkAclId", _ACLS):
        return
    else:
        own = _ingress([acl])
        ingress = [*own, *_ingress(stack.of_same_owner(acl, "networkAclId"))]
    for port in (22, 3389):
        for cidr in ("0.0.0.0/0", "::/0"):
            if all(network.acl_allows(rules, cidr, port) for rules in (own, ingress)):
                yield f"port {port} is open to {cidr}"


def _ingress(rules: list[Resource]) -> list[Properties]:
    return [rule.props for rule in rules if not rule.props.flag("egress")]


@_vpc_rule("GH-VPC-008", strict=True)
def services_have_endpoints(vpc: Resource, stack: Stack) -> CheckResults:
    required = network.required_endpoints(stack)
    endpoints = stack.referencing(vpc, aws("ec2.VpcEndpoint"), "vpcId")
    # com.amazonaws.<region>.<service>, where the service may contain dots.
    names = [endpoint.props.text("serviceName") for endpoint in endpoints] if required else []
    present = {name.partition("com.amazonaws.")[2].partition(".")[2] for name in names}
    for service in required:
        if service not in present:
            yield f"the VPC has no endpoint for {service}"


@_vpc_rule("GH-VPC-011", lists=ACCOUNT_STACKS, needs="account_stacks")
def vpc_public_access_is_blocked(vpc: Resource, stack: Stack) -> CheckResults:
    if not manages_account(vpc):
        return  # The setting applies to an account and Region.
    options = stack.of_type(aws("ec2.VpcBlockPublicAccessOptions"))
    modes = {option.props.text("internetGatewayBlockMode") for option in options}
    if not modes & {"block-ingress", "block-bidirectional"}:
        yield "VPC Block Public Access is not enabled"
    elif any(
        not balancer.props.flag("internal") for balancer in stack.of_type(aws("lb.LoadBalancer"))
    ) and not stack.of_type(aws("ec2.VpcBlockPublicAccessExclusion")):
        yield "no exclusion allows traffic to the load balancer"


# Types with lists of networks that may connect (tests/policies/test_schema.py).
_WITH_ALLOWED_NETWORKS = aws(
    *("codepipeline.Webhook", "lightsail.InstancePublicPorts", "medialive.InputSecurityGroup"),
    *("sagemaker.Workforce", "workspaces.IpGroup", "workspacesweb.IpAccessSettings"),
)
_NETWORKS = re.compile(r"(cidrs?|ipv6Cidrs|ipRange|allowedIpRange|source|\])(\[\d+\])?$")


def _allows_internet(resource: Resource, _stack: Stack) -> CheckResults:
    ports = resource.props.blocks("portInfos")
    web = [each.path for each in ports if network.single_tcp_port(each) in (80, 443)]
    networks = []
    for name in resource.props.names():
        for path, value in leaves(resource.props.value(name), name):
            if not _NETWORKS.search(path) or path.startswith(tuple(web)):
                continue
            if is_unknown(value):
                yield Undecided(path)
            elif isinstance(value, str):
                networks.append(value)
    if network.is_internet(*networks):
        yield "the allowed networks contain the internet"


allowed_networks_are_private = resource_rule("GH-VPC-013", types=_WITH_ALLOWED_NETWORKS).requires(
    Requirement(_allows_internet, "name the networks of clients")
)


@resource_rule("GH-VPC-014", types=aws("ec2.Route", "ec2.RouteTable"))
def peering_routes_are_narrow(holder: Resource) -> CheckResults:
    for block in (holder.props, *holder.props.blocks("routes")):
        names = ("destinationCidrBlock", "destinationIpv6CidrBlock", "cidrBlock", "ipv6CidrBlock")
        ranges = [text for name in names if (text := block.known_text(name))]
        if block.has("vpcPeeringConnectionId") and network.is_internet(*ranges):
            yield "a route sends traffic for the internet to another VPC"
