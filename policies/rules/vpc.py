"""Rules about networks: what the internet reaches, what reaches the internet, and that traffic is recorded."""

from policies.analysis import type_tokens as tokens
from policies.analysis.network_reachability import (
    WORLD,
    acl_allows,
    acl_matches,
    acl_number,
    endpoints_wanted,
    is_public_subnet,
    leads_to_nat,
    lets_the_world_in,
    opens_every_port,
    port_of,
    tables_of,
)
from policies.analysis.properties import Props
from policies.analysis.resources import Resource, Stack
from policies.engine.rule import AFTER_DEV, ALWAYS, Found, Severity, Upstream, Violation, each, levels, resource_rule, stack_rule
from policies.rules.account import baseline_is_elsewhere

_GUIDE = "https://docs.aws.amazon.com/vpc/latest/userguide"


@stack_rule(
    "GH-VPC-001",
    title="Every VPC records its traffic",
    why="Flow logs answer who spoke to whom, after the fact, also for traffic that was refused.",
    remedy='add an aws.ec2.FlowLog with trafficType="ALL" to a log group that has kmsKeyId',
    severity=Severity.HIGH,
    types=tokens.VPC,
    levels=ALWAYS,
    upstream=Upstream(
        security_hub=("EC2.6",),
        cis=("4.7",),
        checkov=("CKV2_AWS_11",),
        prowler=("vpc_flow_logs_enabled",),
        cdk_nag=("VPC7",),
    ),
    url=f"{_GUIDE}/flow-logs.html",
)
def traffic_is_recorded(vpc: Resource, stack: Stack) -> Found:
    logs = stack.users(vpc, tokens.FLOW_LOG, "vpcId")
    if not logs:
        yield "no flow log belongs to this VPC"
    for log in logs:
        if log.props.text("trafficType") != "ALL":
            yield f"trafficType is not ALL in {log.name}"
        for group in stack.targets(log, "logDestination", tokens.LOG_GROUP):
            if not group.props.has("kmsKeyId"):
                yield Violation(f"the log group {group.name} has no customer key", "set kmsKeyId on it")


@stack_rule(
    "GH-VPC-002",
    title="The default security group lets nothing through",
    why=("Whatever is started without a group lands in this one; by default its members reach each other and everything else."),
    remedy="declare an aws.ec2.DefaultSecurityGroup for the VPC without ingress and egress",
    severity=Severity.HIGH,
    types=tokens.VPC,
    levels=ALWAYS,
    upstream=Upstream(
        security_hub=("EC2.2",),
        cis=("6.5",),
        checkov=("CKV2_AWS_12",),
        prowler=("ec2_securitygroup_default_restrict_traffic",),
    ),
    url=f"{_GUIDE}/default-security-group.html",
)
def the_default_group_is_empty(vpc: Resource, stack: Stack) -> Found:
    groups = stack.users(vpc, tokens.DEFAULT_SECURITY_GROUP, "vpcId")
    if not groups:
        yield "the VPC's default security group is not taken over"
    for group in groups:
        for direction in ("ingress", "egress"):
            if group.props.size(direction):
                yield f"{direction} is not empty in {group.name}"


@resource_rule(
    "GH-VPC-003",
    title="No subnet hands out public addresses",
    why="A public address that nobody asked for is the first half of an exposed server.",
    remedy="set mapPublicIpOnLaunch=False or leave it out",
    severity=Severity.MEDIUM,
    types=tokens.SUBNET,
    levels=ALWAYS,
    upstream=Upstream(security_hub=("EC2.15",), checkov=("CKV_AWS_130",), prowler=("vpc_subnet_no_public_ip_by_default",)),
    url=f"{_GUIDE}/subnet-public-ip.html",
)
def no_public_address_is_handed_out(subnet: Resource) -> Found:
    if subnet.props.flag("mapPublicIpOnLaunch"):
        yield "mapPublicIpOnLaunch is true"


@stack_rule(
    "GH-VPC-004",
    title="The internet reaches load balancers only, on 443 and 80",
    why="Every other open port is a door that the load balancer and its firewall do not watch.",
    remedy="let in a security group (referencedSecurityGroupId) instead of 0.0.0.0/0 or ::/0",
    severity=Severity.CRITICAL,
    types=tokens.SECURITY_GROUP + tokens.SECURITY_GROUP_RULE + tokens.SECURITY_GROUP_INGRESS,
    levels=ALWAYS,
    upstream=Upstream(
        security_hub=("EC2.18", "EC2.19", "EC2.13", "EC2.14"),
        cis=("6.3", "6.4"),
        checkov=("CKV_AWS_24", "CKV_AWS_25", "CKV_AWS_260", "CKV_AWS_277"),
        prowler=("ec2_securitygroup_allow_ingress_from_internet_to_any_port",),
        cdk_nag=("EC23",),
    ),
    url=f"{_GUIDE}/security-group-rules.html",
)
def the_internet_reaches_balancers_only(holder: Resource, stack: Stack) -> Found:
    def check(rule: Props) -> Found:
        if not lets_the_world_in(rule):
            return
        if port_of(rule) not in (80, 443):
            yield f"{rule.path or 'the rule'} lets the whole internet in on other ports than 443 and 80"
        elif not _guards_a_balancer(holder, stack):
            yield f"{rule.path or 'the rule'} lets the whole internet in, and the group is not a load balancer's"

    if holder.type in tokens.SECURITY_GROUP:
        yield from each(holder.props.blocks("ingress"), check)
    elif holder.type in tokens.SECURITY_GROUP_INGRESS or holder.props.text("type") == "ingress":
        yield from check(holder.props)


