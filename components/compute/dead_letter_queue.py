"""Where calls of a function go that failed for good: a queue that only the function's role writes to."""

import pulumi
import pulumi_aws as aws

from components.component import with_dependencies
from components.iam.documents import Document, allow, deny, document, render
from components.naming import Naming
from components.tags import tags

DAYS = 14
"""How long SQS keeps a failed call, its longest."""


def dead_letter_queue(
    name: str, names: Naming, thing: str, role: str, parent: pulumi.Resource, key_arn: pulumi.Input[str] | None = None
) -> pulumi.Output[str]:
    """ARN of the queue `thing`, known once nobody but `role` may write to it. key_arn: encrypts it, in place of SQS's own key."""
    made = aws.sqs.Queue(
        name,
        name=names.name(thing),
        message_retention_seconds=DAYS * 86400,
        kms_master_key_id=key_arn,
        sqs_managed_sse_enabled=None if key_arn is not None else True,
        tags=tags("internal"),
        opts=pulumi.ResourceOptions(parent=parent),
    )
    policy = aws.sqs.QueuePolicy(
        name,
        queue_url=made.id,
        policy=render(queue_policy(names, thing, role)),
        opts=pulumi.ResourceOptions(parent=parent),
    )
    return with_dependencies(made.arn, policy.id)


def queue_policy(names: Naming, thing: str, role: str) -> Document:
    """The function's role writes, over TLS; no other account does anything. Whoever reads is let by his own IAM policy."""
    arn = names.arn("sqs", names.name(thing))
    return document(
        deny("OnlyTls", ["sqs:*"], [arn], conditions={"Bool": {"aws:SecureTransport": "false"}}),
        deny("OnlyOurAccount", ["sqs:*"], [arn], conditions={"StringNotEquals": {"aws:PrincipalAccount": names.account}}),
        allow("FailedCallsArrive", ["sqs:SendMessage"], [arn], principal={"AWS": names.role_arn(role)}),
    )
