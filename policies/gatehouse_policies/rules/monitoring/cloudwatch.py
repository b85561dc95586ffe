"""Rules for CloudWatch: log groups, metric filters, alarms and dashboards."""

import re
from collections.abc import Iterator

from pulumi_local.type_tokens import aws, by_token

from gatehouse_policies.analysis.iam.grammar import parse
from gatehouse_policies.analysis.iam.strangers import access
from gatehouse_policies.analysis.policy_holders import ACCOUNTS, public_or_foreign_access
from gatehouse_policies.analysis.properties import Properties
from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.engine.requirements import is_at_least, is_not_false, is_set
from gatehouse_policies.engine.rule import CheckResults, joined_remedies, resource_rule, stack_rule

log_retention_is_set = resource_rule(
    "GH-CW-001",
    types=aws("cloudwatch.LogGroup"),
    settings={"days_min": {"dev": 1, "staging": 30, "prod": 365}},
).requires(is_at_least("retentionInDays", "days_min"))


log_group_uses_customer_key = resource_rule("GH-CW-002", types=aws("cloudwatch.LogGroup")).requires(
    is_set("kmsKeyId")
)


_ACTIONS = is_set("alarmActions"), is_not_false("actionsEnabled")


@stack_rule(
    "GH-CW-003",
    remedy=joined_remedies(_ACTIONS),
    types=aws("cloudwatch.MetricAlarm", "cloudwatch.CompositeAlarm"),
)
def alarm_has_action(alarm: Resource, stack: Stack) -> CheckResults:
    has_action, is_enabled = _ACTIONS
    # Composite alarms reduce noise: the alarms in their rules need no actions (CloudWatch User
    # Guide, "Create a composite alarm", read 2026-11-29).
    if alarm.props.has("alarmActions") or not _is_in_composite_alarm(alarm, stack):
        yield from has_action.check(alarm, stack)
    yield from is_enabled.check(alarm, stack)


def _is_in_composite_alarm(alarm: Resource, stack: Stack) -> bool:
    return any(
        any(f'("{name}")' in composite.props.text("alarmRule") for name in alarm.identifiers)
        for composite in stack.of_type(aws("cloudwatch.CompositeAlarm"))
        if composite.props.has("alarmActions")
    )


# Metric filters of the CIS AWS Foundations Benchmark, section 5: number, subject, and terms that
# the filter pattern contains.
_CIS_FILTERS = (
    ("5.1", "unauthorized API calls", ("UnauthorizedOperation", "AccessDenied")),
    ("5.2", "console sign-in without MFA", ("ConsoleLogin", "MFAUsed")),
    ("5.3", "root user activity", ("userIdentity.type", "Root")),
    ("5.4", "IAM policy changes", ("PutRolePolicy", "AttachRolePolicy")),
    ("5.5", "CloudTrail changes", ("StopLogging", "DeleteTrail")),
    ("5.6", "console authentication failures", ("ConsoleLogin", "Failed authentication")),
    ("5.7", "disabling or deletion of KMS keys", ("DisableKey", "ScheduleKeyDeletion")),
    ("5.8", "S3 bucket policy changes", ("PutBucketPolicy", "PutBucketAcl")),
    ("5.9", "AWS Config changes", ("StopConfigurationRecorder", "PutConfigurationRecorder")),
    ("5.10", "security group changes", ("SecurityGroup",)),
    ("5.11", "network ACL changes", ("NetworkAcl",)),
    ("5.12", "network gateway changes", ("InternetGateway",)),
    ("5.13", "route table changes", ("RouteTable",)),
    ("5.14", "VPC changes", ("CreateVpc", "DeleteVpc")),
    ("5.15", "AWS Organizations changes", ("organizations.amazonaws.com",)),
)


@stack_rule("GH-CW-004", types=aws("cloudtrail.Trail"))
def administrator_activity_raises_alarms(trail: Resource, stack: Stack) -> CheckResults:
    filters = [
        metric_filter.props for metric_filter in stack.of_type(aws("cloudwatch.LogMetricFilter"))
    ]
    alarms = [alarm.props for alarm in stack.of_type(aws("cloudwatch.MetricAlarm"))]
    alarmed = {alarm.text("metricName") for alarm in alarms if alarm.known("metricName")}
    for number, subject, terms in _CIS_FILTERS:
        matching = [
            props for props in filters if all(term in props.text("pattern") for term in terms)
        ]
        if not matching:
            yield f"no metric filter for {subject} (CIS {number})"
        elif not any(
            props.block("metricTransformation").text("name") in alarmed for props in matching
        ):
            yield f"no alarm for {subject} (CIS {number})"


