"""A secret that the program never sees: made, held and rotated by AWS."""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.component import component_inputs
from components.iam.documents import Document, deny, document, render
from components.naming import Naming
from components.settings.data import ProtectionSettings, SecretsSettings
from components.tags import tags


@dataclass(frozen=True, kw_only=True)
class SecretArgs:
    """What a secret is told.

    names: the stack's names.
    kind: which secret; the rotation function makes the value by this word.
    reader_arns: ARNs of the roles that may read the value, patterns allowed.
    secrets: rotation period and recovery window, in days.
    protection: whether deletion is refused.
    key_arn: the KMS key.
    function_arn: the rotation function, once Secrets Manager may call it.
    """

    names: Naming
    kind: str
    reader_arns: tuple[str, ...]
    secrets: SecretsSettings
    protection: ProtectionSettings
    key_arn: pulumi.Input[str]
    function_arn: pulumi.Input[str]


class Secret(pulumi.ComponentResource):
    """A Secrets Manager secret without a value in the program, read by named roles alone and rotated by our function.

    Why: no person, file or state ever holds the value, and it changes without anybody's doing. Setting up the rotation
    makes the first value. Cost: 0.40 USD a month. Controls: GH-SM-001 to GH-SM-006.
    """

    arn: pulumi.Output[str]
    """The full ARN, known once the first rotation has been asked for, so that nothing starts before there is a value to
    come."""

    def __init__(self, name: str, args: SecretArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gatehouse:secrets:Secret", name, component_inputs(args), opts)
        secret = aws.secretsmanager.Secret(
            name,
            name=args.names.secret(args.kind),
            description=f"Gatehouse {args.kind}, made and rotated by {args.names.name('rotate')}",
            kms_key_id=args.key_arn,
            recovery_window_in_days=args.secrets.recovery_window_days,
            tags=tags("secret"),
            opts=pulumi.ResourceOptions(
                parent=self, protect=args.protection.protect, retain_on_delete=args.protection.retain_on_delete
            ),
        )
        policy = aws.secretsmanager.SecretPolicy(
            name,
            secret_arn=secret.arn,
            policy=render(secret_policy(args.names, args.reader_arns)),
            block_public_policy=True,
            opts=pulumi.ResourceOptions(parent=self),
        )
        rotation = aws.secretsmanager.SecretRotation(
            name,
            secret_id=secret.arn,
            rotation_lambda_arn=args.function_arn,
            rotate_immediately=True,
            rotation_rules=aws.secretsmanager.SecretRotationRotationRulesArgs(
                automatically_after_days=args.secrets.rotation_days
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[policy]),
        )
        self.arn = rotation.secret_id
        self.register_outputs({"arn": self.arn})


def secret_policy(names: Naming, readers: tuple[str, ...]) -> Document:
    """Whatever a role's own policy says, only the readers get the value, and nobody from another account gets
    anything."""
    return document(
        deny(
            "OnlyReaders",
            ["secretsmanager:GetSecretValue", "secretsmanager:BatchGetSecretValue"],
            ["*"],
            conditions={"ArnNotLike": {"aws:PrincipalArn": list(readers)}},
        ),
        deny(
            "OnlyOurAccount",
            ["secretsmanager:*"],
            ["*"],
            conditions={"StringNotEquals": {"aws:PrincipalAccount": names.account}},
        ),
    )
