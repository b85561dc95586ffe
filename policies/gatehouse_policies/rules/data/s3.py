"""Rules for S3 buckets and bucket policies."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from pulumi_local.type_tokens import aws, by_token

from gatehouse_policies.analysis.iam import denials
from gatehouse_policies.analysis.iam.grammar import Document
from gatehouse_policies.analysis.policy_holders import (
    ACCOUNTS,
    effective_documents,
    is_of_program,
    own_documents,
)
from gatehouse_policies.analysis.properties import Properties
from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.engine.guard import check_each
from gatehouse_policies.engine.requirements import (
    allows_known_accounts,
    has_elements,
    has_resource,
    is_customer_key,
    is_exactly,
    is_not_true,
    is_true,
)
from gatehouse_policies.engine.rule import CheckResults, Violation, resource_rule, stack_rule

_POLICY_HOLDERS = aws("s3.BucketPolicy", "s3.Bucket")
_bucket_rule = partial(stack_rule, types=aws("s3.Bucket"))

# Tag of buckets that receive logs. Load balancers deliver to SSE-S3 buckets only, and access
# logging on a log bucket would record its own deliveries.
# https://docs.aws.amazon.com/elasticloadbalancing/latest/application/enable-access-logging.html
_PURPOSE_TAG = "gatehouse:purpose"
_LOG_SINK = "log-sink"
# Tag of buckets with files that each deployment uploads from the source code.
STATIC_FILES = "static-files"
# Tag of buckets and tables with expiring data, such as secret links and sessions. Deletions must be
# final.
EPHEMERAL = "ephemeral"

PUBLIC_ACCESS_FLAGS = (
    *("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets"),
)
"""The settings of the public access block of a bucket or account."""


public_access_is_blocked = stack_rule(
    "GH-S3-001", types=aws("s3.Bucket", "s3.BucketPublicAccessBlock"), exemptible=False
).requires(
    has_resource(
        "s3.BucketPublicAccessBlock",
        "bucket",
        *map(is_true, PUBLIC_ACCESS_FLAGS),
        # New buckets block public access and have no ACLs:
        # https://docs.aws.amazon.com/AmazonS3/latest/userguide/create-bucket-faq.html
        missing=Violation(
            "the bucket has no BucketPublicAccessBlock, so the default of new buckets applies",
            severity="low",
        ),
        owner="s3.Bucket",
    )
)


@_bucket_rule("GH-S3-003")
def plain_http_is_denied(bucket: Resource, stack: Stack) -> CheckResults:
    if not _policies(bucket, stack):
        yield "the bucket has no bucket policy, so HTTP is accepted"
    elif not _policies_meet(denials.denies_plain_http, bucket, stack):
        yield (
            "the bucket policy does not deny requests without TLS on the bucket and on its objects"
        )


@_bucket_rule("GH-S3-004", strict=True)
def tls_below_1_2_is_denied(bucket: Resource, stack: Stack) -> CheckResults:
    if not _policies_meet(denials.denies_tls_below_1_2, bucket, stack):
        yield "no bucket policy denies TLS below 1.2 on the bucket and on its objects"


@_bucket_rule("GH-S3-005")
def bucket_uses_customer_key(bucket: Resource, stack: Stack) -> CheckResults:
    if _requires_sse_s3(bucket, stack):
        return
    configurations = stack.referencing(
        bucket, aws("s3.BucketServerSideEncryptionConfiguration"), "bucket"
    )
    if not configurations:
        yield Violation(
            "the bucket has no encryption configuration, so S3 managed keys are used",
            severity="low",
        )
    for configuration in configurations:
        rules = configuration.props.blocks("rules")
        yield from check_each(rules, _check_encryption_rule)
        if not rules:
            yield f"{configuration.name} has no rule"


# Properties with a bucket in which logs are delivered with SSE-S3 only, keyed by resource type.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/enable-server-access-logging.html
_SSE_S3_DELIVERIES = by_token(
    {
        "lb.LoadBalancer": ("accessLogs", "connectionLogs", "healthCheckLogs"),
        "elb.LoadBalancer": ("accessLogs",),
        "s3.BucketLogging": ("targetBucket",),
    }
)


def _requires_sse_s3(bucket: Resource, stack: Stack) -> bool:
    """True for a bucket with the tag of log buckets, or with logs that a KMS key would reject.

    Network Load Balancers support KMS keys.
    https://docs.aws.amazon.com/elasticloadbalancing/latest/network/enable-access-logs.html
    """
    return purpose(bucket) == _LOG_SINK or any(
        source.props.known_text("loadBalancerType") != "network"
        for type_, props in _SSE_S3_DELIVERIES.items()
        for prop in props
        for source in stack.referencing(bucket, (type_,), prop)
    )


def _check_encryption_rule(rule: Properties) -> CheckResults:
    default = rule.block("applyServerSideEncryptionByDefault")
    if default.text("sseAlgorithm") not in ("aws:kms", "aws:kms:dsse"):
        yield f"{default.path_of('sseAlgorithm')} is not aws:kms"
    elif not default.is_customer_key("kmsMasterKeyId"):
        yield f"{default.path_of('kmsMasterKeyId')} is not set to a customer managed key"
    elif default.text("sseAlgorithm") == "aws:kms" and not rule.flag("bucketKeyEnabled"):
        yield (
            f"{rule.path_of('bucketKeyEnabled')} is not true, so every object requires a KMS "
            f"request"
        )


versioning_is_enabled = _bucket_rule(
    "GH-S3-007", types=aws("s3.Bucket", "s3.BucketVersioning")
).requires(
    has_resource(
        "s3.BucketVersioning",
        "bucket",
        is_exactly("versioningConfiguration.status", "Enabled"),
        missing="versioning is not enabled",
        owner="s3.Bucket",
    )
)


@_bucket_rule("GH-S3-008", strict=True, settings={"days_min": {"dev": 1, "staging": 1, "prod": 7}})
def lifecycle_expires_versions(bucket: Resource, stack: Stack) -> CheckResults:
    name = "noncurrentVersionExpiration"
    rules = [rule for rule in _lifecycle_rules(bucket, stack) if rule.block(name).names()]
    if not any(map(_applies_to_all_objects, rules)):
        yield "no enabled lifecycle rule expires noncurrent versions for the whole bucket"
    days_min = bucket.settings["days_min"]
    for expiration in (rule.block(name) for rule in rules) if purpose(bucket) != EPHEMERAL else ():
        # An overwritten or deleted object can be restored until then.
        if expiration.number("noncurrentDays") < days_min and not expiration.has(
            "newerNoncurrentVersions"
        ):
            yield f"{expiration.path_of('noncurrentDays')} is below {days_min:g}"


@_bucket_rule("GH-S3-009", settings={"days_max": {"dev": 7, "staging": 7, "prod": 7}})
def incomplete_uploads_are_aborted(bucket: Resource, stack: Stack) -> CheckResults:
    days_max = bucket.settings["days_max"]
    if not any(
        0 < rule.block("abortIncompleteMultipartUpload").number("daysAfterInitiation") <= days_max
        and _applies_to_all_objects(rule)
        for rule in _lifecycle_rules(bucket, stack)
    ):
        yield (
            f"no enabled lifecycle rule aborts incomplete uploads within {days_max:g} days for the "
            f"whole bucket"
        )


def _lifecycle_rules(bucket: Resource, stack: Stack) -> Iterator[Properties]:
    for configuration in stack.referencing(
        bucket, aws("s3.BucketLifecycleConfiguration"), "bucket"
    ):
        yield from (
            rule for rule in configuration.props.blocks("rules") if rule.text("status") == "Enabled"
        )


def _applies_to_all_objects(rule: Properties) -> bool:
    """True for a rule of a lifecycle or replication without a filter, or with an empty one.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-filters.html
    """
    return not rule.text("prefix") and not _limits(rule.block("filter"))


def _limits(filter: Properties) -> bool:
    for name in filter.names():
        if isinstance(filter.value(name), Mapping):
            if _limits(filter.block(name)):
                return True
        elif filter.has(name):
            return True
    return False


@_bucket_rule("GH-S3-010")
def access_logging_is_enabled(bucket: Resource, stack: Stack) -> CheckResults:
    if purpose(bucket) == _LOG_SINK:
        return
    logging = stack.referencing(bucket, aws("s3.BucketLogging"), "bucket")
    if not logging:
        yield (
            f"access logging is not enabled; tag buckets that receive logs with "
            f'{_PURPOSE_TAG}="{_LOG_SINK}"'
        )
    for configuration in logging:
        if stack.references(configuration, "targetBucket", bucket):
            yield "targetBucket is the bucket itself"


_ACLS = aws("s3.BucketAcl", "s3.BucketObject", "s3.BucketObjectv2", "s3.ObjectCopy")
_PRIVATE = ("", "private", "bucket-owner-read", "bucket-owner-full-control")


@stack_rule("GH-S3-011", types=aws("s3.Bucket", "s3.BucketOwnershipControls") + _ACLS)
def object_ownership_is_enforced(bucket: Resource, stack: Stack) -> CheckResults:
    if bucket.type in _ACLS:
        # Enforced ownership of a bucket of the program disables the ACLs of its objects.
        is_private = bucket.props.text("acl") in _PRIVATE and not bucket.props.has("grants")
        is_set = bucket.type in aws("s3.BucketAcl") or not is_private
        if is_set and not is_of_program(bucket, stack, "bucket", aws("s3.Bucket")):
            yield "a bucket that the program does not manage, or an object in it, has an ACL"
        return
    yield from _OWNER_ENFORCED.check(bucket, stack)
    for acl in stack.referencing(bucket, aws("s3.BucketAcl"), "bucket"):
        yield f"the bucket has the ACL {acl.name}"
    if bucket.props.has("acl") or bucket.props.has("grants"):
        yield "the bucket sets acl or grants"


_OWNER_ENFORCED = has_resource(
    "s3.BucketOwnershipControls",
    "bucket",
    is_exactly("rule.objectOwnership", "BucketOwnerEnforced"),
    missing=None,  # The default of new buckets.
    owner="s3.Bucket",
)


bucket_policy_is_not_public = resource_rule(
    "GH-S3-012", types=_POLICY_HOLDERS, exemptible=False, lists=ACCOUNTS
).requires(allows_known_accounts("policy", "a statement"))


@resource_rule("GH-S3-016", types=_POLICY_HOLDERS)
def bucket_policy_can_be_changed(holder: Resource) -> CheckResults:
    if any(map(denials.denies_policy_changes, own_documents(holder))):
        yield "a statement denies policy changes to all principals"


bucket_is_not_force_destroyed = resource_rule("GH-S3-015", types=aws("s3.Bucket")).requires(
    is_not_true("forceDestroy")
)


def _policies(bucket: Resource, stack: Stack) -> list[Document]:
    return effective_documents(bucket, stack, aws("s3.BucketPolicy"), "bucket")


def _policies_meet(test: Callable[[Document, str], bool], bucket: Resource, stack: Stack) -> bool:
    """True if the bucket policy passes the test, which receives the bucket name, or "" if the name
    is unknown. Of several policies, any can be the last.
    """
    name = bucket.props.known_text("bucket")
    documents = _policies(bucket, stack)
    return bool(documents) and all(test(document, name) for document in documents)


@_bucket_rule("GH-S3-006", strict=True)
def other_encryption_keys_are_denied(bucket: Resource, stack: Stack) -> CheckResults:
    if not _policies_meet(denials.denies_customer_provided_keys, bucket, stack):
        yield "no bucket policy denies uploads with customer-provided keys (SSE-C)"
    if not _requires_sse_s3(bucket, stack) and not _policies_meet(
        denials.denies_other_kms_keys, bucket, stack
    ):
        yield "no bucket policy denies uploads with other KMS keys"


@_bucket_rule("GH-S3-013", strict=True)
def bucket_is_replicated(bucket: Resource, stack: Stack) -> CheckResults:
    # Logs and trails are Regional and also in CloudWatch Logs. Replicas need no further
    # replication. A replica would outlive the deletion of expiring data (GH-S3-018). Static files
    # can be uploaded again.
    if purpose(bucket) in (_LOG_SINK, "trail", EPHEMERAL, STATIC_FILES) or is_replica(
        bucket, stack
    ):
        return
    yield from _REPLICATED.check(bucket, stack)
    for replication in stack.referencing(bucket, aws("s3.BucketReplicationConfig"), "bucket"):
        rules = replication.props.blocks("rules")
        if rules and not any(map(_applies_to_all_objects, rules)):
            yield f"no rule of {replication.name} replicates the whole bucket"
        for copy in stack.referenced_by(replication, "rules", aws("s3.Bucket")):
            if bucket.region() and copy.region() == bucket.region():
                yield f"the destination {copy.name} is in the same Region"


_REPLICATED = has_resource(
    "s3.BucketReplicationConfig",
    "bucket",
    has_elements("rules"),
    is_exactly("rules[].status", "Enabled"),
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-config-for-kms-objects.html
    is_exactly("rules[].sourceSelectionCriteria.sseKmsEncryptedObjects.status", "Enabled"),
    is_exactly("rules[].deleteMarkerReplication.status", "Enabled"),
    is_customer_key("rules[].destination.encryptionConfiguration.replicaKmsKeyId"),
    is_exactly(
        "rules[].destination.metrics.status",
        "Enabled",
        message="is not Enabled, so replication lag is not visible",
    ),
    missing="the bucket has no replication configuration",
)


@_bucket_rule("GH-S3-014", settings={"days_min": {"dev": 1, "staging": 1, "prod": 30}})
def trail_bucket_has_object_lock(bucket: Resource, stack: Stack) -> CheckResults:
    if (
        not stack.referencing(bucket, aws("cloudtrail.Trail"), "s3BucketName")
        and purpose(bucket) != "trail"
    ):
        return
    locks = _locks(bucket, stack)
    if not locks:
        yield "the bucket receives a trail and has no Object Lock with default retention"
    for lock in locks:
        retention = lock.props.block("rule").block("defaultRetention")
        if retention.number("days") + 365 * retention.number("years") < bucket.settings["days_min"]:
            yield (
                f"the default retention of {lock.name} is below "
                f"{bucket.settings['days_min']:g} days"
            )


@_bucket_rule("GH-S3-018", settings={"noncurrent_days_max": {"dev": 7, "staging": 7, "prod": 7}})
def expiring_data_can_be_deleted(bucket: Resource, stack: Stack) -> CheckResults:
    if purpose(bucket) != EPHEMERAL:
        return
    if bucket.props.flag("objectLockEnabled") or stack.referencing(
        bucket, aws("s3.BucketObjectLockConfiguration"), "bucket"
    ):
        yield "the bucket contains expiring data and has Object Lock"
    for replication in stack.referencing(bucket, aws("s3.BucketReplicationConfig"), "bucket"):
        yield f"the bucket contains expiring data and is replicated by {replication.name}"
    days_max = bucket.settings["noncurrent_days_max"]
    expirations = [
        rule.block("noncurrentVersionExpiration")
        for rule in _lifecycle_rules(bucket, stack)
        if _applies_to_all_objects(rule)
    ]
    if not any(
        0 < each.number("noncurrentDays") <= days_max and not each.has("newerNoncurrentVersions")
        for each in expirations
    ):
        yield (
            f"no enabled lifecycle rule deletes all noncurrent versions of expiring data "
            f"within {days_max:g} days"
        )


def _locks(bucket: Resource, stack: Stack) -> list[Resource]:
    locks = stack.referencing(bucket, aws("s3.BucketObjectLockConfiguration"), "bucket")
    return [lock for lock in locks if lock.props.block("rule").has("defaultRetention")]


@stack_rule("GH-S3-019", types=aws("s3.BucketReplicationConfig"))
def replication_waits_for_versioning(replication: Resource, stack: Stack) -> CheckResults:
    for prop, role in (("bucket", "source"), ("rules", "destination")):
        for bucket in stack.referenced_by(replication, prop, aws("s3.Bucket")):
            # GH-S3-007 reports a bucket without versioning.
            versioning = stack.referencing(bucket, aws("s3.BucketVersioning"), "bucket")
            if versioning and not any(stack.depends_on(replication, item) for item in versioning):
                yield (
                    f"the configuration does not depend on the versioning of the {role} "
                    f"{bucket.name}"
                )


# Property that names the bucket that receives logs, keyed by resource type.
_LOG_PROPERTIES = by_token(
    {
        "s3.BucketLogging": "targetBucket",
        "lb.LoadBalancer": "accessLogs",
        "elb.LoadBalancer": "accessLogs",
        "cloudtrail.Trail": "s3BucketName",
        "cfg.DeliveryChannel": "s3BucketName",
        "ec2.FlowLog": "logDestination",
        "cloudfront.Distribution": "loggingConfig",
        "cloudwatch.LogDeliveryDestination": "deliveryDestinationConfiguration",
        "wafv2.WebAclLoggingConfiguration": "logDestinationConfigs",
        "kinesis.FirehoseDeliveryStream": "extendedS3Configuration",
        "s3.Inventory": "destination",
        "s3.BucketReplicationConfig": "rules",
    }
)


@_bucket_rule("GH-S3-020")
def log_sink_receives_logs(bucket: Resource, stack: Stack) -> CheckResults:
    if purpose(bucket) != _LOG_SINK:
        return
    if not any(
        stack.referencing(bucket, (type_,), prop) for type_, prop in _LOG_PROPERTIES.items()
    ):
        yield "no resource delivers logs to the bucket"


# Rules that exclude a bucket or table by the value of the tag. GH-S3-014 and GH-S3-020 verify the
# values trail and log-sink.
_EXCLUDED_BY_PURPOSE = {
    EPHEMERAL: "GH-BAK-004 and GH-S3-013",
    STATIC_FILES: "GH-BAK-004 and GH-S3-013",
}


@resource_rule("GH-TAG-002", types=aws("s3.Bucket", "dynamodb.Table"))
def exclusions_are_reviewed(resource: Resource) -> CheckResults:
    if excluded := _EXCLUDED_BY_PURPOSE.get(purpose(resource)):
        yield f'the tag {_PURPOSE_TAG}="{purpose(resource)}" excludes the resource from {excluded}'


def is_replica(bucket: Resource, stack: Stack) -> bool:
    return any(
        stack.references(replication, "rules", bucket)
        and not stack.references(replication, "bucket", bucket)
        for replication in stack.of_type(aws("s3.BucketReplicationConfig"))
    )


def purpose(resource: Resource) -> str:
    """Value of the tag that states the purpose of a bucket or table."""
    return resource.props.block("tags").text(_PURPOSE_TAG)
