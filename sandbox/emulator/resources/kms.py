"""KMS keys, replicas and aliases."""

from typing import Any

from sandbox.emulator import moto_patches
from sandbox.emulator.request import Created, CreateRequest
from sandbox.emulator.resource_type import PULUMI_ONLY, ResourceType


def _set_default_usage(request: CreateRequest, parameters: dict[str, Any]) -> None:
    """AWS's default, which moto omits from its responses."""
    parameters.setdefault("KeyUsage", "ENCRYPT_DECRYPT")


def _configure_key(request: CreateRequest, key: dict[str, Any]) -> dict[str, Any]:
    if request.take("enableKeyRotation"):
        period = request.take("rotationPeriodInDays")
        rotation: dict[str, Any] = {"RotationPeriodInDays": int(period)} if period else {}
        request.call("kms.enable_key_rotation", KeyId=key["KeyId"], **rotation)
        moto_patches.set_key_rotation(request, key["KeyId"], int(period or 365))
    if request.take("isEnabled") is False:
        request.call("kms.disable_key", KeyId=key["KeyId"])
    return {"keyId": key["KeyId"]}


def _create_replica(request: CreateRequest) -> Created:
    """Replicate the key from the region of the primary; moto copies policy and description, which are then set here."""
    primary = str(request.take("primaryKeyArn"))
    key_id, primary_region = primary.rpartition("/")[2], primary.split(":")[3]
    parameters = request.parameters("kms.replicate_key")
    request.call("kms.replicate_key", parameters, KeyId=key_id, ReplicaRegion=request.region, in_region=primary_region)
    moto_patches.separate_replica_key(request, key_id)
    policy, description = request.peek("policy"), request.peek("description")
    if policy:
        request.call("kms.put_key_policy", KeyId=key_id, PolicyName="default", Policy=policy)
    if description:
        request.call("kms.update_key_description", KeyId=key_id, Description=description)
    if request.take("enabled") is False:
        request.call("kms.disable_key", KeyId=key_id)
    metadata = request.call("kms.describe_key", KeyId=key_id)["KeyMetadata"]
    return key_id, {"keyId": key_id, "arn": metadata["Arn"]}


def _create_alias(request: CreateRequest) -> Created:
    name, target = request.take("name"), request.take("targetKeyId")
    request.call("kms.create_alias", AliasName=name, TargetKeyId=target)
    key = request.call("kms.describe_key", KeyId=target)["KeyMetadata"]["Arn"]
    return name, {"arn": request.arn("kms", name), "targetKeyArn": key}


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:kms/key:Key": ResourceType(
        call="kms.create_key",
        result="KeyMetadata",
        id="{KeyId}",
        names={"customerMasterKeySpec": "KeySpec"},
        prepare=_set_default_usage,
        finish=_configure_key,
        handled=("enableKeyRotation", "rotationPeriodInDays", "isEnabled"),
        ignored={"deletionWindowInDays": PULUMI_ONLY},
    ),
    "aws:kms/replicaKey:ReplicaKey": ResourceType(
        create=_create_replica,
        ignored={"deletionWindowInDays": PULUMI_ONLY},
        dropped={"tags": "moto does not tag replica keys"},
    ),
    "aws:kms/alias:Alias": ResourceType(create=_create_alias),
}
