"""Compares the quotas, the trail and the Slack channels of the AWS account with the needs of a
stack. New accounts have low quotas, with which the first deployment would fail after several
minutes."""

from collections.abc import Callable, Iterator
from typing import Any

import boto3

from components.naming import ALARM_TOPIC, CHAT_REGION, PROJECT, Naming
from components.settings.loader import SettingsError, parse
from components.settings.model import Settings
from components.settings.workloads import ROLLING
from release.errors import AWS_ERRORS
from release.stack_file import Stack

UNRESERVED_CONCURRENCY_MIN = 100
"""Concurrency that functions cannot reserve. Source: AWS Lambda Developer Guide, "Configuring
reserved concurrency".
"""
DEPLOYMENT_TASKS = 2
"""Factor for the tasks of a service during a deployment, which starts all new tasks before it stops
the others.
"""
# Quota codes. Source: the default quotas of Service Quotas.
LAMBDA_CONCURRENCY, FARGATE_CPU, ADDRESSES = ("L-B99A9384", "L-3032A538", "L-0263D0A3")
VPCS, GATEWAY_ENDPOINTS, NAT_GATEWAYS = ("L-F678F1CE", "L-1B52E74A", "L-FE5A380F")
EVENT_SUBSCRIPTIONS = "L-A59F4C87"
SET_NAT = "set network.nat to one or none"

TRAILS_MAX, LOG_POLICIES_MAX = 5, 10
"""Quotas of a region that AWS does not raise (tests/external_contracts.toml)."""

Client = Callable[[str], Any]


def exceeded_quotas(stack: Stack, client: Client | None = None) -> list[str]:
    """One message for each quota that is too low, with the command that requests a higher one, and
    for a Slack channel that another stack uses. A quota that the credentials cannot read is not
    checked, because the roles of a pipeline cannot read quotas.

    client: creates the client of an AWS service; by default, for its region.
    """
    try:
        settings = parse(stack.settings, stack.name)
    except SettingsError:  # `pulumi preview` reports invalid settings
        return []
    create: Any = boto3.client

    def in_region(service: str) -> Any:
        return create(service, region_name=CHAT_REGION if service == "chatbot" else stack.region)

    messages: list[str] = []
    for check in (_function_concurrency, _task_cpu, _network, _fixed, _slack_channel):
        try:
            messages += check(settings, client or in_region)
        except AWS_ERRORS:
            continue
    return messages


def _function_concurrency(settings: Settings, client: Client) -> Iterator[str]:
    functions = settings.function_concurrency
    if not functions:
        return
    aws_lambda = client("lambda")
    limits = aws_lambda.get_account_settings()["AccountLimit"]
    existing = sum(
        _reserved(aws_lambda, f"{PROJECT}-{settings.stack}-{name}") for name in functions
    )
    needed, limit = sum(functions.values()), int(limits["ConcurrentExecutions"])
    available = max(
        0, int(limits["UnreservedConcurrentExecutions"]) + existing - UNRESERVED_CONCURRENCY_MIN
    )
    if needed > available:
        request = _request(settings, "lambda", LAMBDA_CONCURRENCY, max(1000, limit + needed))
        yield (
            f"the functions of the stack reserve {needed} concurrent executions, but {available} "
            f"can be reserved in account {settings.account}, because the quota is {limit} and "
            f"Lambda keeps {UNRESERVED_CONCURRENCY_MIN} unreserved. Run: {request}, or set "
            f"reserve_function_concurrency: false in Pulumi.{settings.stack}.yaml"
        )


def _reserved(aws_lambda: Any, function: str) -> int:
    try:
        return int(
            aws_lambda.get_function_concurrency(FunctionName=function).get(
                "ReservedConcurrentExecutions", 0
            )
        )
    except aws_lambda.exceptions.ResourceNotFoundException:
        return 0


