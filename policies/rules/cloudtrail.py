"""Rules about CloudTrail: that it sees every region, and that nobody can read or change what it wrote unseen."""

from policies.analysis import type_tokens as tokens
from policies.analysis.iam import document as iam_document
from policies.analysis.properties import Props
from policies.analysis.resources import Resource, Stack
from policies.engine.rule import AFTER_DEV, ALWAYS, Found, Severity, Upstream, levels, resource_rule, stack_rule

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


@resource_rule(
    "GH-CT-005",
    title="The trail records who read and wrote objects",
    why="Management events say that somebody got in; data events say what was taken.",
    remedy="add an advancedEventSelector with eventCategory Data and resources.type AWS::S3::Object, and no readOnly field",
    severity=Severity.MEDIUM,
    types=tokens.TRAIL,
    levels=levels("-", "A", "M"),
    upstream=Upstream(
        security_hub=("S3.22", "S3.23"),
        cis=("4.8", "4.9"),
        prowler=("cloudtrail_s3_dataevents_write_enabled", "cloudtrail_s3_dataevents_read_enabled"),
    ),
    url=f"{_GUIDE}/logging-data-events-with-cloudtrail.html",
)
def reads_and_writes_are_recorded(trail: Resource) -> Found:
    advanced = any(_records_objects(selector) for selector in trail.props.blocks("advancedEventSelectors"))
    if not advanced and not any(_records_objects_of_old(selector) for selector in trail.props.blocks("eventSelectors")):
        yield "no event selector records both reads and writes of S3 objects"


def _records_objects(selector: Props) -> bool:
    fields = {field.text("field"): field.texts("equals") for field in selector.blocks("fieldSelectors")}
    both = "readOnly" not in fields
    return both and fields.get("eventCategory") == ["Data"] and "AWS::S3::Object" in fields.get("resources.type", [])


def _records_objects_of_old(selector: Props) -> bool:
    kinds = {one.text("type") for one in selector.blocks("dataResources")}
    return selector.text("readWriteType", "All") == "All" and "AWS::S3::Object" in kinds


@stack_rule(
    "GH-CT-006",
    title="Only this trail writes to its bucket, and who reads it is logged",
    why="Without the trail's ARN, CloudTrail would write another account's trail there too; who reads it prepares to hide.",
    remedy=("tie cloudtrail.amazonaws.com in the bucket policy to the trail with aws:SourceArn, and add an aws.s3.BucketLogging"),
    severity=Severity.MEDIUM,
    # That the bucket is private and locked is read by GH-S3-001 and GH-S3-014, for every bucket.
    types=tokens.TRAIL,
    levels=AFTER_DEV,
    upstream=Upstream(
        security_hub=("CloudTrail.6", "CloudTrail.7"),
        cis=("4.4",),
        prowler=(
            "cloudtrail_logs_s3_bucket_is_not_publicly_accessible",
            "cloudtrail_logs_s3_bucket_access_logging_enabled",
        ),
    ),
    url=f"{_GUIDE}/create-s3-bucket-policy-for-cloudtrail.html",
)
def the_trail_has_a_bucket_of_its_own(trail: Resource, stack: Stack) -> Found:
    for bucket in stack.targets(trail, "s3BucketName", tokens.BUCKET):
        if not stack.users(bucket, tokens.BUCKET_LOGGING, "bucket"):
            yield f"access to the trail's bucket {bucket.name} is not logged"
        for policy in stack.users(bucket, tokens.BUCKET_POLICY, "bucket"):
            document = iam_document.parse(policy.props.value("policy"))
            if "cloudtrail.amazonaws.com" in iam_document.unguarded_services(document):
                yield f"the policy of {bucket.name} lets CloudTrail write for anybody (no aws:SourceArn)"
