"""Rules about CloudTrail: that it sees every region, and that nobody can read or change what it wrote unseen."""

from policies import tokens
from policies.rule import AFTER_DEV, ALWAYS, Found, Severity, Upstream, resource_rule
from policies.stack import Resource

_GUIDE = "https://docs.aws.amazon.com/awscloudtrail/latest/userguide"


@resource_rule(
    "GH-CT-001",
    title="The trail records every region and the global services",
    why="An intruder works where nobody looks: a trail of one region does not see the others.",
    remedy="set isMultiRegionTrail=True, and remove enableLogging and includeGlobalServiceEvents when they are False",
    severity=Severity.HIGH,
    types=tokens.TRAIL,
    levels=AFTER_DEV,
    upstream=Upstream(
        security_hub=("CloudTrail.1",),
        cis=("4.1",),
        checkov=("CKV_AWS_67", "CKV_AWS_251"),
        prowler=("cloudtrail_multi_region_enabled",),
    ),
    url=f"{_GUIDE}/receive-cloudtrail-log-files-from-multiple-regions.html",
)
def every_region_is_recorded(trail: Resource) -> Found:
    if not trail.props.flag("isMultiRegionTrail"):
        yield "isMultiRegionTrail is not true"
    for name in ("enableLogging", "includeGlobalServiceEvents"):
        if not trail.props.flag(name, True):
            yield f"{name} is false"


@resource_rule(
    "GH-CT-002",
    title="The trail is encrypted with a customer key",
    why="The trail tells an attacker what is watched; a key of its own decides who reads it.",
    remedy="set kmsKeyId",
    severity=Severity.MEDIUM,
    types=tokens.TRAIL,
    levels=AFTER_DEV,
    upstream=Upstream(
        security_hub=("CloudTrail.2",),
        cis=("4.5",),
        checkov=("CKV_AWS_35",),
        prowler=("cloudtrail_kms_encryption_enabled",),
    ),
    url=f"{_GUIDE}/encrypting-cloudtrail-log-files-with-aws-kms.html",
)
def the_trail_has_a_customer_key(trail: Resource) -> Found:
    if not trail.props.has("kmsKeyId"):
        yield "kmsKeyId is not set"


@resource_rule(
    "GH-CT-003",
    title="Changed trail files are noticed",
    why="Signed digests prove that no log file was changed or removed after CloudTrail wrote it.",
    remedy="set enableLogFileValidation=True",
    severity=Severity.HIGH,
    types=tokens.TRAIL,
    levels=ALWAYS,
    upstream=Upstream(
        security_hub=("CloudTrail.4",),
        cis=("4.2",),
        checkov=("CKV_AWS_36",),
        prowler=("cloudtrail_log_file_validation_enabled",),
    ),
    url=f"{_GUIDE}/cloudtrail-log-file-validation-intro.html",
)
def changes_are_noticed(trail: Resource) -> Found:
    if not trail.props.flag("enableLogFileValidation"):
        yield "enableLogFileValidation is not true"


@resource_rule(
    "GH-CT-004",
    title="The trail reaches CloudWatch Logs",
    why="Alarms on what administrators do read the log group; files in a bucket alarm nobody.",
    remedy="set cloudWatchLogsGroupArn and cloudWatchLogsRoleArn",
    severity=Severity.MEDIUM,
    types=tokens.TRAIL,
    levels=AFTER_DEV,
    upstream=Upstream(
        security_hub=("CloudTrail.5",), checkov=("CKV2_AWS_10",), prowler=("cloudtrail_cloudwatch_logging_enabled",)
    ),
    url=f"{_GUIDE}/send-cloudtrail-events-to-cloudwatch-logs.html",
)
def the_trail_can_alarm(trail: Resource) -> Found:
    for name in ("cloudWatchLogsGroupArn", "cloudWatchLogsRoleArn"):
        if not trail.props.has(name):
            yield f"{name} is not set"