def _guards_a_balancer(holder: Resource, stack: Stack) -> bool:
    itself = [holder] if holder.type in tokens.SECURITY_GROUP else []
    groups = itself or stack.targets(holder, "securityGroupId", tokens.SECURITY_GROUP)
    return any(stack.users(group, tokens.LOAD_BALANCER, "securityGroups") for group in groups)


@resource_rule(
    "GH-VPC-009",
    title="Every endpoint has a policy of its own",
    why=("The default endpoint policy lets everything through to every account: a way out for data that no firewall sees."),
    remedy="write a policy on the endpoint that ties requests to this account and its resources",
    severity=Severity.MEDIUM,
    types=tokens.VPC_ENDPOINT,
    levels=AFTER_DEV,
    upstream=Upstream(prowler=("vpc_endpoint_connections_trust_boundaries",)),
    url="https://docs.aws.amazon.com/vpc/latest/privatelink/vpc-endpoints-access.html",
)
def endpoints_have_a_policy(endpoint: Resource) -> Found:
    if not endpoint.props.has("policy"):
        yield "the endpoint has the default policy, which allows everything"


@stack_rule(
    "GH-VPC-010",
    title="Tasks and data are on private subnets, and data does not reach out",
    why=("A route to the internet is needed by the load balancer and the NAT alone; a data store has no business out there."),
    remedy="put it on a subnet whose route table has no internet gateway (for data stores: no NAT gateway either)",
    severity=Severity.HIGH,
    types=tokens.DEFAULT_VPC + tokens.SERVICE + tokens.FUNCTION + tokens.CACHE_SUBNETS + tokens.DB_SUBNETS,
    levels=ALWAYS,
    upstream=Upstream(checkov=("CKV_AWS_148", "CKV2_AWS_35"), prowler=("vpc_subnet_separate_private_public",)),
    url=f"{_GUIDE}/VPC_Route_Tables.html",
)
def private_things_are_on_private_subnets(holder: Resource, stack: Stack) -> Found:
    if holder.type in tokens.DEFAULT_VPC:
        yield Violation("the default VPC is used", "declare an aws.ec2.Vpc of your own")
        return
    prop = (
        "networkConfiguration"
        if holder.type in tokens.SERVICE
        else "vpcConfig"
        if holder.type in tokens.FUNCTION
        else "subnetIds"
    )
    data = holder.type in tokens.CACHE_SUBNETS + tokens.DB_SUBNETS
    for subnet in stack.targets(holder, prop, tokens.SUBNET):
        if is_public_subnet(subnet, stack):
            yield f"the subnet {subnet.name} is public"
        elif data and any(leads_to_nat(table, stack) for table in tables_of(subnet, stack)):
            yield f"the subnet {subnet.name} of a data store reaches the internet through a NAT gateway"


@resource_rule(
    "GH-VPC-005",
    title="Nothing may open any connection to anywhere",
    why="What is broken into calls home first; with every port open to every address, nothing stands in its way.",
    remedy="name the ports and the groups or prefix lists that are called",
    severity=Severity.MEDIUM,
    types=tokens.SECURITY_GROUP + tokens.SECURITY_GROUP_RULE + tokens.SECURITY_GROUP_EGRESS,
    levels=AFTER_DEV,
    upstream=Upstream(checkov=("CKV_AWS_382",)),
    url=f"{_GUIDE}/security-group-rules.html",
)
def nothing_calls_anywhere(holder: Resource) -> Found:
    def check(rule: Props) -> Found:
        if lets_the_world_in(rule) and opens_every_port(rule):
            yield f"{rule.path or 'the rule'} lets everything out to the whole internet"

    if holder.type in tokens.SECURITY_GROUP:
        yield from each(holder.props.blocks("egress"), check)
    elif holder.type in tokens.SECURITY_GROUP_EGRESS or holder.props.text("type") == "egress":
        yield from check(holder.props)


@stack_rule(
    "GH-VPC-006",
    title="Security groups say what each opening is for, in one way",
    why="Rules inside a group remove those beside it at every second deployment; one without words is never cleaned up.",
    remedy="write a description, and declare rules as SecurityGroupIngressRule and SecurityGroupEgressRule only",
    severity=Severity.LOW,
    types=tokens.SECURITY_GROUP + tokens.SECURITY_GROUP_RULE + tokens.SECURITY_GROUP_INGRESS + tokens.SECURITY_GROUP_EGRESS,
    levels=AFTER_DEV,
    upstream=Upstream(checkov=("CKV_AWS_23",), cdk_nag=("EC27",)),
    url="https://www.pulumi.com/registry/packages/aws/api-docs/ec2/securitygroup/",
)
def openings_have_words(holder: Resource, stack: Stack) -> Found:
    if holder.props.text("description") in ("", "Managed by Pulumi"):
        yield "description is not set"
    inline = [block for name in ("ingress", "egress") for block in holder.props.blocks(name)]
    yield from each(inline, _has_words)
    beside = tokens.SECURITY_GROUP_RULE + tokens.SECURITY_GROUP_INGRESS + tokens.SECURITY_GROUP_EGRESS
    if inline and stack.users(holder, beside, "securityGroupId"):
        yield "the group has rules inside it and beside it"


