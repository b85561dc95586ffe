"""SQS dead-letter queues of Lambda functions."""

import pulumi
import pulumi_aws as aws

from components.component import Component, with_dependencies
from components.iam.documents import render
from components.iam.resource_policies import queue_policy
from components.naming import Naming, tags

RETENTION_DAYS = 14
"""Maximum retention period of SQS."""


def dead_letter_queue(
    name: str, names: Naming, queue: str, role: str, parent: Component, key_arn: pulumi.Input[str] | None = None
) -> pulumi.Output[str]:
    """Create the queue and return its ARN, which resolves after the queue policy exists.

    queue: Resource name of the queue.
    role: Resource name of the only role that may send messages.
    key_arn: KMS key of the queue; None for the key of SQS.
    """
    resource = aws.sqs.Queue(
        name,
        name=names.name(queue),
        message_retention_seconds=RETENTION_DAYS * 86400,
        kms_master_key_id=key_arn,
        sqs_managed_sse_enabled=None if key_arn is not None else True,
        tags=tags("internal"),
        opts=parent.child,
    )
    policy = aws.sqs.QueuePolicy(name, queue_url=resource.id, policy=render(queue_policy(names, queue, role)), opts=parent.child)
    return with_dependencies(resource.arn, policy.id)
