"""A bucket that is closed, encrypted, versioned and logged from its first moment."""

from dataclasses import dataclass, replace

import pulumi
import pulumi_aws as aws

from components.component import component_inputs
from components.iam.documents import Document, render
from components.settings.data import ProtectionSettings
from components.tags import DataClass, tags


@dataclass(frozen=True)
class BucketReplica:
    """Where a bucket is copied to. bucket_arn, key_arn: the bucket in the other region and the key there. role_arn: who
    copies."""

    bucket_arn: pulumi.Input[str]
    key_arn: pulumi.Input[str]
    role_arn: pulumi.Input[str]


@dataclass(frozen=True, kw_only=True)
class BucketArgs:
    """What a bucket is told.

    bucket_name: its name in the whole world.
    policy: its policy, see `bucketpolicy`.
    data_class: what it holds.
    protection: whether deletion is refused.
    key_arn: the KMS key of its objects; None is S3's own key (SSE-S3), for log sinks alone.
    log_bucket: name of the bucket that takes its access log; None for a log sink, which would log its own logging.
    noncurrent_days: how long an overwritten or deleted object can be brought back.
    expire_days: age at which objects are removed; None keeps them.
    lock_days, lock_mode: nobody removes an object before; None is no lock.
    force_destroy: empty the bucket to delete it.
    purpose: tag by which policies know a log sink.
    region: another region than the stack's; None is the stack's.
    replica: every object is also kept there; None copies nothing.
    """

    bucket_name: str
    policy: Document
    data_class: DataClass
    protection: ProtectionSettings
    key_arn: pulumi.Input[str] | None = None
    log_bucket: pulumi.Input[str] | None = None
    noncurrent_days: int = 30
    expire_days: int | None = None
    lock_days: int | None = None
    lock_mode: str = "GOVERNANCE"
    force_destroy: bool = False
    purpose: str = "data"
    region: str | None = None
    replica: BucketReplica | None = None


