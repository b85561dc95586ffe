"""Rules about S3 buckets: with which key they are written, and whether what they hold outlives a region and a thief."""

from policies import iam_document, tokens
from policies.bucket_document import denies_customer_keys, denies_deleting_versions, denies_other_keys
from policies.props import Props
from policies.rule import Found, Severity, Upstream, Violation, each, levels, stack_rule
from policies.stack import Resource, Stack

_GUIDE = "https://docs.aws.amazon.com/AmazonS3/latest/userguide"
_PURPOSE = "gatehouse:purpose"


@stack_rule(
    "GH-S3-006",
    title="No object is written with a stranger's key",
    why="Who may write can otherwise encrypt your objects with a key that only he holds, and ask for money.",
    remedy=(
        "deny s3:PutObject on the bucket's objects when s3:x-amz-server-side-encryption-customer-algorithm is present, and when "
        "s3:x-amz-server-side-encryption-aws-kms-key-id is not the bucket's key"
    ),
    severity=Severity.MEDIUM,
    types=tokens.BUCKET,
    levels=levels("A", "A", "M"),
    url=f"{_GUIDE}/UsingKMSEncryption.html#require-sse-kms",
)
def no_stranger_key_is_used(bucket: Resource, stack: Stack) -> Found:
    name = _name(bucket)
    documents = _policies(bucket, stack)
    if not any(denies_customer_keys(document, name) for document in documents):
        yield "no bucket policy denies objects with customer-provided keys (SSE-C)"
    # What receives logs is encrypted by S3's own keys: its writers name no key.
    if _purpose(bucket) != "log-sink" and not any(denies_other_keys(document, name) for document in documents):
        yield "no bucket policy denies objects with another KMS key"


@stack_rule(
    "GH-S3-013",
    title="Data is copied to another region as it comes",
    why="A region can be away for hours; what is only there is away too.",
    remedy="add an aws.s3.BucketReplicationConfig of this bucket to a bucket in another region",
    severity=Severity.MEDIUM,
    types=tokens.BUCKET,
    levels=levels("-", "A", "M"),
    pack="resilience",
    upstream=Upstream(security_hub=("S3.7",), checkov=("CKV_AWS_144",), prowler=("s3_bucket_cross_region_replication",)),
    url=f"{_GUIDE}/replication.html",
)
def data_is_copied(bucket: Resource, stack: Stack) -> Found:
    # Logs and the trail are evidence of one region, and reach CloudWatch too; a copy is not copied again.
    if _purpose(bucket) in ("log-sink", "trail") or is_a_copy(bucket, stack):
        return
    configurations = stack.users(bucket, tokens.BUCKET_REPLICATION, "bucket")
    if not configurations:
        yield "no replication belongs to this bucket"
    for configuration in configurations:
        yield from each(configuration.props.blocks("rules"), _replicates_in_full)


def _replicates_in_full(rule: Props) -> Found:
    target = rule.block("destination")
    if rule.text("status") != "Enabled":
        yield Violation(f"{rule.at('status')} is not Enabled", 'set status="Enabled" on the replication rule')
    if rule.block("deleteMarkerReplication").text("status") != "Enabled":
        yield Violation(f"{rule.at('deleteMarkerReplication')} is not enabled", 'set deleteMarkerReplication.status="Enabled"')
    if not target.block("encryptionConfiguration").has("replicaKmsKeyId"):
        fix = "set encryptionConfiguration.replicaKmsKeyId to a key of the other region"
        yield Violation(f"{target.at('encryptionConfiguration')} names no key of the other region", fix)
    if target.block("metrics").text("status") != "Enabled":
        fix = 'set destination.metrics.status="Enabled"'
        yield Violation(f"{target.at('metrics')} is not enabled, so nobody sees that copies are late", fix)


@stack_rule(
    "GH-S3-014",
    title="Evidence cannot be changed, even by administrators",
    why="The trail is of use after an intrusion only when the intruder could not edit it.",
    remedy="add an aws.s3.BucketObjectLockConfiguration with rule.defaultRetention, and objectLockEnabled=True on the bucket",
    severity=Severity.HIGH,
    types=tokens.BUCKET,
    levels=levels("-", "A", "M"),
    upstream=Upstream(security_hub=("S3.15",), checkov=("CKV_AWS_143",), prowler=("s3_bucket_object_lock",)),
    url=f"{_GUIDE}/object-lock.html",
)
def evidence_is_locked(bucket: Resource, stack: Stack) -> Found:
    if not stack.users(bucket, tokens.TRAIL, "s3BucketName") and _purpose(bucket) != "trail":
        return
    if not _locks(bucket, stack):
        yield "the bucket takes a trail, and no object lock with a default retention belongs to it"


@stack_rule(
    "GH-S3-017",
    title="Versions are not deleted with a stolen credential",
    why="Versioning brings back what was overwritten, but whoever may delete versions can end them all.",
    remedy="deny s3:DeleteObjectVersion to everyone in the bucket policy, or lock the objects",
    severity=Severity.LOW,
    types=tokens.BUCKET,
    # MFA delete, which CIS asks for, can only be set with the root user's device, and not on a bucket with a lifecycle
    # (GH-S3-008): https://docs.aws.amazon.com/AmazonS3/latest/userguide/MultiFactorAuthenticationDelete.html
    # So a lock or a deny counts as well, and the rule never stops a deployment.
    levels=levels("-", "-", "A"),
    upstream=Upstream(security_hub=("S3.20",), cis=("3.1.2",), prowler=("s3_bucket_no_mfa_delete",)),
    url=f"{_GUIDE}/MultiFactorAuthenticationDelete.html",
)
def versions_stay(bucket: Resource, stack: Stack) -> Found:
    for versioning in stack.users(bucket, tokens.BUCKET_VERSIONING, "bucket"):
        if versioning.props.block("versioningConfiguration").text("mfaDelete") == "Enabled":
            return
    if _locks(bucket, stack) or any(denies_deleting_versions(one, _name(bucket)) for one in _policies(bucket, stack)):
        return
    yield "versions can be deleted by whoever may delete objects: no lock, no deny, no MFA delete"


def _locks(bucket: Resource, stack: Stack) -> list[Resource]:
    found = stack.users(bucket, tokens.BUCKET_OBJECT_LOCK, "bucket")
    return [lock for lock in found if lock.props.block("rule").has("defaultRetention")]


def is_a_copy(bucket: Resource, stack: Stack) -> bool:
    """True for a bucket that another one is replicated into."""
    return any(
        stack.points(one, "rules", bucket) and not stack.points(one, "bucket", bucket)
        for one in stack.of(tokens.BUCKET_REPLICATION)
    )


def _purpose(bucket: Resource) -> str:
    return bucket.props.block("tags").text(_PURPOSE)


def _name(bucket: Resource) -> str:
    return bucket.props.text("bucket") if bucket.props.known("bucket") else ""


def _policies(bucket: Resource, stack: Stack) -> list[iam_document.Document]:
    found = stack.users(bucket, tokens.BUCKET_POLICY, "bucket")
    return [iam_document.parse(policy.props.value("policy")) for policy in found]
