"""Rules about log groups and alarms: kept long enough, encrypted, and heard by somebody."""

from policies.analysis import type_tokens as tokens
from policies.analysis.properties import Props
from policies.analysis.resources import Resource, Stack
from policies.engine.rule import AFTER_DEV, Found, Severity, Upstream, Violation, levels, resource_rule, stack_rule

_GUIDE = "https://docs.aws.amazon.com/AmazonCloudWatch/latest"


@resource_rule(
    "GH-CW-001",
    title="Logs are kept for a set time that is long enough",
    why="Breaches are found after months; a group without a retention keeps, and costs, for ever.",
    remedy="set retentionInDays to the days that this environment asks for",
    severity=Severity.MEDIUM,
    types=tokens.LOG_GROUP,
    levels=AFTER_DEV,
    pack="resilience",
    settings={"days_min": {"dev": 1, "staging": 30, "prod": 365}},
    upstream=Upstream(
        security_hub=("CloudWatch.16",),
        checkov=("CKV_AWS_66", "CKV_AWS_338"),
        prowler=("cloudwatch_log_group_retention_policy_specific_days_enabled",),
    ),
    url=f"{_GUIDE}/logs/Working-with-log-groups-and-streams.html#SettingLogRetention",
)
def logs_are_kept(group: Resource) -> Found:
    days_min = group.settings["days_min"]
    days = group.props.number("retentionInDays")
    if not days:
        yield "retentionInDays is not set, so logs are kept for ever"
    elif days < days_min:
        yield f"retentionInDays is below {days_min:g}"


@resource_rule(
    "GH-CW-002",
    title="Logs are encrypted with a customer key",
    why="Logs name people, addresses and keys' ids; a key of their own decides who reads them.",
    remedy="set kmsKeyId",
    severity=Severity.MEDIUM,
    types=tokens.LOG_GROUP,
    levels=AFTER_DEV,
    upstream=Upstream(checkov=("CKV_AWS_158",), prowler=("cloudwatch_log_group_kms_encryption_enabled",)),
    url=f"{_GUIDE}/logs/encrypt-log-data-kms.html",
)
def logs_have_a_customer_key(group: Resource) -> Found:
    if not group.props.has("kmsKeyId"):
        yield "kmsKeyId is not set"


@resource_rule(
    "GH-CW-003",
    title="Every alarm tells somebody",
    why="An alarm without an action turns red on a page that nobody has open.",
    remedy="set alarmActions to an SNS topic and leave actionsEnabled on",
    severity=Severity.MEDIUM,
    types=tokens.METRIC_ALARM + tokens.COMPOSITE_ALARM,
    levels=AFTER_DEV,
    pack="resilience",
    upstream=Upstream(
        security_hub=("CloudWatch.15", "CloudWatch.17"),
        checkov=("CKV_AWS_319",),
        prowler=("cloudwatch_alarm_actions_enabled",),
    ),
    url=f"{_GUIDE}/monitoring/alarm-actions.html",
)
def alarms_are_heard(alarm: Resource) -> Found:
    if not alarm.props.has("alarmActions"):
        yield "alarmActions is empty"
    if not alarm.props.flag("actionsEnabled", True):
        yield "actionsEnabled is false"


# The metric filters of the CIS AWS Foundations Benchmark, section 5: its number, what it is about, and words that
# every wording of the filter must hold.
_CIS_FILTERS = (
    ("5.1", "refused API calls", ("UnauthorizedOperation", "AccessDenied")),
    ("5.2", "sign-in without a second factor", ("ConsoleLogin", "MFAUsed")),
    ("5.3", "use of the root user", ("userIdentity.type", "Root")),
    ("5.4", "changes of IAM policies", ("PutRolePolicy", "AttachRolePolicy")),
    ("5.5", "changes of CloudTrail", ("StopLogging", "DeleteTrail")),
    ("5.6", "failed sign-ins", ("ConsoleLogin", "Failed authentication")),
    ("5.7", "disabled or deleted keys", ("DisableKey", "ScheduleKeyDeletion")),
    ("5.8", "changes of bucket policies", ("PutBucketPolicy", "PutBucketAcl")),
    ("5.9", "changes of AWS Config", ("StopConfigurationRecorder", "PutConfigurationRecorder")),
    ("5.10", "changes of security groups", ("SecurityGroup",)),
    ("5.11", "changes of network ACLs", ("NetworkAcl",)),
    ("5.12", "changes of network gateways", ("InternetGateway",)),
    ("5.13", "changes of route tables", ("RouteTable",)),
    ("5.14", "changes of VPCs", ("CreateVpc", "DeleteVpc")),
    ("5.15", "changes of the organisation", ("organizations.amazonaws.com",)),
)


