"""Rules about S3 buckets: who can reach them, over what, and whether what they hold is encrypted, versioned and
logged.
"""

from policies.analysis import type_tokens as tokens
from policies.analysis.iam import document as iam_document
from policies.analysis.iam.bucket_policy import denies_customer_keys, denies_deleting_versions, denies_other_keys
from policies.analysis.properties import Props
from policies.analysis.resources import Resource, Stack
from policies.engine.rule import (
    AFTER_DEV,
    ALWAYS,
    Found,
    Severity,
    Upstream,
    Violation,
    each,
    levels,
    resource_rule,
    stack_rule,
)

_GUIDE = "https://docs.aws.amazon.com/AmazonS3/latest/userguide"

_PUBLIC_ACCESS_FLAGS = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")

# A bucket that receives logs says so with this tag: load balancers can deliver to SSE-S3 buckets only, and logging the
# access to
# an access log bucket would feed itself. https://docs.aws.amazon.com/elasticloadbalancing/latest/application/enable-access-logging.html
LOG_SINK_TAG = "gatehouse:purpose"
LOG_SINK = "log-sink"


@stack_rule(
    "GH-S3-001",
    title="Every bucket blocks public access",
    why="The block overrides every ACL and policy that somebody may add later, so one mistake elsewhere opens nothing.",
    remedy="give the bucket an aws.s3.BucketPublicAccessBlock with all four flags True",
    severity=Severity.CRITICAL,
    types=tokens.BUCKET,
    levels=ALWAYS,
    exemptible=False,
    upstream=Upstream(
        security_hub=("S3.8", "S3.2", "S3.3"),
        cis=("3.1.4",),
        checkov=("CKV2_AWS_6", "CKV_AWS_53", "CKV_AWS_54", "CKV_AWS_55", "CKV_AWS_56"),
        prowler=("s3_bucket_level_public_access_block",),
        cdk_nag=("S2",),
    ),
    url=f"{_GUIDE}/access-control-block-public-access.html",
)
def public_access_is_blocked(bucket: Resource, stack: Stack) -> Found:
    blocks = stack.users(bucket, tokens.BUCKET_PUBLIC_ACCESS_BLOCK, "bucket")
    if not blocks:
        yield "no public access block belongs to this bucket"
    for block in blocks:
        for flag in _PUBLIC_ACCESS_FLAGS:
            if not block.props.flag(flag):
                yield Violation(f"{flag} is not true in {block.name}", f"set {flag}=True there")


@stack_rule(
    "GH-S3-003",
    title="Every bucket refuses plain HTTP",
    why="Without TLS, data and signatures cross the network in the clear; S3 accepts that unless the policy denies it.",
    remedy=('deny s3:* to "*" on the bucket and its objects when aws:SecureTransport is false, in its aws.s3.BucketPolicy'),
    severity=Severity.HIGH,
    types=tokens.BUCKET,
    levels=ALWAYS,
    upstream=Upstream(
        security_hub=("S3.5",),
        cis=("3.1.1",),
        checkov=("CKV_AWS_379",),
        prowler=("s3_bucket_secure_transport_policy",),
        cdk_nag=("S10",),
    ),
    url=f"{_GUIDE}/example-bucket-policies.html#example-bucket-policies-HTTP-HTTPS",
)
def plain_http_is_refused(bucket: Resource, stack: Stack) -> Found:
    name = _bucket_name(bucket)
    documents = _policies(bucket, stack)
    if not documents:
        yield "no bucket policy belongs to this bucket, so plain HTTP is accepted"
    elif not any(iam_document.denies_plain_http(document, name) for document in documents):
        yield "the bucket policy does not deny requests without TLS on the bucket and on its objects"


