"""The Lambda function that generates and rotates secrets."""

import pulumi

from components.component import with_dependencies
from components.compute.python_function import FunctionResources, PythonFunction
from components.context import Stack
from components.iam.role_policies import PEPPER


class RotationFunction(PythonFunction):
    """The rotation function of Secrets Manager, with its log group and a dead-letter queue.

    Why: Secret values are generated inside AWS. The function runs outside the VPC because it calls
    only Secrets Manager; inside the VPC, the function would need permission to create network
    interfaces.
    """

    arn: pulumi.Output[str]
    """ARN of the function. Resolves after Secrets Manager is allowed to invoke the function."""

    def __init__(
        self,
        name: str,
        stack: Stack,
        resources: FunctionResources,
        key_arn: pulumi.Input[str],
        opts: pulumi.ResourceOptions,
    ) -> None:
        restored = stack.settings.recovery.restore.stack
        # An event contains the secret's name, version and rotation step, but no value.
        super().__init__(
            name,
            stack,
            resources,
            opts,
            key_arn=key_arn,
            description=(
                "Generates and rotates the pepper, the session key, the bootstrap token and the "
                "canary key"
            ),
            timeout_s=60,
            memory_mib=256,
            data_class="secret",
            variables={
                "GATEHOUSE_KEY_PREFIX": stack.settings.key_prefix,
                "GATEHOUSE_KEY_ENVIRONMENT": stack.settings.key_environment,
                **(
                    {"RESTORED_PEPPER": stack.names.of_stack(restored).secret(PEPPER)}
                    if restored
                    else {}
                ),
            },
        )
        permission = self.allow_invocation(
            name, "AllowSecretsManager", "secretsmanager", source_account=self.names.account
        )
        self.arn = with_dependencies(self._function.arn, permission.id)
        self.register_outputs({})
