"""The arguments of every bucket of a stack, with its policy."""

from dataclasses import dataclass, replace

import pulumi

from components.iam import bucket_policies
from components.iam.documents import Document, Statement
from components.naming import DataClass, Naming
from components.settings.model import Settings
from components.storage.bucket import BucketArgs, BucketReplica


@dataclass(frozen=True, slots=True)
class Buckets:
    """The log, trail and data buckets. With replication, the second region has a log and a data bucket as well."""

    settings: Settings
    names: Naming

    def logs(self) -> BucketArgs:
        """Receives access logs of the other buckets and the load balancer, and with the account baseline those of AWS Config."""
        sink, sources = self.names.bucket("logs"), (self.names.bucket("trail"), self.names.bucket("data"))
        writers = (
            *bucket_policies.access_log_writers(self.names, sink, sources),
            *bucket_policies.load_balancer_log_writers(self.names, sink, bucket_policies.LOAD_BALANCER_PREFIXES),
            *(bucket_policies.config_writers(self.names, sink) if self.settings.account_baseline.enabled else ()),
        )
        return self._log_args(self.names, writers)

    def trail(self, key_arn: pulumi.Input[str], log_bucket: pulumi.Input[str]) -> BucketArgs:
        """Log files of CloudTrail and checkpoints of the audit trail, under S3 Object Lock."""
        bucket, buckets = self.names.bucket("trail"), self.settings.buckets
        policy = bucket_policies.bucket_policy(
            self.names, bucket, encrypted_by_key=True, writers=bucket_policies.trail_writers(self.names, bucket)
        )
        return replace(
            self._args(bucket, policy, "log"),
            expire_days=buckets.trail_retention_days,
            key_arn=key_arn,
            log_bucket=log_bucket,
            lock_days=buckets.object_lock_days,
            lock_mode=buckets.object_lock_mode,
            purpose="trail",
        )

    def data(self, key_arn: pulumi.Input[str], log_bucket: pulumi.Input[str], replica: BucketReplica | None) -> BucketArgs:
        """Objects of the runtime."""
        return replace(self._data_args(self.names, key_arn, log_bucket), replica=replica)

    def replica_logs(self) -> BucketArgs:
        """Receives access logs of the replica."""
        names = self._replica_names
        writers = bucket_policies.access_log_writers(names, names.bucket("logs"), (names.bucket("data"),))
        return replace(self._log_args(names, writers), region=names.region)

    def replica_data(self, key_arn: pulumi.Input[str], log_bucket: pulumi.Input[str]) -> BucketArgs:
        """Replica of the data bucket."""
        return replace(self._data_args(self._replica_names, key_arn, log_bucket), region=self._replica_names.region)

    @property
    def _replica_names(self) -> Naming:
        return self.names.in_region(self.settings.replica_region)

    def _log_args(self, names: Naming, writers: tuple[Statement, ...]) -> BucketArgs:
        sink = names.bucket("logs")
        policy = bucket_policies.bucket_policy(names, sink, encrypted_by_key=False, writers=writers)
        return replace(self._args(sink, policy, "log"), expire_days=self.settings.buckets.log_retention_days)

    def _data_args(self, names: Naming, key_arn: pulumi.Input[str], log_bucket: pulumi.Input[str]) -> BucketArgs:
        bucket = names.bucket("data")
        policy = bucket_policies.bucket_policy(names, bucket, encrypted_by_key=True)
        return replace(self._args(bucket, policy, "confidential"), key_arn=key_arn, log_bucket=log_bucket)

    def _args(self, bucket: str, policy: Document, data_class: DataClass) -> BucketArgs:
        return BucketArgs(
            bucket_name=bucket,
            policy=policy,
            data_class=data_class,
            protection=self.settings.protection,
            noncurrent_days=self.settings.buckets.noncurrent_version_days,
            force_destroy=self.settings.buckets.force_destroy,
        )
