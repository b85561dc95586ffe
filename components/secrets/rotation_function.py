"""The Lambda function that generates and rotates secrets."""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.component import Component, LogOptions, StackArgs, with_dependencies
from components.compute.dead_letter_queue import dead_letter_queue
from components.iam.role_policies import ROTATION_DEAD_LETTER_QUEUE
from components.naming import tags

CODE = "runtime/functions"
TIMEOUT_S = 60
CONCURRENCY = 5
"""Reserved concurrent executions: one for each secret, and some for retries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationFunctionArgs(StackArgs):
    """Arguments of `RotationFunction`.

    key_prefix: Prefix of the bootstrap token.
    role_arn: Execution role of the function.
    key_arn: KMS key of the environment and of the dead-letter queue.
    logs: KMS key and retention of the log group.
    """

    key_prefix: str
    role_arn: pulumi.Input[str]
    key_arn: pulumi.Input[str]
    logs: LogOptions


class RotationFunction(Component):
    """The rotation function of Secrets Manager, with its log group and a dead-letter queue.

    Why: Secret values are generated inside AWS. The function runs outside the VPC because it calls only Secrets Manager;
    inside, it would need permission to create network interfaces.
    Cost: below 0.01 USD a month. Controls: GH-LAM-001, GH-LAM-003 to GH-LAM-005, GH-SM-002.
    """

    arn: pulumi.Output[str]
    """ARN of the function. Resolves after Secrets Manager may invoke it."""
    function: pulumi.Output[str]
    """Name of the function."""

    def __init__(self, name: str, args: RotationFunctionArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gatehouse:secrets:RotationFunction", name, args, opts)
        group = self.create_log_group(name, args.names.log_group(name), args.logs)
        # An event contains the secret's name, version and rotation step, but no value.
        queue = dead_letter_queue(name, args.names, ROTATION_DEAD_LETTER_QUEUE, name, self, args.key_arn)
        function = aws.lambda_.Function(
            name,
            name=args.names.name(name),
            description="Generates and rotates the pepper, the session key and the bootstrap token",
            role=args.role_arn,
            runtime="python3.12",
            handler="rotate.handler",
            code=pulumi.FileArchive(CODE),
            architectures=["arm64"],
            timeout=TIMEOUT_S,
            memory_size=256,
            kms_key_arn=args.key_arn,
            environment={"variables": {"GATEHOUSE_KEY_PREFIX": args.key_prefix}},
            dead_letter_config={"target_arn": queue},
            reserved_concurrent_executions=CONCURRENCY,
            tracing_config={"mode": "Active"},
            logging_config={"log_format": "JSON", "log_group": group.name},
            tags=tags("secret"),
            opts=self.child,
        )
        permission = aws.lambda_.Permission(
            name,
            statement_id="AllowSecretsManager",
            action="lambda:InvokeFunction",
            function=function.name,
            principal="secretsmanager.amazonaws.com",
            source_account=args.names.account,
            opts=self.child,
        )
        self.arn = with_dependencies(function.arn, permission.id)
        self.function = function.name
        self.register_outputs({"arn": self.arn, "function": self.function})
