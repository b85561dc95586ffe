"""Secrets Manager: secrets, their policies and rotation."""

from typing import Any

from moto.secretsmanager.models import secretsmanager_backends

from sandbox.emulator.request import Make
from sandbox.emulator.resource_type import HOW_PULUMI_WORKS, Row


def _secret_policy(make: Make) -> tuple[str, dict[str, Any]]:
    arn = make.take("secretArn")
    block: dict[str, Any] = (
        {"BlockPublicPolicy": bool(make.peek("blockPublicPolicy"))} if make.take("blockPublicPolicy") is not None else {}
    )
    make.call("secretsmanager.put_resource_policy", SecretId=arn, ResourcePolicy=make.take("policy"), **block)
    return arn, {}


def _rotation_of_secret(make: Make) -> tuple[str, dict[str, Any]]:
    """Sets the schedule without running the function: moto wants Docker for it, and a secret with a value.

    AWS's model checks the request and the function must exist; the sandbox then runs the real handler once itself. Of
    the rules moto keeps only the number of days.
    """
    secret, function = make.take("secretId"), make.take("rotationLambdaArn")
    rules = make.part("secretsmanager.rotate_secret", "RotationRules", make.take("rotationRules") or {})
    request: dict[str, Any] = {"SecretId": secret, "RotationRules": rules}
    if make.take("rotateImmediately") is not None:
        request["RotateImmediately"] = make.peek("rotateImmediately")
    if function:
        request["RotationLambdaARN"] = function
        make.call("lambda.get_function", FunctionName=function)
    make.check("secretsmanager.rotate_secret", request)
    make.call("secretsmanager.describe_secret", SecretId=secret)
    held: Any = secretsmanager_backends[make.account][make.region].secrets[secret]
    held.rotation_requested = True
    held.rotation_enabled = True
    held.rotation_lambda_arn = function or ""
    held.auto_rotate_after_days = rules.get("AutomaticallyAfterDays", 0)
    return secret, {"rotationEnabled": True}


ROWS: dict[str, Row] = {
    "aws:secretsmanager/secret:Secret": Row(
        call="secretsmanager.create_secret",
        id="{ARN}",
        ignored={"recoveryWindowInDays": HOW_PULUMI_WORKS},
        outputs={"arn": "{ARN}"},
    ),
    "aws:secretsmanager/secretPolicy:SecretPolicy": Row(make=_secret_policy),
    "aws:secretsmanager/secretRotation:SecretRotation": Row(
        make=_rotation_of_secret,
        dropped={"rotationRules": "moto keeps automaticallyAfterDays of them, not a schedule or a duration"},
    ),
}
