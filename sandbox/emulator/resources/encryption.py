"""KMS keys, replicas and aliases, and Secrets Manager secrets, their policies and rotation."""

from typing import Any

from sandbox.emulator import moto_patches
from sandbox.emulator.request import Created, CreateRequest
from sandbox.emulator.resource_type import ResourceType


def _configure_key(request: CreateRequest, key: dict[str, Any]) -> None:
    if request.take("enableKeyRotation"):
        period = request.take("rotationPeriodInDays")
        rotation: dict[str, Any] = {"RotationPeriodInDays": int(period)} if period else {}
        request.call("kms.enable_key_rotation", KeyId=key["KeyId"], **rotation)
        moto_patches.set_key_rotation(request, key["KeyId"], int(period or 365))
    if request.take("isEnabled") is False:
        request.call("kms.disable_key", KeyId=key["KeyId"])


def _create_replica(request: CreateRequest) -> Created:
    """Replicate the key from the region of the primary; moto copies policy and description, which are then set here."""
    primary = str(request.take("primaryKeyArn"))
    key_id, primary_region = primary.rpartition("/")[2], primary.split(":")[3]
    parameters = request.parameters("kms.replicate_key")
    request.call("kms.replicate_key", parameters, KeyId=key_id, ReplicaRegion=request.region, in_region=primary_region)
    moto_patches.separate_replica_key(request, key_id)
    if policy := request.peek("policy"):
        request.call("kms.put_key_policy", KeyId=key_id, PolicyName="default", Policy=policy)
    if description := request.peek("description"):
        request.call("kms.update_key_description", KeyId=key_id, Description=description)
    if request.take("enabled") is False:
        request.call("kms.disable_key", KeyId=key_id)
    return key_id, {"keyId": key_id, "arn": _arn(request, key_id)}


def _describe_alias(request: CreateRequest, _response: dict[str, Any]) -> dict[str, Any]:
    return {"arn": request.arn("kms", request.peek("name")), "targetKeyArn": _arn(request, request.peek("targetKeyId"))}


def _arn(request: CreateRequest, key: str) -> str:
    return str(request.call("kms.describe_key", KeyId=key)["KeyMetadata"]["Arn"])


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
    "aws:kms/key:Key": ResourceType(
        call="kms.create_key",
        id="{KeyId}",
        names={"customerMasterKeySpec": "KeySpec"},
        defaults={"keyUsage": "ENCRYPT_DECRYPT"},  # moto omits it from its responses otherwise
        finish=_configure_key,
    ),
    "aws:kms/replicaKey:ReplicaKey": ResourceType(create=_create_replica, dropped={"tags": "moto does not tag replica keys"}),
    "aws:kms/alias:Alias": ResourceType(call="kms.create_alias", id="{name}", finish=_describe_alias),
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