@stack_rule(
    "GH-S3-004",
    title="Every bucket refuses TLS below 1.2",
    why="TLS 1.0 and 1.1 have known breaks; a client that still speaks them should fail here, not be overheard.",
    remedy='deny s3:* to "*" on the bucket and its objects when s3:TlsVersion is NumericLessThan 1.2',
    severity=Severity.MEDIUM,
    types=tokens.BUCKET,
    levels=AFTER_DEV,
    url=f"{_GUIDE}/amazon-s3-policy-keys.html#example-object-tls-version",
)
def old_tls_is_refused(bucket: Resource, stack: Stack) -> Found:
    name = _bucket_name(bucket)
    if not any(iam_document.denies_old_tls(document, name) for document in _policies(bucket, stack)):
        yield "no bucket policy denies TLS below 1.2 on the bucket and on its objects"


@stack_rule(
    "GH-S3-005",
    title="Every bucket encrypts with a customer key",
    why=("A customer key has its own policy and trail: reading an object then needs two permissions, and each use is recorded."),
    remedy=('set sseAlgorithm="aws:kms", kmsMasterKeyId and bucketKeyEnabled=True in the bucket\'s encryption configuration'),
    severity=Severity.MEDIUM,
    types=tokens.BUCKET,
    levels=AFTER_DEV,
    upstream=Upstream(
        security_hub=("S3.17",),
        checkov=("CKV_AWS_145", "CKV_AWS_19"),
        prowler=("s3_bucket_kms_encryption", "s3_bucket_default_encryption"),
    ),
    url=f"{_GUIDE}/UsingKMSEncryption.html",
)
def a_customer_key_encrypts(bucket: Resource, stack: Stack) -> Found:
    if _is_log_sink(bucket):
        return  # S3 encrypts these with its own keys, always; the senders of the logs accept nothing else.
    configurations = stack.users(bucket, tokens.BUCKET_ENCRYPTION, "bucket")
    if not configurations:
        yield "no encryption configuration belongs to this bucket"
    for configuration in configurations:
        yield from each(configuration.props.blocks("rules"), _uses_a_customer_key)


def _uses_a_customer_key(rule: Props) -> Found:
    default = rule.block("applyServerSideEncryptionByDefault")
    if default.text("sseAlgorithm") not in ("aws:kms", "aws:kms:dsse"):
        yield f"{default.at('sseAlgorithm')} is not aws:kms"
    elif not default.has("kmsMasterKeyId"):
        yield f"{default.at('kmsMasterKeyId')} is not set, so the key is the one that AWS manages"
    elif default.text("sseAlgorithm") == "aws:kms" and not rule.flag("bucketKeyEnabled"):
        yield f"{rule.at('bucketKeyEnabled')} is not true, so every object costs a KMS call"


@stack_rule(
    "GH-S3-007",
    title="Every bucket keeps versions",
    why="An overwritten or deleted object can be brought back, by whomever and for whatever reason it was lost.",
    remedy='set versioningConfiguration.status="Enabled" in an aws.s3.BucketVersioning of this bucket',
    severity=Severity.MEDIUM,
    types=tokens.BUCKET,
    levels=AFTER_DEV,
    upstream=Upstream(security_hub=("S3.14",), checkov=("CKV_AWS_21",), prowler=("s3_bucket_object_versioning",)),
    url=f"{_GUIDE}/Versioning.html",
)
def versions_are_kept(bucket: Resource, stack: Stack) -> Found:
    configurations = stack.users(bucket, tokens.BUCKET_VERSIONING, "bucket")
    if not any(c.props.block("versioningConfiguration").text("status") == "Enabled" for c in configurations):
        yield "versioning is not enabled for this bucket"


@stack_rule(
    "GH-S3-008",
    title="Every bucket has a lifecycle that ends old versions",
    why="Versions that nobody ends are kept, and paid for, for ever; secrets that were deleted stay readable in them.",
    remedy=("add an enabled rule with noncurrentVersionExpiration to an aws.s3.BucketLifecycleConfiguration of this bucket"),
    severity=Severity.LOW,
    types=tokens.BUCKET,
    levels=AFTER_DEV,
    pack="resilience",
    upstream=Upstream(security_hub=("S3.10", "S3.13"), checkov=("CKV2_AWS_61",), prowler=("s3_bucket_lifecycle_enabled",)),
    url=f"{_GUIDE}/object-lifecycle-mgmt.html",
)
def old_versions_end(bucket: Resource, stack: Stack) -> Found:
    configurations = stack.users(bucket, tokens.BUCKET_LIFECYCLE, "bucket")
    if not configurations:
        yield "no lifecycle configuration belongs to this bucket"
    elif not any(_ends_old_versions(rule) for c in configurations for rule in c.props.blocks("rules")):
        yield "no enabled lifecycle rule expires noncurrent versions"


