"""Rules about log groups and alarms: kept long enough, encrypted, and heard by somebody."""

from policies import tokens
from policies.rule import AFTER_DEV, Found, Severity, Upstream, resource_rule
from policies.stack import Resource

_LOGS = "https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs"


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
    url=f"{_LOGS}/Working-with-log-groups-and-streams.html#SettingLogRetention",
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
    url=f"{_LOGS}/encrypt-log-data-kms.html",
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
    url="https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-actions.html",
)
def alarms_are_heard(alarm: Resource) -> Found:
    if not alarm.props.has("alarmActions"):
        yield "alarmActions is empty"
    if not alarm.props.flag("actionsEnabled", True):
        yield "actionsEnabled is false"