@stack_rule(
    "GH-CW-004",
    title="What administrators do raises alarms",
    why="A trail that nobody reads tells of an intrusion months later; an alarm tells within minutes.",
    remedy="add an aws.cloudwatch.LogMetricFilter on the trail's log group, and a MetricAlarm on its metric",
    severity=Severity.MEDIUM,
    types=tokens.TRAIL,
    levels=levels("-", "A", "M"),
    upstream=Upstream(
        security_hub=tuple(f"CloudWatch.{number}" for number in range(1, 15)),
        cis=tuple(number for number, _, _ in _CIS_FILTERS),
        prowler=("cloudwatch_log_metric_filter_root_usage", "cloudwatch_log_metric_filter_sign_in_without_mfa"),
    ),
    url=f"{_GUIDE}/logs/MonitoringLogData.html",
)
def administrators_raise_alarms(trail: Resource, stack: Stack) -> Found:
    filters = [one.props for one in stack.of(tokens.METRIC_FILTER)]
    alarmed = {one.props.text("metricName") for one in stack.of(tokens.METRIC_ALARM) if one.props.known("metricName")}
    for number, about, words in _CIS_FILTERS:
        fitting = [one for one in filters if all(word in one.text("pattern") for word in words)]
        if not fitting:
            yield f"no metric filter finds {about} (CIS {number})"
        elif not any(one.block("metricTransformation").text("name") in alarmed for one in fitting):
            yield f"no alarm tells of {about} (CIS {number})"


# What must be watched, by the namespace of its metrics.
_NAMESPACES = {
    **dict.fromkeys(tokens.LOAD_BALANCER, "AWS/ApplicationELB"),
    **dict.fromkeys(tokens.SERVICE, "AWS/ECS"),
    **dict.fromkeys(tokens.DB_INSTANCE, "AWS/RDS"),
    **dict.fromkeys(tokens.CACHE, "AWS/ElastiCache"),
    **dict.fromkeys(tokens.TABLE, "AWS/DynamoDB"),
    **dict.fromkeys(tokens.FUNCTION, "AWS/Lambda"),
}


@stack_rule(
    "GH-CW-005",
    title="Every part has an alarm and a place on a dashboard",
    why="The part without an alarm is the one that fails unheard; the dashboard is where one looks at three in the morning.",
    remedy="add an aws.cloudwatch.MetricAlarm on this resource, and show its metrics on an aws.cloudwatch.Dashboard",
    severity=Severity.MEDIUM,
    types=tuple(_NAMESPACES),
    levels=levels("-", "A", "M"),
    pack="resilience",
    unknown_allowed={"dashboardBody": "it holds names that AWS chooses while it makes what the dashboard shows"},
    url=f"{_GUIDE}/monitoring/Best_Practice_Recommended_Alarms_AWS_Services.html",
)
def every_part_is_watched(part: Resource, stack: Stack) -> Found:
    namespace = _NAMESPACES[part.type]
    if not any(_watches(alarm, namespace, part, stack) for alarm in stack.of(tokens.METRIC_ALARM)):
        yield f"no alarm on {namespace} is about this resource"
    boards = [board.props.text("dashboardBody") for board in stack.of(tokens.DASHBOARD)]
    if not any(f'"{namespace}"' in body for body in boards):
        yield f"no dashboard shows {namespace}"


def _watches(alarm: Resource, namespace: str, part: Resource, stack: Stack) -> bool:
    if alarm.props.text("namespace") != namespace:
        return False
    if stack.points(alarm, "dimensions", part):
        return True
    dimensions = alarm.props.block("dimensions")
    known = [dimensions.text(name) for name in dimensions.names() if dimensions.known(name)]
    # A cache's nodes are called after it: <cache>-001.
    return any(value in part.names or any(value.startswith(f"{name}-") for name in part.names) for value in known)


@stack_rule(
    "GH-CW-006",
    title="Credentials are masked in logs",
    why="Sooner or later a key or a token is in a log line; masked, it is of use to nobody who may read logs.",
    remedy="add an aws.cloudwatch.LogDataProtectionPolicy for the log group",
    severity=Severity.MEDIUM,
    types=tokens.TASK_DEFINITION,
    levels=levels("-", "A", "M"),
    upstream=Upstream(prowler=("cloudwatch_log_group_no_secrets_in_logs",)),
    unknown_allowed={"containerDefinitions": "it holds addresses that AWS chooses while it makes the database and the cache"},
    url=f"{_GUIDE}/logs/mask-sensitive-log-data.html",
)
def credentials_are_masked(task: Resource, stack: Stack) -> Found:
    wanted = {_log_group(container) for container in task.props.json_blocks("containerDefinitions")}
    for group in stack.of(tokens.LOG_GROUP):
        if not group.names & wanted:
            continue
        protections = stack.users(group, tokens.LOG_DATA_PROTECTION, "logGroupName")
        if not protections:
            yield f"no data protection policy masks credentials in the log group {group.name}"
        elif not any(_masks(one.props.decoded("policyDocument").block("policyDocument")) for one in protections):
            fix = "add a Deidentify statement with a credential (AwsSecretKey, ...) or an identifier of your own"
            yield Violation(f"the data protection policy of the log group {group.name} masks no credential", fix)


# https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/protect-sensitive-log-data-types-credentials.html
_CREDENTIALS = ("AwsSecretKey", "OpenSshPrivateKey", "PgpPrivateKey", "PkcsPrivateKey", "PuttyPrivateKey")


def _masks(policy: Props) -> bool:
    """True when the policy masks a credential, or what the program itself describes; one that only audits masks nothing."""
    own = {one.text("Name") for one in policy.block("Configuration").blocks("CustomDataIdentifier")}
    return any(
        identifier in own or identifier.rpartition("/")[2] in _CREDENTIALS
        for statement in policy.blocks("Statement")
        if "Deidentify" in statement.block("Operation").names()
        for identifier in statement.texts("DataIdentifier")
    )


def _log_group(container: Props) -> str:
    options = container.block("logConfiguration").block("options")
    return options.text("awslogs-group") if options.known("awslogs-group") else ""