def _ends_old_versions(rule: Props) -> bool:
    return rule.text("status") == "Enabled" and rule.has("noncurrentVersionExpiration")


@stack_rule(
    "GH-S3-009",
    title="Unfinished uploads end within a week",
    why="The parts of an upload that never completed are invisible in listings, and paid for, for ever.",
    remedy="set abortIncompleteMultipartUpload.daysAfterInitiation to 7 or less in an enabled lifecycle rule",
    severity=Severity.LOW,
    types=tokens.BUCKET,
    levels=levels("A", "A", "M"),
    pack="resilience",
    settings={"days_max": {"dev": 7, "staging": 7, "prod": 7}},
    upstream=Upstream(checkov=("CKV_AWS_300",)),
    url=f"{_GUIDE}/mpu-abort-incomplete-mpu-lifecycle-config.html",
)
def unfinished_uploads_end(bucket: Resource, stack: Stack) -> Found:
    days_max = bucket.settings["days_max"]
    for configuration in stack.users(bucket, tokens.BUCKET_LIFECYCLE, "bucket"):
        for rule in configuration.props.blocks("rules"):
            days = rule.block("abortIncompleteMultipartUpload").number("daysAfterInitiation")
            if rule.text("status") == "Enabled" and 0 < days <= days_max:
                return
    yield f"no enabled lifecycle rule ends unfinished uploads within {days_max:g} days"


@stack_rule(
    "GH-S3-010",
    title="Every bucket logs the access to it",
    why="Access logs show who read an object with which key and from where, also when CloudTrail data events are off.",
    remedy="point an aws.s3.BucketLogging of this bucket at a log bucket of the same region",
    severity=Severity.MEDIUM,
    types=tokens.BUCKET,
    levels=AFTER_DEV,
    upstream=Upstream(
        security_hub=("S3.9",),
        checkov=("CKV_AWS_18",),
        prowler=("s3_bucket_server_access_logging_enabled",),
        cdk_nag=("S1",),
    ),
    url=f"{_GUIDE}/ServerLogs.html",
)
def access_is_logged(bucket: Resource, stack: Stack) -> Found:
    if _is_log_sink(bucket):
        return
    logging = stack.users(bucket, tokens.BUCKET_LOGGING, "bucket")
    if not logging:
        yield f'access is not logged; a bucket that receives logs says so with the tag {LOG_SINK_TAG}="{LOG_SINK}"'
    for one in logging:
        if stack.points(one, "targetBucket", bucket):
            yield "the access log goes into the bucket that it is about"


@stack_rule(
    "GH-S3-011",
    title="Object ownership is enforced and no ACL is used",
    why=("ACLs are a second, older permission system beside the policy; with ownership enforced there is only one to read."),
    remedy='set objectOwnership="BucketOwnerEnforced" in an aws.s3.BucketOwnershipControls and remove every BucketAcl',
    severity=Severity.HIGH,
    types=tokens.BUCKET,
    levels=ALWAYS,
    upstream=Upstream(
        security_hub=("S3.12",),
        checkov=("CKV2_AWS_65", "CKV_AWS_20", "CKV_AWS_57", "CKV_AWS_375"),
        prowler=("s3_bucket_acl_prohibited",),
    ),
    url=f"{_GUIDE}/about-object-ownership.html",
)
def no_acl_is_used(bucket: Resource, stack: Stack) -> Found:
    controls = stack.users(bucket, tokens.BUCKET_OWNERSHIP, "bucket")
    if not any(c.props.block("rule").text("objectOwnership") == "BucketOwnerEnforced" for c in controls):
        yield "object ownership is not BucketOwnerEnforced"
    for acl in stack.users(bucket, tokens.BUCKET_ACL, "bucket"):
        yield Violation(f"the ACL {acl.name} is used", "remove it and say the same in the bucket policy")
    if bucket.props.has("acl") or bucket.props.has("grants"):
        yield Violation("the bucket itself sets an ACL", "remove acl and grants")


