"""The CloudTrail trail of the account."""

from collections.abc import Iterator

import pulumi
import pulumi_aws as aws

from components.component import StackComponent
from components.context import Stack
from components.iam import role_policies, sharing_policies
from components.naming import tags


class CloudTrail(StackComponent):
    """A multi-region CloudTrail trail with log file validation and encryption, delivered to a
    locked bucket and to CloudWatch Logs.

    Why: The bucket is the audit record; alarms read the log group.

    bucket: Name of the bucket. Resolves after the bucket policy exists.
    """

    def __init__(
        self,
        name: str,
        stack: Stack,
        opts: pulumi.ResourceOptions,
        *,
        logs_key_arn: pulumi.Input[str],
        bucket: pulumi.Input[str],
        role_arn: pulumi.Input[str],
    ) -> None:
        super().__init__(name, stack, opts)
        group = self.create_log_group(name, self.names.log_group("trail"), logs_key_arn)
        trail = aws.cloudtrail.Trail(
            name,
            name=self.names.name("trail"),
            s3_bucket_name=bucket,
            is_multi_region_trail=True,
            include_global_service_events=True,
            enable_logging=True,
            enable_log_file_validation=True,
            kms_key_id=logs_key_arn,
            cloud_watch_logs_group_arn=pulumi.Output.format("{}:*", group.arn),
            cloud_watch_logs_role_arn=role_arn,
            advanced_event_selectors=[
                {
                    "name": "Management",
                    "field_selectors": [{"field": "eventCategory", "equals": ["Management"]}],
                },
                *_data_events(stack),
            ],
            tags=tags("log"),
            opts=self.protected(),
        )
        self.arn, self.log_group = trail.arn, group.name
        self.register_outputs({})


def _data_events(stack: Stack) -> Iterator[aws.cloudtrail.TrailAdvancedEventSelectorArgsDict]:
    """Yield a selector for the data events of each resource type: the objects of the data and
    secrets buckets, the items of the secret links table, and the calls of the rotation function.
    """
    names, replica_region = stack.names, stack.settings.replication_region
    data = [names, *([names.in_region(replica_region)] if replica_region else [])]
    rotation_function = f"function:{names.name(role_policies.ROTATION_FUNCTION)}"
    prefixes = {
        ("Objects", "AWS::S3::Object"): [
            *(f"{in_region.bucket_arn('data')}/" for in_region in data),
            f"{names.bucket_arn(sharing_policies.BUCKET)}/",
        ],
        ("Items", "AWS::DynamoDB::Table"): [names.table_arn(sharing_policies.TABLE)],
        ("Calls", "AWS::Lambda::Function"): [names.arn("lambda", rotation_function)],
    }
    for (name, kind), arns in prefixes.items():
        yield {
            "name": name,
            "field_selectors": [
                {"field": "eventCategory", "equals": ["Data"]},
                {"field": "resources.type", "equals": [kind]},
                {"field": "resources.ARN", "starts_withs": arns},
            ],
        }
