"""The CloudTrail trail of the account."""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.component import Component, LogOptions, StackArgs
from components.tags import tags


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudTrailArgs(StackArgs):
    """Arguments of `CloudTrail`.

    bucket: Name of the bucket, resolved after its policy exists.
    logs: KMS key of log files and log group, and retention of the log group.
    role_arn: Role that delivers events to the log group.
    data_event_buckets: ARNs of buckets whose object operations are recorded.
    data_event_tables: ARNs of tables whose item operations are recorded.
    data_event_functions: ARNs of functions whose invocations are recorded.
    """

    bucket: pulumi.Input[str]
    logs: LogOptions
    role_arn: pulumi.Input[str]
    data_event_buckets: tuple[str, ...]
    data_event_tables: tuple[str, ...]
    data_event_functions: tuple[str, ...]


class CloudTrail(Component):
    """A multi-region CloudTrail trail with log file validation and encryption, delivered to a locked bucket and to CloudWatch
    Logs.

    Why: The bucket is the audit record; alarms read the log group.
    Cost: the first trail of an account is free; data events 0.10 USD per 100,000, logs 0.57 USD per GB.
    Controls: GH-CT-001 to GH-CT-006.
    """

    arn: pulumi.Output[str]
    log_group: pulumi.Output[str]

    def __init__(self, name: str, args: CloudTrailArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gatehouse:account:CloudTrail", name, args, opts)
        group = self.create_log_group(name, args.names.log_group("trail"), args.logs)
        trail = aws.cloudtrail.Trail(
            name,
            name=args.names.name("trail"),
            s3_bucket_name=args.bucket,
            is_multi_region_trail=True,
            include_global_service_events=True,
            enable_logging=True,
            enable_log_file_validation=True,
            kms_key_id=args.logs.key_arn,
            cloud_watch_logs_group_arn=pulumi.Output.format("{}:*", group.arn),
            cloud_watch_logs_role_arn=args.role_arn,
            advanced_event_selectors=[
                _selector("Management", _field("eventCategory", equals=["Management"])),
                _data("Objects", "AWS::S3::Object", [f"{arn}/" for arn in args.data_event_buckets]),
                _data("Items", "AWS::DynamoDB::Table", list(args.data_event_tables)),
                _data("Calls", "AWS::Lambda::Function", list(args.data_event_functions)),
            ],
            tags=tags("log"),
            opts=self.child,
        )
        self.arn, self.log_group = trail.arn, group.name
        self.register_outputs({"arn": self.arn})


def _data(name: str, kind: str, prefixes: list[str]) -> aws.cloudtrail.TrailAdvancedEventSelectorArgs:
    """Return a selector for data events of these resources."""
    return _selector(
        name,
        _field("eventCategory", equals=["Data"]),
        _field("resources.type", equals=[kind]),
        _field("resources.ARN", starts_withs=prefixes),
    )


def _selector(
    name: str, *fields: aws.cloudtrail.TrailAdvancedEventSelectorFieldSelectorArgs
) -> aws.cloudtrail.TrailAdvancedEventSelectorArgs:
    return aws.cloudtrail.TrailAdvancedEventSelectorArgs(name=name, field_selectors=list(fields))


def _field(
    field: str, *, equals: list[str] | None = None, starts_withs: list[str] | None = None
) -> aws.cloudtrail.TrailAdvancedEventSelectorFieldSelectorArgs:
    return aws.cloudtrail.TrailAdvancedEventSelectorFieldSelectorArgs(field=field, equals=equals, starts_withs=starts_withs)
