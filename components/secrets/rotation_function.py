"""The function that makes and rotates secrets."""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.component import component_inputs, with_dependencies
from components.compute import dead_letter_queue
from components.iam.role_policies import FAILED
from components.naming import Naming
from components.tags import tags

CODE = "runtime/functions"
TIMEOUT_S = 60
AT_ONCE = 5
"""Calls that run at the same time: one a secret, and some that come again."""


@dataclass(frozen=True, kw_only=True)
class RotationFunctionArgs:
    """What the function is told.

    names: the stack's names. key_prefix: the brand in front of the bootstrap token. role_arn: its role.
    key_arn: the KMS key of its settings. log_key_arn, log_retention_days: its log group.
    """

    names: Naming
    key_prefix: str
    role_arn: pulumi.Input[str]
    key_arn: pulumi.Input[str]
    log_key_arn: pulumi.Input[str]
    log_retention_days: int


class RotationFunction(pulumi.ComponentResource):
    """A Lambda function that Secrets Manager calls, its log group, and a queue of the calls that failed for good.

    Why: values are made where they are stored. It stands outside the VPC: it talks to Secrets Manager alone, and a
    function inside would need the right to make network interfaces on every subnet. Cost: below 0.01 USD a month.
    Controls: GH-LAM-001, GH-LAM-003 to GH-LAM-005, GH-SM-002.
    """

    arn: pulumi.Output[str]
    """The function, known once Secrets Manager may call it."""
    function: pulumi.Output[str]

    def __init__(self, name: str, args: RotationFunctionArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gatehouse:secrets:RotationFunction", name, component_inputs(args), opts)
        group = aws.cloudwatch.LogGroup(
            name,
            name=args.names.log_group(name),
            retention_in_days=args.log_retention_days,
            kms_key_id=args.log_key_arn,
            tags=tags("log"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        # A message names secret, version and step, and holds no value.
        kept = dead_letter_queue.dead_letter_queue(name, args.names, FAILED, name, self, args.key_arn)
        function = aws.lambda_.Function(
            name,
            name=args.names.name(name),
            description="Makes and rotates the pepper, the session key and the bootstrap token",
            role=args.role_arn,
            runtime="python3.12",
            handler="rotate.handler",
            code=pulumi.FileArchive(CODE),
            architectures=["arm64"],
            timeout=TIMEOUT_S,
            memory_size=256,
            kms_key_arn=args.key_arn,
            environment=aws.lambda_.FunctionEnvironmentArgs(variables={"GATEHOUSE_KEY_PREFIX": args.key_prefix}),
            # A call that was accepted and then failed three times is kept here instead of being dropped.
            dead_letter_config=aws.lambda_.FunctionDeadLetterConfigArgs(target_arn=kept),
            reserved_concurrent_executions=AT_ONCE,
            tracing_config=aws.lambda_.FunctionTracingConfigArgs(mode="Active"),
            logging_config=aws.lambda_.FunctionLoggingConfigArgs(log_format="JSON", log_group=group.name),
            tags=tags("secret"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        permission = aws.lambda_.Permission(
            name,
            statement_id="SecretsManagerRotates",
            action="lambda:InvokeFunction",
            function=function.name,
            principal="secretsmanager.amazonaws.com",
            source_account=args.names.account,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.arn = with_dependencies(function.arn, permission.id)
        self.function = function.name
        self.register_outputs({"arn": self.arn, "function": self.function})
