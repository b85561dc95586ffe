"""Private, encrypted, versioned and logged S3 buckets, and the arguments of a stack's buckets."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pulumi
import pulumi_aws as aws

from components.component import Component, with_dependencies
from components.iam import bucket_policies
from components.iam.documents import Document, Statement, render
from components.naming import REPLICATION_RULE, WEB_UI_BUCKET, DataClass, Naming, tags
from components.settings.data import ProtectionSettings
from components.settings.model import Settings

CONFIG_DAYS = 400
"""Days for which the deliveries of AWS Config are retained."""
Target = Mapping[str, Any]
"""Name and region of a bucket, as arguments of its resources."""


@dataclass(frozen=True)
class BucketReplica:
    """Destination of S3 replication."""

    bucket_arn: pulumi.Input[str]
    key_arn: pulumi.Input[str]
    role_arn: pulumi.Input[str]


@dataclass(frozen=True, kw_only=True)
class BucketArgs:
    """Arguments of `Bucket`.

    key_arn: KMS key of the objects; None for SSE-S3, which only log buckets use.
    log_bucket: Name of the bucket for server access logs; None for a log bucket.
    expire_days: Days until objects expire; None for never.
    lock_days: Default retention of object lock; None for no object lock.
    purpose: Value of the tag gatehouse:purpose, by which policies recognize log buckets and buckets
        whose deletions are final.
    region: Region of the bucket; None for the region of the stack.
    replica: Destination of replication; None without replication.
    """

    bucket_name: str
    policy: Document
    data_class: DataClass
    protection: ProtectionSettings
    key_arn: pulumi.Input[str] | None = None
    log_bucket: pulumi.Input[str] | None = None
    noncurrent_days: int = 30
    incomplete_upload_days: int = 7
    expire_days: int | None = None
    lock_days: int | None = None
    lock_mode: str = "GOVERNANCE"
    force_destroy: bool = False
    purpose: str = "data"
    region: str | None = None
    replica: BucketReplica | None = None


class Bucket(Component):
    """A private S3 bucket with encryption, versioning, access logs, lifecycle rules and a bucket
    policy.

    Why: A secure bucket consists of eight resources; this component always creates all of them.
    """

    name: pulumi.Output[str]
    """Name of the bucket. Resolves after the bucket policy exists."""
    arn: pulumi.Output[str]
    """ARN of the bucket. Resolves after versioning is enabled, which S3 requires of the destination
    of a replication.
    """

    def __init__(self, name: str, args: BucketArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__(name, opts)
        bucket = aws.s3.Bucket(
            name,
            bucket=args.bucket_name,
            region=args.region,
            force_destroy=args.force_destroy,
            object_lock_enabled=args.lock_days is not None,
            tags=tags(args.data_class, **{"gatehouse:purpose": args.purpose}),
            opts=self.protected_by(args.protection),
        )
        # A bucket that `pulumi destroy` cannot delete keeps its configuration.
        part = pulumi.ResourceOptions(parent=self, deleted_with=bucket)
        target: Target = {"bucket": bucket.id, "region": args.region}
        policy = self._access(name, target, args, part)
        self._encryption(name, target, args, part)
        versioning = self._versioning(name, target, args)
        after = pulumi.ResourceOptions.merge(part, self.after(versioning))
        self._lifecycle(name, target, args, after)
        if args.replica is not None:
            self._replication(name, target, args.replica, after)
        if args.log_bucket is not None:
            aws.s3.BucketLogging(
                name,
                **target,
                target_bucket=args.log_bucket,
                target_prefix=f"s3/{args.bucket_name}/",
                opts=part,
            )
        self.name, self.arn = policy.bucket, with_dependencies(bucket.arn, versioning.id)
        self.register_outputs({})

    @classmethod
    def log_bucket(cls, name: str, args: BucketArgs, opts: pulumi.ResourceOptions) -> "Bucket":
        """Create a bucket for logs from AWS services. The bucket uses SSE-S3, which load balancers
        require, and has no access log."""
        return cls(
            name,
            replace(args, key_arn=None, log_bucket=None, data_class="log", purpose="log-sink"),
            opts,
        )

    def _access(
        self, name: str, target: Target, args: BucketArgs, part: pulumi.ResourceOptions
    ) -> aws.s3.BucketPolicy:
        public_access_block = aws.s3.BucketPublicAccessBlock(
            name,
            **target,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=part,
        )
        ownership_controls = aws.s3.BucketOwnershipControls(
            name, **target, rule={"object_ownership": "BucketOwnerEnforced"}, opts=part
        )
        # S3 rejects these calls if they are concurrent (OperationAborted).
        opts = self.protected_by(
            args.protection, depends_on=[public_access_block, ownership_controls]
        )
        return aws.s3.BucketPolicy(name, **target, policy=render(args.policy), opts=opts)

    def _encryption(
        self, name: str, target: Target, args: BucketArgs, opts: pulumi.ResourceOptions
    ) -> None:
        algorithm = "AES256" if args.key_arn is None else "aws:kms"
        aws.s3.BucketServerSideEncryptionConfiguration(
            name,
            **target,
            rules=[
                {
                    "apply_server_side_encryption_by_default": {
                        "sse_algorithm": algorithm,
                        "kms_master_key_id": args.key_arn,
                    },
                    "bucket_key_enabled": args.key_arn is not None,
                }
            ],
            opts=opts,
        )

    def _versioning(self, name: str, target: Target, args: BucketArgs) -> aws.s3.BucketVersioning:
        versioning = aws.s3.BucketVersioning(
            name,
            **target,
            versioning_configuration={"status": "Enabled"},
            opts=self.protected_by(args.protection),
        )
        if args.lock_days is not None:
            aws.s3.BucketObjectLockConfiguration(
                name,
                **target,
                rule={"default_retention": {"mode": args.lock_mode, "days": args.lock_days}},
                opts=self.protected_by(args.protection, depends_on=[versioning]),
            )
        return versioning

    def _lifecycle(
        self, name: str, target: Target, args: BucketArgs, opts: pulumi.ResourceOptions
    ) -> None:
        aws.s3.BucketLifecycleConfiguration(
            name,
            **target,
            rules=[
                {
                    "id": "expiration",
                    "status": "Enabled",
                    "filter": {"prefix": ""},
                    "expiration": None if args.expire_days is None else {"days": args.expire_days},
                    "noncurrent_version_expiration": {"noncurrent_days": args.noncurrent_days},
                    "abort_incomplete_multipart_upload": {
                        "days_after_initiation": args.incomplete_upload_days
                    },
                },
                # S3 rejects this flag in a rule with an expiration in days (S3 API Reference,
                # "LifecycleExpiration").
                {
                    "id": "expired-delete-markers",
                    "status": "Enabled",
                    "filter": {"prefix": ""},
                    "expiration": {"expired_object_delete_marker": True},
                },
            ],
            opts=opts,
        )

    def _replication(
        self, name: str, target: Target, replica: BucketReplica, opts: pulumi.ResourceOptions
    ) -> None:
        """Replicate all objects and delete markers with S3 Replication Time Control."""
        aws.s3.BucketReplicationConfig(
            name,
            **target,
            role=replica.role_arn,
            rules=[
                {
                    "id": REPLICATION_RULE,
                    "priority": 1,
                    "status": "Enabled",
                    "filter": {"prefix": ""},
                    "delete_marker_replication": {"status": "Enabled"},
                    "source_selection_criteria": {
                        "sse_kms_encrypted_objects": {"status": "Enabled"}
                    },
                    "destination": {
                        "bucket": replica.bucket_arn,
                        "storage_class": "STANDARD_IA",
                        "encryption_configuration": {"replica_kms_key_id": replica.key_arn},
                        # 15 minutes is the only value that S3 accepts.
                        "replication_time": {"status": "Enabled", "time": {"minutes": 15}},
                        "metrics": {"status": "Enabled", "event_threshold": {"minutes": 15}},
                    },
                }
            ],
            opts=opts,
        )


@dataclass(frozen=True)
class Buckets:
    """Arguments of the buckets of a stack. With replication, the second region has a log and a data
    bucket as well.
    """

    settings: Settings
    names: Naming

    def logs(self) -> BucketArgs:
        """The bucket that receives access logs from the other buckets and the load balancer."""
        prefixes = bucket_policies.LOAD_BALANCER_PREFIXES
        sink, web_ui = self.names.bucket("logs"), self.settings.services.cloudfront
        return self._log_args(
            self.names,
            ("trail", "data", "secrets", *((WEB_UI_BUCKET,) if web_ui else ())),
            bucket_policies.load_balancer_log_writers(self.names, sink, prefixes),
        )

    def trail(self, key_arn: pulumi.Input[str], log_bucket: pulumi.Input[str]) -> BucketArgs:
        """The bucket for CloudTrail log files and audit trail checkpoints, which S3 Object Lock
        protects.
        """
        bucket, buckets = self.names.bucket("trail"), self.settings.buckets
        return self._args(
            self.names,
            bucket,
            "log",
            *bucket_policies.trail_writers(self.names, bucket),
            key_arn=key_arn,
            log_bucket=log_bucket,
            expire_days=buckets.trail_retention_days,
            lock_days=buckets.object_lock_days,
            lock_mode=buckets.object_lock_mode,
            purpose="trail",
        )

    def data(
        self,
        key_arn: pulumi.Input[str],
        log_bucket: pulumi.Input[str],
        replica: BucketReplica | None,
    ) -> BucketArgs:
        return self._args(
            self.names,
            self.names.bucket("data"),
            "confidential",
            key_arn=key_arn,
            log_bucket=log_bucket,
            replica=replica,
        )

    def secrets(self, key_arn: pulumi.Input[str], log_bucket: pulumi.Input[str]) -> BucketArgs:
        """The bucket for the encrypted content of secrets.

        A deletion is final: the bucket has no object lock, no replica and no backup, and noncurrent
        versions expire after one day, the shortest period that S3 supports. Content that the
        console failed to delete expires a day after the longest lifetime of a secret (TTL_S_MAX of
        the runtime, 30 days). Presigned requests are denied.
        """
        bucket = self.names.bucket("secrets")
        return self._args(
            self.names,
            bucket,
            "secret",
            bucket_policies.deny_presigned_requests(self.names, bucket),
            key_arn=key_arn,
            log_bucket=log_bucket,
            expire_days=31,
            noncurrent_days=1,
            incomplete_upload_days=1,
            purpose="ephemeral",
        )

    def web_ui(self, key_arn: pulumi.Input[str], log_bucket: pulumi.Input[str]) -> BucketArgs:
        """The files of the console's web UI. Every deployment uploads the files, so the bucket
        needs no replica and no backup.
        """
        bucket = self.names.bucket(WEB_UI_BUCKET)
        return self._args(
            self.names,
            bucket,
            "internal",
            bucket_policies.distribution_readers(self.names, bucket),
            key_arn=key_arn,
            log_bucket=log_bucket,
            purpose="static-files",
        )

    def edge_logs(self) -> BucketArgs:
        bucket = self.names.edge_log_bucket
        writers = bucket_policies.edge_log_writers(self.names, bucket)
        expire_days = self.settings.buckets.log_retention_days
        return self._args(self.names, bucket, "log", *writers, expire_days=expire_days)

    def replica_logs(self) -> BucketArgs:
        """The bucket that receives access logs from the replica of the data bucket."""
        return self._log_args(self.names.in_region(self.settings.replica_region), ("data",))

    def replica_data(self, key_arn: pulumi.Input[str], log_bucket: pulumi.Input[str]) -> BucketArgs:
        names = self.names.in_region(self.settings.replica_region)
        bucket = names.bucket("data")
        return self._args(names, bucket, "confidential", key_arn=key_arn, log_bucket=log_bucket)

    def _log_args(self, names: Naming, sources: tuple[str, ...], *writers: Statement) -> BucketArgs:
        sink, buckets = names.bucket("logs"), tuple(names.bucket(source) for source in sources)
        access_logs = bucket_policies.access_log_writers(names, sink, buckets)
        expire_days = self.settings.buckets.log_retention_days
        return self._args(names, sink, "log", access_logs, *writers, expire_days=expire_days)

    def _args(
        self,
        names: Naming,
        bucket: str,
        data_class: DataClass,
        *writers: Statement,
        key_arn: pulumi.Input[str] | None = None,
        noncurrent_days: int | None = None,
        **options: Any,
    ) -> BucketArgs:
        """Return the arguments of a bucket. options: other fields of `BucketArgs`."""
        encrypted = key_arn is not None
        policy = bucket_policies.bucket_policy(names, bucket, *writers, encrypted_by_key=encrypted)
        return BucketArgs(
            bucket_name=bucket,
            policy=policy,
            data_class=data_class,
            protection=self.settings.protection,
            key_arn=key_arn,
            noncurrent_days=noncurrent_days or self.settings.buckets.noncurrent_version_days,
            force_destroy=self.settings.buckets.force_destroy,
            region=None if names == self.names else names.region,
            **options,
        )


def config_bucket(names: Naming) -> BucketArgs:
    """Return the arguments of the bucket that receives the deliveries of AWS Config. The bucket and
    its content stay in AWS when Pulumi deletes the bucket."""
    bucket = names.bucket("config")
    writers = bucket_policies.config_writers(names, bucket)
    return BucketArgs(
        bucket_name=bucket,
        policy=bucket_policies.bucket_policy(names, bucket, *writers, encrypted_by_key=False),
        data_class="log",
        protection=ProtectionSettings(protect=True),
        expire_days=CONFIG_DAYS,
    )
