"""The CloudTrail trail of the account."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.component import Component, LogArgs
from components.naming import tags

SELECTORS = {
    "AWS::S3::Object": "Objects",
    "AWS::DynamoDB::Table": "Items",
    "AWS::Lambda::Function": "Calls",
}
"""Name of the event selector for each resource type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudTrailArgs(LogArgs):
    """Arguments of `CloudTrail`.

    logs: KMS key and deletion protection of the trail and the log group, and retention of the log
        group.
    bucket: Name of the bucket. Resolves after the bucket policy exists.
    role_arn: Role that delivers events to the log group.
    data_events: ARN prefixes of the resources whose data events are recorded, by resource type.
    """

    bucket: pulumi.Input[str]
    role_arn: pulumi.Input[str]
    data_events: Mapping[str, Sequence[str]]


class CloudTrail(Component):
    """A multi-region CloudTrail trail with log file validation and encryption, delivered to a
    locked bucket and to CloudWatch Logs.

    Why: The bucket is the audit record; alarms read the log group.
    Cost: the first trail of an account is free; 0.10 USD per 100,000 data events and 0.57 USD per
        GB of logs.
    Controls: GH-CT-001 to GH-CT-006.
    """

    def __init__(
        self, name: str, args: CloudTrailArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
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
                {
                    "name": "Management",
                    "field_selectors": [{"field": "eventCategory", "equals": ["Management"]}],
                },
                *(_data_events(kind, arns) for kind, arns in args.data_events.items()),
            ],
            tags=tags("log"),
            opts=self.protected(args.logs.protection),
        )
        self.arn, self.log_group = trail.arn, group.name
        self.register_outputs({"arn": self.arn})


def _data_events(
    kind: str, prefixes: Sequence[str]
) -> aws.cloudtrail.TrailAdvancedEventSelectorArgsDict:
    """Return a selector for the data events of resources of one type."""
    return {
        "name": SELECTORS[kind],
        "field_selectors": [
            {"field": "eventCategory", "equals": ["Data"]},
            {"field": "resources.type", "equals": [kind]},
            {"field": "resources.ARN", "starts_withs": list(prefixes)},
        ],
    }