def _task_cpu(settings: Settings, client: Client) -> Iterator[str]:
    """Compare the vCPUs of the minimum number of tasks during a deployment with the quota of
    Fargate.
    """
    services = (*settings.services.scaling, *settings.core_tasks)
    factor = DEPLOYMENT_TASKS if settings.rollout.strategy != ROLLING else 1
    cpu = (
        sum(settings.scaling(name).tasks_min * settings.task_size(name).cpu for name in services)
        * factor
    )
    needed = -(-(cpu + settings.task_size("migrate").cpu) // 1024)
    limit = _quota(client, "fargate", FARGATE_CPU)
    if needed > limit:
        yield (
            f"a deployment of the stack runs tasks with {needed} vCPUs, but the quota of AWS "
            f"Fargate in account {settings.account} is {limit:g}. Run: "
            f"{_request(settings, 'fargate', FARGATE_CPU, 2 * needed)}, or lower tasks_min or cpu "
            "under services"
        )


def _network(settings: Settings, client: Client) -> Iterator[str]:
    ec2, zone = client("ec2"), settings.network.zones[0]
    zones = {row["SubnetId"]: row["AvailabilityZone"] for row in ec2.describe_subnets()["Subnets"]}
    subscriptions = client("rds").describe_event_subscriptions()["EventSubscriptionsList"]
    prefix = Naming(settings.stack, settings.account, settings.region).name("")
    tag = {"Key": "Environment", "Value": settings.stack}

    def others(rows: list[dict[str, Any]]) -> int:
        return sum(tag not in row.get("Tags", ()) for row in rows)

    nats = others(
        [
            row
            for row in ec2.describe_nat_gateways()["NatGateways"]
            if zones.get(row["SubnetId"]) == zone and row["State"] in ("pending", "available")
        ]
    )
    gateways = others(
        [
            row
            for row in ec2.describe_vpc_endpoints()["VpcEndpoints"]
            if row["VpcEndpointType"] == "Gateway"
        ]
    )
    addresses = others(ec2.describe_addresses()["Addresses"])
    events = sum(not row["CustSubscriptionId"].startswith(prefix) for row in subscriptions)
    vpcs = others(ec2.describe_vpcs()["Vpcs"])
    nat_count = settings.network.nat_count
    for kind, service, code, needed, used, otherwise in (
        ("Elastic IP addresses", "ec2", ADDRESSES, nat_count, addresses, SET_NAT),
        (f"NAT gateways in {zone}", "vpc", NAT_GATEWAYS, min(nat_count, 1), nats, SET_NAT),
        (
            *("VPCs", "vpc", VPCS, 0 if settings.existing_resources.vpc_id else 1, vpcs),
            "set existing_resources.vpc_id",
        ),
        ("gateway VPC endpoints", "vpc", GATEWAY_ENDPOINTS, 2, gateways, "delete some"),
        ("RDS event subscriptions", "rds", EVENT_SUBSCRIPTIONS, 3, events, "delete some"),
    ):
        limit = int(_quota(client, service, code)) if needed else 0
        if needed and used + needed > limit:
            yield (
                f"the stack needs {needed} of the {kind} of account {settings.account} in "
                f"{settings.region}, which uses {used} of {limit} for other purposes. Run: "
                f"{_request(settings, service, code, limit + needed)}, or {otherwise}"
            )


def _fixed(settings: Settings, client: Client) -> Iterator[str]:
    """Compare the trails and the resource policies of log groups with their quotas."""
    names = Naming(settings.stack, settings.account, settings.region)
    described = client("cloudtrail").describe_trails()["trailList"]
    trails = {row["Name"] for row in described}
    policies = {
        row["policyName"] for row in client("logs").describe_resource_policies()["resourcePolicies"]
    }
    shared = settings.existing_resources
    if shared.trail and not any(row.get("IsMultiRegionTrail") for row in described):
        yield (
            f"account {settings.account} has no multi-region CloudTrail trail, although "
            "existing_resources.trail is true, so nothing records and reports changes to it"
        )
    own_trails = set() if shared.trail else {names.name("trail")}
    own_policies = {names.name(f"{kind}-delivery") for kind in ("findings", "waf")}
    for kind, setting, existing, own, limit in (
        ("CloudTrail trails", "trail", trails, own_trails, TRAILS_MAX),
        (
            "resource policies of CloudWatch Logs",
            "log_policies",
            policies,
            set() if shared.log_policies else own_policies,
            LOG_POLICIES_MAX,
        ),
    ):
        if own and len(existing | own) > limit:
            yield (
                f"account {settings.account} has {len(existing - own)} other {kind} in "
                f"{settings.region}, the stack needs {len(own)}, and AWS does not raise the quota "
                f"of {limit}. Use those of another stack (existing_resources.{setting}: true), or "
                "another account or region"
            )


def _slack_channel(settings: Settings, client: Client) -> Iterator[str]:
    """AWS accepts one configuration for each Slack channel of an account."""
    if not (wanted := settings.monitoring.slack_channel):
        return
    own = Naming(settings.stack, settings.account, settings.region).name(ALARM_TOPIC)
    pages = client("chatbot").get_paginator("describe_slack_channel_configurations").paginate()
    for row in (row for page in pages for row in page.get("SlackChannelConfigurations", ())):
        channel = f"{row['SlackTeamId']}/{row['SlackChannelId']}"
        if channel == wanted and row["ConfigurationName"] != own:
            yield (
                f"Slack channel {channel} already belongs to {row['ConfigurationName']}, and AWS "
                f"accepts it once in account {settings.account}. Set monitoring.slack_channel to "
                "another one"
            )


def _quota(client: Client, service: str, code: str) -> float:
    return float(
        client("service-quotas").get_service_quota(ServiceCode=service, QuotaCode=code)["Quota"][
            "Value"
        ]
    )


def _request(settings: Settings, service: str, code: str, value: int) -> str:
    return (
        f"aws service-quotas request-service-quota-increase --service-code {service} --quota-code "
        f"{code} --desired-value {value} --region {settings.region}"
    )
