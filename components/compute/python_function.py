"""Lambda functions in `runtime/functions`, each with a log group and a dead-letter queue."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
import pulumi_aws as aws

from components.component import Placement, StackComponent, Topics, with_dependencies
from components.context import Stack
from components.iam.documents import render
from components.iam.resource_policies import queue_policy
from components.naming import DataClass, tags

ROOT = Path(__file__).parents[2]
CODE = Path("runtime/functions")
DEAD_LETTER_DAYS = 14
"""Maximum retention period of SQS."""


@dataclass(frozen=True)
class FunctionResources:
    """Resources of the stack that a function uses. placement: None outside the VPC."""

    role_arn: pulumi.Input[str]
    logs_key_arn: pulumi.Input[str]
    topics: Topics
    placement: Placement | None = None


class PythonFunction(StackComponent):
    """Base class of the components with a function, whose handler is in
    `runtime/functions/<name>.py`.

    key_arn: KMS key for the environment variables and the dead-letter queue; None for the default
        keys of Lambda and SQS.
    """

    def __init__(
        self,
        name: str,
        stack: Stack,
        resources: FunctionResources,
        opts: pulumi.ResourceOptions,
        *,
        description: str,
        timeout_s: int,
        memory_mib: int = 128,
        key_arn: pulumi.Input[str] | None = None,
        data_class: DataClass = "internal",
        variables: Mapping[str, str] | None = None,
    ) -> None:
        # SQS rejects a policy that names a role which does not exist yet.
        super().__init__(name, stack, opts, {"roleArn": resources.role_arn})
        group = self.create_log_group(name, self.names.log_group(name), resources.logs_key_arn)
        queue = aws.sqs.Queue(
            name,
            name=self.names.dead_letter_queue(name),
            message_retention_seconds=DEAD_LETTER_DAYS * 86400,
            kms_master_key_id=key_arn,
            sqs_managed_sse_enabled=None if key_arn is not None else True,
            tags=tags("internal"),
            opts=self.child,
        )
        policy = aws.sqs.QueuePolicy(
            name, queue_url=queue.id, policy=render(queue_policy(self.names, name)), opts=self.child
        )
        self._function = aws.lambda_.Function(
            name,
            name=self.names.name(name),
            description=description,
            role=resources.role_arn,
            runtime="python3.12",
            handler=f"{name}.handler",
            code=self._code(),
            architectures=["arm64"],
            timeout=timeout_s,
            memory_size=memory_mib,
            kms_key_arn=key_arn,
            environment={"variables": variables} if variables else None,
            vpc_config={
                "subnet_ids": list(resources.placement.subnet_ids),
                "security_group_ids": [resources.placement.security_group_id],
            }
            if resources.placement
            else None,
            dead_letter_config={"target_arn": with_dependencies(queue.arn, policy.id)},
            reserved_concurrent_executions=self.settings.function_concurrency.get(name),
            tracing_config={"mode": "Active"},
            logging_config={"log_format": "JSON", "log_group": group.name},
            tags=tags(data_class),
            opts=self.child,
        )
        self.function = self._function.name

    def _code(self) -> pulumi.Archive:
        """The functions, and the certificates of the private CA if the services have one."""
        if not (ca := self.settings.load_balancer.private_ca):
            return pulumi.FileArchive(str(CODE))
        names = sorted(file.name for file in (ROOT / CODE).glob("*.py"))
        files = {name: pulumi.FileAsset(str(CODE / name)) for name in names}
        return pulumi.AssetArchive({**files, "ca.pem": pulumi.StringAsset(ca)})

    def allow_invocation(
        self,
        name: str,
        statement_id: str,
        service: str,
        *,
        source_arn: str | None = None,
        source_account: str | None = None,
    ) -> aws.lambda_.Permission:
        return aws.lambda_.Permission(
            name,
            statement_id=statement_id,
            action="lambda:InvokeFunction",
            function=self.function,
            principal=f"{service}.amazonaws.com",
            source_arn=source_arn,
            source_account=source_account,
            opts=self.child,
        )

    def invoke(
        self,
        name: str,
        suffix: str,
        description: str,
        event: dict[str, Any],
        *,
        schedule: str | None = None,
        pattern: dict[str, Any] | None = None,
    ) -> None:
        """Create a rule that invokes the function with an event on a schedule or for a pattern."""
        resource = "-".join(filter(None, [name, suffix]))
        rule = aws.cloudwatch.EventRule(
            resource,
            name=self.names.name(resource),
            description=description,
            schedule_expression=schedule,
            event_pattern=render(pattern) if pattern else None,
            tags=tags("none"),
            opts=self.child,
        )
        self.allow_invocation(
            resource,
            f"AllowEventBridge{suffix.title()}",
            "events",
            source_arn=self.names.arn("events", f"rule/{self.names.name(resource)}"),
        )
        aws.cloudwatch.EventTarget(
            resource,
            rule=rule.name,
            arn=self._function.arn,
            target_id=name,
            input=render(event),
            opts=self.child,
        )