@resource_rule(
    "GH-S3-012",
    title="No bucket policy lets strangers in",
    why="One such statement publishes the bucket, or gives it to an account that this team does not hold.",
    remedy="name the principals, or add a condition on aws:SourceArn, aws:SourceAccount or aws:PrincipalOrgID",
    severity=Severity.CRITICAL,
    types=tokens.BUCKET_POLICY,
    levels=ALWAYS,
    exemptible=False,
    upstream=Upstream(
        security_hub=("S3.6",),
        cis=("2.21",),
        checkov=("CKV_AWS_70",),
        prowler=("s3_bucket_policy_public_write_access", "s3_bucket_cross_account_access"),
    ),
    url=f"{_GUIDE}/access-control-block-public-access.html#access-control-block-public-access-policy-status",
)
def no_stranger_is_let_in(policy: Resource) -> Found:
    document = iam_document.parse(policy.props.value("policy"))
    if iam_document.allows_by_exclusion(document):
        yield "a statement allows to everybody but some (NotPrincipal)"
    elif iam_document.allows_public(document):
        yield 'a statement allows to anyone ("*") without a condition that ties the request to somebody known'
    if iam_document.has_account_principals(document):
        for account in iam_document.foreign_accounts(document, policy.own_accounts()):
            yield f"a statement allows to account {account}, which is not one of the provider's allowedAccountIds"


@resource_rule(
    "GH-S3-016",
    title="No bucket policy locks its owners out",
    why="A policy that denies everyone to change it can be undone by the account's root user alone.",
    remedy=(
        "leave s3:PutBucketPolicy and s3:DeleteBucketPolicy out of the deny, or exempt the deploying role with aws:PrincipalArn"
    ),
    severity=Severity.HIGH,
    types=tokens.BUCKET_POLICY,
    levels=ALWAYS,
    upstream=Upstream(checkov=("CKV_AWS_93",)),
    url="https://repost.aws/knowledge-center/s3-accidentally-denied-access",
)
def owners_keep_control(policy: Resource) -> Found:
    if iam_document.locks_out(iam_document.parse(policy.props.value("policy"))):
        yield "a statement denies everyone to change this policy again"


@resource_rule(
    "GH-S3-015",
    title="No bucket is deleted together with what it holds",
    why="forceDestroy lets one wrong `pulumi destroy` delete every object and version.",
    remedy="remove forceDestroy and declare the bucket with protect=True",
    severity=Severity.HIGH,
    types=tokens.BUCKET,
    levels=levels("-", "A", "M"),
    pack="resilience",
    url="https://www.pulumi.com/docs/iac/concepts/resources/options/protect/",
)
def buckets_outlive_mistakes(bucket: Resource) -> Found:
    if bucket.props.flag("forceDestroy"):
        yield "forceDestroy is true"


def _bucket_name(bucket: Resource) -> str:
    """The physical name, "" when it is chosen by AWS or Pulumi and not known yet."""
    return bucket.props.text("bucket") if bucket.props.known("bucket") else ""


def _policies(bucket: Resource, stack: Stack) -> list[iam_document.Document]:
    found = stack.users(bucket, tokens.BUCKET_POLICY, "bucket")
    return [iam_document.parse(policy.props.value("policy")) for policy in found]


def _is_log_sink(bucket: Resource) -> bool:
    return bucket.props.block("tags").text(LOG_SINK_TAG) == LOG_SINK


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
    name = _bucket_name(bucket)
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
    if _locks(bucket, stack) or any(denies_deleting_versions(one, _bucket_name(bucket)) for one in _policies(bucket, stack)):
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
    return bucket.props.block("tags").text(LOG_SINK_TAG)
