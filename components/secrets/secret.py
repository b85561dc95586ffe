"""Secrets whose values never enter the program or the Pulumi state."""

import pulumi
import pulumi_aws as aws

from components.component import RegionKey, StackComponent
from components.context import Stack
from components.iam.documents import render
from components.iam.resource_policies import secret_policy
from components.iam.role_policies import readers_of
from components.naming import tags


class Secret(StackComponent):
    """A Secrets Manager secret that only named principals can read and that a Lambda function
    rotates.

    Why: The value exists only in Secrets Manager. No person knows the value, and no file or Pulumi
    state contains it. Enabling the rotation creates the first value. The pepper contains up to 100
    generations (see `runtime/functions/rotate.py`).

    kind: Kind of secret, which determines how the rotation function generates the value.
    function_arn: Rotation function. Resolves after Secrets Manager is allowed to invoke the
        function.
    replica: Region of a replica and the KMS key of the replica; None without a replica.
    """

    arn: pulumi.Output[str]
    """Full ARN. Resolves after the first rotation has been requested, so that dependent tasks start
    with a value.
    """

    def __init__(
        self,
        kind: str,
        stack: Stack,
        opts: pulumi.ResourceOptions,
        *,
        key_arn: pulumi.Input[str],
        function_arn: pulumi.Input[str],
        replica: RegionKey | None,
    ) -> None:
        super().__init__(kind, stack, opts)
        secret = aws.secretsmanager.Secret(
            kind,
            name=self.names.secret(kind),
            description=f"Gatehouse {kind}, generated and rotated by {self.names.name('rotate')}",
            kms_key_id=key_arn,
            recovery_window_in_days=self.settings.secrets.recovery_window_days,
            replicas=[{"region": replica.region, "kms_key_id": replica.key_arn}]
            if replica
            else None,
            tags=tags("secret"),
            opts=self.protected(),
        )
        policy = aws.secretsmanager.SecretPolicy(
            kind,
            secret_arn=secret.arn,
            policy=render(secret_policy(self.names, readers_of(stack, kind))),
            block_public_policy=True,
            opts=self.child,
        )
        rotation = aws.secretsmanager.SecretRotation(
            kind,
            secret_id=secret.arn,
            rotation_lambda_arn=function_arn,
            rotate_immediately=True,
            # The window of a rate would begin at midnight UTC. A window has to end on the same UTC
            # day (Secrets Manager User Guide, "Schedule expressions", 2026-11-29).
            rotation_rules={
                "schedule_expression": self.settings.secrets.rotation_schedule,
                "duration": "3h",
            },
            opts=self.after(policy),
        )
        self.arn = rotation.secret_id
        self.register_outputs({})
