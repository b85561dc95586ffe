"""Lambda functions in `runtime/functions`, each with a log group and a dead-letter queue."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.component import Component, LogArgs, with_dependencies
from components.iam.documents import render
from components.iam.resource_policies import queue_policy
from components.naming import DataClass, tags

CODE = "runtime/functions"
DEAD_LETTER_DAYS = 14
"""Maximum retention period of SQS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonFunctionArgs(LogArgs):
    """Arguments of every Python function.

    role_arn: Execution role of the function.
    key_arn: KMS key for the environment variables and the dead-letter queue; None for the default
        keys of Lambda and SQS.
    """

    role_arn: pulumi.Input[str]
    key_arn: pulumi.Input[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmedFunctionArgs(PythonFunctionArgs):
    """Arguments of a Python function with alarms.

    topic_arn: Topic of the alarms.
    """

    topic_arn: pulumi.Input[str]


def python_function(
    name: str,
    args: PythonFunctionArgs,
    parent: Component,
    *,
    description: str,
    timeout_s: int,
    memory_mib: int,
    data_class: DataClass,
    variables: Mapping[str, str] | None = None,
) -> aws.lambda_.Function:
    """Create the function whose handler is in `runtime/functions/<name>.py`, with a log group and a
    dead-letter queue.

    data_class: Value of the tag DataClass.
    variables: Environment variables.
    """
    group = parent.create_log_group(name, args.names.log_group(name), args)
    queue = aws.sqs.Queue(
        name,
        name=args.names.dead_letter_queue(name),
        message_retention_seconds=DEAD_LETTER_DAYS * 86400,
        kms_master_key_id=args.key_arn,
        sqs_managed_sse_enabled=None if args.key_arn is not None else True,
        tags=tags("internal"),
        opts=parent.child,
    )
    policy = aws.sqs.QueuePolicy(
        name, queue_url=queue.id, policy=render(queue_policy(args.names, name)), opts=parent.child
    )
    return aws.lambda_.Function(
        name,
        name=args.names.name(name),
        description=description,
        role=args.role_arn,
        runtime="python3.12",
        handler=f"{name}.handler",
        code=pulumi.FileArchive(CODE),
        architectures=["arm64"],
        timeout=timeout_s,
        memory_size=memory_mib,
        kms_key_arn=args.key_arn,
        environment={"variables": variables} if variables else None,
        dead_letter_config={"target_arn": with_dependencies(queue.arn, policy.id)},
        reserved_concurrent_executions=args.settings.function_concurrency.get(name),
        tracing_config={"mode": "Active"},
        logging_config={"log_format": "JSON", "log_group": group.name},
        tags=tags(data_class),
        opts=parent.child,
    )