def _has_words(rule: Props) -> Found:
    if not rule.text("description"):
        yield f"{rule.at('description')} is not set"


@stack_rule(
    "GH-VPC-007",
    title="Network ACLs close remote administration to the internet",
    why="It is the second fence: when a security group is opened by mistake, SSH and RDP stay shut.",
    remedy="deny ports 22 and 3389 from 0.0.0.0/0 and ::/0 with a lower rule number than the rule that lets them in",
    severity=Severity.MEDIUM,
    types=tokens.NETWORK_ACL,
    # The first rule that matches decides, so all rules of an ACL are read together:
    # https://docs.aws.amazon.com/vpc/latest/userguide/nacl-rules.html
    levels=AFTER_DEV,
    upstream=Upstream(
        security_hub=("EC2.21",),
        cis=("6.2",),
        checkov=("CKV_AWS_229", "CKV_AWS_230", "CKV_AWS_231", "CKV_AWS_232"),
        prowler=("ec2_networkacl_allow_ingress_tcp_port_22",),
        cdk_nag=("VPC3",),
    ),
    url=f"{_GUIDE}/vpc-network-acls.html",
)
def administration_is_fenced(acl: Resource, stack: Stack) -> Found:
    beside = [one.props for one in stack.users(acl, tokens.NETWORK_ACL_RULE, "networkAclId") if not one.props.flag("egress")]
    rules = sorted([*acl.props.blocks("ingress"), *beside], key=acl_number)
    for port in (22, 3389):
        for world in WORLD:
            first = next((rule for rule in rules if acl_matches(rule, world, port)), None)
            if first is not None and acl_allows(first):
                yield f"port {port} is open to {world}"


@stack_rule(
    "GH-VPC-008",
    title="AWS services are called without leaving the network",
    why="Without an endpoint, secrets, images and logs go through the NAT and past every endpoint policy.",
    remedy="add an aws.ec2.VpcEndpoint for the service",
    severity=Severity.MEDIUM,
    types=tokens.VPC,
    levels=AFTER_DEV,
    upstream=Upstream(
        security_hub=("EC2.10", "EC2.55", "EC2.56", "EC2.57"),
        cis=("6.8",),
        prowler=("vpc_endpoint_for_ec2_enabled", "vpc_endpoint_multi_az_enabled"),
    ),
    url="https://docs.aws.amazon.com/vpc/latest/privatelink/aws-services-privatelink-support.html",
)
def services_are_called_inside(vpc: Resource, stack: Stack) -> Found:
    # Only tasks are known to call these from inside the network.
    wanted = [service for service, needed in endpoints_wanted(stack) if needed] if stack.of(tokens.SERVICE) else []
    endpoints = stack.users(vpc, tokens.VPC_ENDPOINT, "vpcId")
    # com.amazonaws.<region>.<service>, where the service may have dots of its own.
    present = {one.props.text("serviceName").partition("com.amazonaws.")[2].partition(".")[2] for one in endpoints if wanted}
    for service in wanted:
        if service not in present:
            yield f"no endpoint for {service} belongs to this VPC"


@stack_rule(
    "GH-VPC-011",
    title="The region refuses traffic from the internet to VPCs, but to the load balancer",
    why="It overrides every route and group that somebody adds later, in every VPC of the account.",
    remedy=(
        'add aws.ec2.VpcBlockPublicAccessOptions with internetGatewayBlockMode="block-ingress", and an exclusion for the load '
        "balancer's subnets"
    ),
    severity=Severity.LOW,
    types=tokens.VPC,
    levels=levels("-", "A", "A"),
    upstream=Upstream(security_hub=("EC2.172",)),
    url=f"{_GUIDE}/security-vpc-bpa.html",
)
def the_region_blocks_public_access(vpc: Resource, stack: Stack) -> Found:
    roots = stack.of((tokens.STACK,))
    if any(baseline_is_elsewhere(root) for root in roots):
        return  # The setting is one an account and region.
    options = stack.of(tokens.VPC_BLOCK_PUBLIC_ACCESS)
    modes = {one.props.text("internetGatewayBlockMode") for one in options}
    if not modes & {"block-ingress", "block-bidirectional"}:
        yield "nothing blocks public access to VPCs of this region"
    elif any(not one.props.flag("internal") for one in stack.of(tokens.LOAD_BALANCER)) and not stack.of(
        tokens.VPC_BLOCK_EXCLUSION
    ):
        yield "no exclusion lets traffic reach the load balancer"