class Bucket(pulumi.ComponentResource):
    """A private S3 bucket with everything that makes it one.

    Why: a bucket is safe by eight separate resources, and forgetting one of them is the usual leak; here none can be
    left out. Cost: storage at 0.023 USD a GB and month, and as much again for old versions; the bucket key keeps KMS
    below one request a thousand objects. A copy in another region costs the storage again, and 0.035 USD a GB.
    Controls: GH-S3-001, GH-S3-003 to GH-S3-016.
    """

    name: pulumi.Output[str]
    """The name, known once the policy is in place: who depends on it finds a closed bucket."""
    arn: pulumi.Output[str]

    def __init__(self, name: str, args: BucketArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gatehouse:storage:Bucket", name, component_inputs(args), opts)
        keep = pulumi.ResourceOptions(
            parent=self, protect=args.protection.protect, retain_on_delete=args.protection.retain_on_delete
        )
        bucket = aws.s3.Bucket(
            name,
            bucket=args.bucket_name,
            region=args.region,
            force_destroy=args.force_destroy,
            object_lock_enabled=args.lock_days is not None,
            tags=tags(args.data_class, **{"gatehouse:purpose": args.purpose}),
            opts=keep,
        )
        closed = aws.s3.BucketPublicAccessBlock(
            name,
            bucket=bucket.id,
            region=args.region,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=pulumi.ResourceOptions(parent=self),
        )
        owned = aws.s3.BucketOwnershipControls(
            name,
            bucket=bucket.id,
            region=args.region,
            rule=aws.s3.BucketOwnershipControlsRuleArgs(object_ownership="BucketOwnerEnforced"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        policy = aws.s3.BucketPolicy(
            name,
            bucket=bucket.id,
            region=args.region,
            policy=render(args.policy),
            # S3 refuses two of these calls at the same moment ("A conflicting conditional operation is in progress").
            opts=pulumi.ResourceOptions(parent=self, depends_on=[closed, owned]),
        )
        self._encrypt(name, bucket.id, args)
        self._versions(name, bucket.id, args)
        if args.log_bucket is not None:
            aws.s3.BucketLogging(
                name,
                bucket=bucket.id,
                region=args.region,
                target_bucket=args.log_bucket,
                target_prefix=f"s3/{args.bucket_name}/",
                opts=pulumi.ResourceOptions(parent=self),
            )
        self.name, self.arn = policy.bucket, bucket.arn
        self.register_outputs({"name": self.name, "arn": self.arn})

    @classmethod
    def log_sink(cls, name: str, args: BucketArgs, opts: pulumi.ResourceOptions | None = None) -> "Bucket":
        """A bucket to which AWS services write logs: SSE-S3, for load balancers write to nothing else (ELB user guide),
        and no access log of its own."""
        return cls(name, replace(args, key_arn=None, log_bucket=None, data_class="log", purpose="log-sink"), opts)

    def _encrypt(self, name: str, bucket: pulumi.Output[str], args: BucketArgs) -> None:
        default = aws.s3.BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultArgs(
            sse_algorithm="AES256" if args.key_arn is None else "aws:kms",
            kms_master_key_id=args.key_arn,
        )
        aws.s3.BucketServerSideEncryptionConfiguration(
            name,
            bucket=bucket,
            region=args.region,
            rules=[
                aws.s3.BucketServerSideEncryptionConfigurationRuleArgs(
                    apply_server_side_encryption_by_default=default,
                    bucket_key_enabled=args.key_arn is not None,
                )
            ],
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _versions(self, name: str, bucket: pulumi.Output[str], args: BucketArgs) -> None:
        versions = aws.s3.BucketVersioning(
            name,
            bucket=bucket,
            region=args.region,
            versioning_configuration=aws.s3.BucketVersioningVersioningConfigurationArgs(status="Enabled"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        after = pulumi.ResourceOptions(parent=self, depends_on=[versions])
        if args.lock_days is not None:
            retention = aws.s3.BucketObjectLockConfigurationRuleDefaultRetentionArgs(mode=args.lock_mode, days=args.lock_days)
            aws.s3.BucketObjectLockConfiguration(
                name,
                bucket=bucket,
                region=args.region,
                rule=aws.s3.BucketObjectLockConfigurationRuleArgs(default_retention=retention),
                opts=after,
            )
        expiration = aws.s3.BucketLifecycleConfigurationRuleExpirationArgs(days=args.expire_days)
        aws.s3.BucketLifecycleConfiguration(
            name,
            bucket=bucket,
            region=args.region,
            rules=[
                aws.s3.BucketLifecycleConfigurationRuleArgs(
                    id="tidy",
                    status="Enabled",
                    filter=aws.s3.BucketLifecycleConfigurationRuleFilterArgs(prefix=""),
                    expiration=None if args.expire_days is None else expiration,
                    noncurrent_version_expiration=aws.s3.BucketLifecycleConfigurationRuleNoncurrentVersionExpirationArgs(
                        noncurrent_days=args.noncurrent_days
                    ),
                    abort_incomplete_multipart_upload=aws.s3.BucketLifecycleConfigurationRuleAbortIncompleteMultipartUploadArgs(
                        days_after_initiation=7
                    ),
                )
            ],
            opts=after,
        )
        if args.replica is not None:
            self._copy(name, bucket, args, args.replica, after)

    def _copy(
        self, name: str, bucket: pulumi.Output[str], args: BucketArgs, copy: BucketReplica, after: pulumi.ResourceOptions
    ) -> None:
        """Everything is copied, deletions included, within a quarter of an hour; S3 reports what is late."""
        minutes = 15  # The only value S3 takes.
        aws.s3.BucketReplicationConfig(
            name,
            bucket=bucket,
            region=args.region,
            role=copy.role_arn,
            rules=[
                aws.s3.BucketReplicationConfigRuleArgs(
                    id="everything",
                    priority=1,
                    status="Enabled",
                    filter=aws.s3.BucketReplicationConfigRuleFilterArgs(prefix=""),
                    # A deletion is a marker in the copy too; the version under it can be brought back in both.
                    delete_marker_replication=aws.s3.BucketReplicationConfigRuleDeleteMarkerReplicationArgs(status="Enabled"),
                    source_selection_criteria=aws.s3.BucketReplicationConfigRuleSourceSelectionCriteriaArgs(
                        sse_kms_encrypted_objects=aws.s3.BucketReplicationConfigRuleSourceSelectionCriteriaSseKmsEncryptedObjectsArgs(
                            status="Enabled"
                        )
                    ),
                    destination=aws.s3.BucketReplicationConfigRuleDestinationArgs(
                        bucket=copy.bucket_arn,
                        storage_class="STANDARD_IA",
                        encryption_configuration=aws.s3.BucketReplicationConfigRuleDestinationEncryptionConfigurationArgs(
                            replica_kms_key_id=copy.key_arn
                        ),
                        replication_time=aws.s3.BucketReplicationConfigRuleDestinationReplicationTimeArgs(
                            status="Enabled",
                            time=aws.s3.BucketReplicationConfigRuleDestinationReplicationTimeTimeArgs(minutes=minutes),
                        ),
                        metrics=aws.s3.BucketReplicationConfigRuleDestinationMetricsArgs(
                            status="Enabled",
                            event_threshold=aws.s3.BucketReplicationConfigRuleDestinationMetricsEventThresholdArgs(
                                minutes=minutes
                            ),
                        ),
                    ),
                )
            ],
            opts=after,
        )
