"""What buckets are told: the shape of it, and which buckets a stack has."""

from dataclasses import dataclass, replace

import pulumi

from components.iam import bucket_policies
from components.iam.documents import Document
from components.naming import Naming
from components.settings.model import Settings
from components.storage.bucket import BucketArgs, BucketReplica
from components.tags import DataClass


@dataclass(frozen=True, slots=True)
class Buckets:
    """The buckets of a stack: the sink of all logs, the audit trail, and data. Where data is copied, the second region has a
    sink and a data bucket of its own.

    names, away: the names here and in the second region.
    """

    settings: Settings
    names: Naming
    away: Naming

    def sink(self) -> BucketArgs:
        """Takes the access logs of the other two, the logs of the load balancer and, with the account's guards, of Config."""
        sink, sources = self.names.bucket("logs"), (self.names.bucket("trail"), self.names.bucket("data"))
        writers = (
            *bucket_policies.access_log_writers(self.names, sink, sources),
            *bucket_policies.load_balancer_log_writers(self.names, sink, bucket_policies.BALANCER_PREFIXES),
            *(bucket_policies.config_writers(self.names, sink) if self.settings.account_baseline.enabled else ()),
        )
        policy = bucket_policies.bucket_policy(self.names, sink, encrypted_by_key=False, writers=writers)
        return self._args(sink, policy, "log", expire_days=self.settings.buckets.log_retention_days)

    def trail(self, key_arn: pulumi.Input[str], log_bucket: pulumi.Input[str]) -> BucketArgs:
        """The evidence: nobody removes a file of it before its time."""
        bucket, buckets = self.names.bucket("trail"), self.settings.buckets
        writers = bucket_policies.trail_writers(self.names, bucket)
        policy = bucket_policies.bucket_policy(self.names, bucket, encrypted_by_key=True, writers=writers)
        return replace(
            self._args(bucket, policy, "log", expire_days=buckets.trail_retention_days),
            key_arn=key_arn,
            log_bucket=log_bucket,
            lock_days=buckets.object_lock_days,
            lock_mode=buckets.object_lock_mode,
            purpose="trail",
        )

    def data(self, key_arn: pulumi.Input[str], log_bucket: pulumi.Input[str], replica: BucketReplica | None) -> BucketArgs:
        """What the runtime stores."""
        bucket = self.names.bucket("data")
        policy = bucket_policies.bucket_policy(self.names, bucket, encrypted_by_key=True)
        return replace(self._args(bucket, policy, "confidential"), key_arn=key_arn, log_bucket=log_bucket, replica=replica)

    def sink_away(self) -> BucketArgs:
        """Takes the access log of the copy."""
        sink = self.away.bucket("logs")
        writers = bucket_policies.access_log_writers(self.names, sink, (self.away.bucket("data"),))
        policy = bucket_policies.bucket_policy(self.names, sink, encrypted_by_key=False, writers=writers)
        return replace(
            self._args(sink, policy, "log", expire_days=self.settings.buckets.log_retention_days), region=self.away.region
        )

    def data_away(self, key_arn: pulumi.Input[str], log_bucket: pulumi.Input[str]) -> BucketArgs:
        """The copy of the data bucket."""
        bucket = self.away.bucket("data")
        policy = bucket_policies.bucket_policy(self.names, bucket, encrypted_by_key=True)
        held = self._args(bucket, policy, "confidential")
        return replace(held, key_arn=key_arn, log_bucket=log_bucket, region=self.away.region)

    def _args(self, bucket: str, policy: Document, data_class: DataClass, *, expire_days: int | None = None) -> BucketArgs:
        buckets = self.settings.buckets
        return BucketArgs(
            bucket_name=bucket,
            policy=policy,
            data_class=data_class,
            protection=self.settings.protection,
            noncurrent_days=buckets.noncurrent_version_days,
            expire_days=expire_days,
            force_destroy=buckets.force_destroy,
        )
