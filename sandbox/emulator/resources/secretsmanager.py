"""Secrets Manager: secrets, their policies and rotation."""

from typing import Any

from sandbox.emulator import moto_patches
from sandbox.emulator.request import Created, CreateRequest
from sandbox.emulator.resource_type import PULUMI_ONLY, ResourceType


def _put_policy(request: CreateRequest) -> Created:
    arn = request.take("secretArn")
    block: dict[str, Any] = (
        {"BlockPublicPolicy": bool(request.peek("blockPublicPolicy"))} if request.take("blockPublicPolicy") is not None else {}
    )
    request.call("secretsmanager.put_resource_policy", SecretId=arn, ResourcePolicy=request.take("policy"), **block)
    return arn, {}


def _configure_rotation(request: CreateRequest) -> Created:
    """Set the schedule. The sandbox runs the rotation function itself, once, with the role of the function."""
    secret, function = request.take("secretId"), request.take("rotationLambdaArn")
    rules = request.part("secretsmanager.rotate_secret", "RotationRules", request.take("rotationRules") or {})
    parameters: dict[str, Any] = {"SecretId": secret, "RotationRules": rules}
    if request.take("rotateImmediately") is not None:
        parameters["RotateImmediately"] = request.peek("rotateImmediately")
    if function:
        parameters["RotationLambdaARN"] = function
        request.call("lambda.get_function", FunctionName=function)
    request.check("secretsmanager.rotate_secret", parameters)
    request.call("secretsmanager.describe_secret", SecretId=secret)
    moto_patches.set_secret_rotation(request, secret, function or "", rules.get("AutomaticallyAfterDays", 0))
    return secret, {"rotationEnabled": True}


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:secretsmanager/secret:Secret": ResourceType(
        call="secretsmanager.create_secret",
        id="{ARN}",
        ignored={"recoveryWindowInDays": PULUMI_ONLY},
        outputs={"arn": "{ARN}"},
    ),
    "aws:secretsmanager/secretPolicy:SecretPolicy": ResourceType(create=_put_policy),
    "aws:secretsmanager/secretRotation:SecretRotation": ResourceType(
        create=_configure_rotation,
        dropped={"rotationRules": "moto stores automaticallyAfterDays, not a schedule or a duration"},
    ),
}
