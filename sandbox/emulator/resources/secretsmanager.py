"""Secrets Manager: secrets, their policies and rotation."""

from sandbox.emulator import moto_patches
from sandbox.emulator.request import Created, CreateRequest
from sandbox.emulator.resource_type import ResourceType


def _configure_rotation(request: CreateRequest) -> Created:
    """Set the schedule. The sandbox runs the rotation function itself, once, with the role of the function."""
    secret, function = request.peek("secretId"), request.peek("rotationLambdaArn")
    parameters = request.parameters("secretsmanager.rotate_secret", defaults={"rotationRules": {}})
    if function:
        request.call("lambda.get_function", FunctionName=function)
    request.check("secretsmanager.rotate_secret", parameters)
    request.call("secretsmanager.describe_secret", SecretId=secret)
    days = parameters["RotationRules"].get("AutomaticallyAfterDays", 0)
    moto_patches.set_secret_rotation(request, secret, function or "", days)
    return secret, {"rotationEnabled": True}


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:secretsmanager/secret:Secret": ResourceType(call="secretsmanager.create_secret", id="{ARN}"),
    "aws:secretsmanager/secretPolicy:SecretPolicy": ResourceType(
        call="secretsmanager.put_resource_policy",
        id="{secretArn}",
        names={"secretArn": "SecretId", "policy": "ResourcePolicy"},
    ),
    "aws:secretsmanager/secretRotation:SecretRotation": ResourceType(
        create=_configure_rotation,
        dropped={"rotationRules": "moto stores automaticallyAfterDays, not a schedule or a duration"},
    ),
}