# Metric namespace of each monitored type.
_NAMESPACES = by_token(
    {
        "lb.LoadBalancer": "AWS/ApplicationELB",
        "ecs.Service": "AWS/ECS",
        "rds.Instance": "AWS/RDS",
        "elasticache.ReplicationGroup": "AWS/ElastiCache",
        "dynamodb.Table": "AWS/DynamoDB",
        "lambda.Function": "AWS/Lambda",
    }
)


_BALANCER_NAMESPACES = {"network": "AWS/NetworkELB", "gateway": "AWS/GatewayELB"}


@stack_rule(
    "GH-CW-005",
    strict=True,
    types=tuple(_NAMESPACES),
    unknown_allowed={
        "dashboardBody": "the value contains names that AWS assigns when the resources are created"
    },
)
def resource_is_monitored(resource: Resource, stack: Stack) -> CheckResults:
    balancer = resource.props.text("loadBalancerType")
    namespace = _BALANCER_NAMESPACES.get(balancer, _NAMESPACES[resource.type])
    if not any(
        _monitors(alarm, namespace, resource, stack)
        for alarm in stack.of_type(aws("cloudwatch.MetricAlarm"))
    ):
        yield f"no alarm on {namespace} monitors this resource"
    bodies = [
        dashboard.props.text("dashboardBody")
        for dashboard in stack.of_type(aws("cloudwatch.Dashboard"))
    ]
    if not any(f'"{namespace}"' in body for body in bodies):
        yield f"no dashboard shows {namespace}"


def _monitors(alarm: Resource, namespace: str, resource: Resource, stack: Stack) -> bool:
    return any(
        metric.text("namespace") == namespace
        and (
            stack.references(alarm, prop, resource) or _names(metric.block("dimensions"), resource)
        )
        for prop, metric in _metrics(alarm)
    )


def _metrics(alarm: Resource) -> Iterator[tuple[str, Properties]]:
    """The metrics of an alarm, each with the property that contains its dimensions. An alarm on a
    metric math expression has its metrics in metricQueries.
    """
    yield "dimensions", alarm.props
    for query in alarm.props.blocks("metricQueries"):
        if query.has("metric"):
            yield "metricQueries", query.block("metric")


def _names(dimensions: Properties, resource: Resource) -> bool:
    values = [dimensions.text(name) for name in dimensions.names() if dimensions.known(name)]
    # Cache nodes are named after the replication group: <group>-001 or <group>-0001-001.
    names = (*values, *(re.sub(r"(-\d+)+$", "", value) for value in values))
    return not resource.identifiers.isdisjoint(names)


@stack_rule(
    "GH-CW-006",
    strict=True,
    types=aws("ecs.TaskDefinition"),
    unknown_allowed={
        "containerDefinitions": (
            "the value contains addresses that AWS assigns to the database and the cache"
        )
    },
)
def credentials_are_masked(task: Resource, stack: Stack) -> CheckResults:
    names = {
        container.block("logConfiguration").block("options").known_text("awslogs-group")
        for container in task.props.json_blocks("containerDefinitions")
    }
    for group in stack.of_type(aws("cloudwatch.LogGroup")):
        if not group.identifiers & names:
            continue
        protections = stack.referencing(
            group, aws("cloudwatch.LogDataProtectionPolicy"), "logGroupName"
        )
        if not protections:
            yield f"the log group {group.name} has no data protection policy"
        elif not any(
            _masks(policy.props.decoded("policyDocument").block("policyDocument"))
            for policy in protections
        ):
            yield f"the data protection policy of the log group {group.name} masks no credentials"


# https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/protect-sensitive-log-data-types-credentials.html
_CREDENTIAL = re.compile("AwsSecretKey|(OpenSsh|Pgp|Pkcs|Putty)PrivateKey")


def _masks(policy: Properties) -> bool:
    """True if the policy masks credentials or a custom data identifier. An audit-only policy does
    not mask.
    """
    custom = {
        identifier.text("Name")
        for identifier in policy.block("Configuration").blocks("CustomDataIdentifier")
    }
    return any(
        identifier in custom or _CREDENTIAL.fullmatch(identifier.rpartition("/")[2])
        for statement in policy.blocks("Statement")
        if "Deidentify" in statement.block("Operation").names()
        for identifier in statement.texts("DataIdentifier")
    )


@resource_rule("GH-CW-007", types=aws("cloudwatch.LogResourcePolicy"), lists=ACCOUNTS)
def log_resource_policy_is_restricted(holder: Resource) -> CheckResults:
    document = parse(holder.props.value("policyDocument"))
    yield from public_or_foreign_access(document, holder, "the resource policy")
    for service in access(document).services:
        yield (
            f"the resource policy allows {service} without a condition on aws:SourceAccount "
            f"or aws:SourceArn"
        )
