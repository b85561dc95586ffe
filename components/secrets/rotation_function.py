"""The Lambda function that generates and rotates secrets."""

import pulumi
import pulumi_aws as aws

from components.component import Component, with_dependencies
from components.compute.python_function import PythonFunctionArgs, python_function
from components.iam.role_policies import PEPPER


class RotationFunction(Component):
    """The rotation function of Secrets Manager, with its log group and a dead-letter queue.

    Why: Secret values are generated inside AWS. The function runs outside the VPC because it calls
    only Secrets Manager; inside the VPC, the function would need permission to create network
    interfaces.
    Cost: below 0.01 USD a month. Controls: GH-LAM-001, GH-LAM-003 to GH-LAM-005, GH-SM-002.
    """

    arn: pulumi.Output[str]
    """ARN of the function. Resolves after Secrets Manager is allowed to invoke the function."""
    function: pulumi.Output[str]
    """Name of the function."""

    def __init__(self, name: str, args: PythonFunctionArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("gatehouse:secrets:RotationFunction", name, args, opts)
        restored = args.settings.recovery.restore.stack
        # An event contains the secret's name, version and rotation step, but no value.
        function = python_function(
            name,
            args,
            self,
            description="Generates and rotates the pepper, the session key and the bootstrap token",
            timeout_s=60,
            memory_mib=256,
            data_class="secret",
            variables={
                "GATEHOUSE_KEY_PREFIX": args.settings.key_prefix,
                **(
                    {"RESTORED_PEPPER": args.names.of_stack(restored).secret(PEPPER)}
                    if restored
                    else {}
                ),
            },
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
