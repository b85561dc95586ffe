"""KMS keys, replica keys and aliases, and Secrets Manager secrets with their policies and
rotation.
"""

from typing import Any

from sandbox.emulator import moto_patches
from sandbox.emulator.request import ChangeRequest, Created, CreateRequest
from sandbox.emulator.resource_type import AGAIN, ResourceType


def _configure_key(request: CreateRequest, key: dict[str, Any]) -> None:
    if request.take("enableKeyRotation"):
        period = request.take("rotationPeriodInDays")
        rotation: dict[str, Any] = {"RotationPeriodInDays": int(period)} if period else {}
        request.call("kms.enable_key_rotation", KeyId=key["KeyId"], **rotation)


def _update_key(request: ChangeRequest) -> None:
    changed, key = request.unused_changes, request.old.id
    if "policy" in changed and (policy := request.take("policy")):
        request.call("kms.put_key_policy", KeyId=key, PolicyName="default", Policy=policy)
    if "description" in changed:
        request.call(
            "kms.update_key_description", KeyId=key, Description=request.take("description") or ""
        )
    if {"enableKeyRotation", "rotationPeriodInDays"} & changed:
        if request.peek("enableKeyRotation"):
            _configure_key(request, {"KeyId": key})
        else:
            request.call("kms.disable_key_rotation", KeyId=key)
        request.attributes({"enableKeyRotation": "", "rotationPeriodInDays": ""})


def _delete_key(request: ChangeRequest) -> None:
    days = request.old.registration.inputs.get("deletionWindowInDays")
    request.call(
        "kms.schedule_key_deletion", KeyId=request.old.id, PendingWindowInDays=int(days or 30)
    )


def _replicas(request: CreateRequest) -> dict[str, Any]:
    """moto ignores the KMS keys of the replicas."""
    member = "AddReplicaRegions"
    replicas = request.part("secretsmanager.create_secret", member, request.take("replicas") or [])
    return {member: replicas} if replicas else {}


def _update_secret(request: ChangeRequest) -> None:
    """Change the secret. The replicas have calls of their own."""
    if "replicas" in request.unused_changes:
        _remove_replicas(request)
        if replicas := _replicas(request):
            request.call(
                "secretsmanager.replicate_secret_to_regions", replicas, SecretId=request.old.id
            )
    if request.unused_changes - {"replicas"}:
        names = {"description": "Description", "kmsKeyId": "KmsKeyId"}
        request.call(
            "secretsmanager.update_secret", request.attributes(names), SecretId=request.old.id
        )


def _remove_replicas(request: ChangeRequest) -> None:
    regions = [
        replica["region"] for replica in request.old.registration.inputs.get("replicas") or []
    ]
    if regions:
        request.call(
            "secretsmanager.remove_regions_from_replication",
            SecretId=request.old.id,
            RemoveReplicaRegions=regions,
        )


def _delete_secret(request: ChangeRequest) -> None:
    """Delete the secret and its replicas. As on AWS, its name cannot be used again before the
    recovery window ends.
    """
    _remove_replicas(request)
    days = request.old.registration.inputs.get("recoveryWindowInDays", 30)
    window: dict[str, Any] = (
        {"RecoveryWindowInDays": int(days)} if days else {"ForceDeleteWithoutRecovery": True}
    )
    request.call("secretsmanager.delete_secret", window, SecretId=request.old.id)


def _create_replica(request: CreateRequest) -> Created:
    """Replicate the key from the primary key's region, and set the policy and description, which
    moto copies from that key.
    """
    primary = str(request.take("primaryKeyArn"))
    key_id, primary_region = primary.rpartition("/")[2], primary.split(":")[3]
    parameters = request.parameters("kms.replicate_key")
    request.call(
        "kms.replicate_key",
        parameters,
        KeyId=key_id,
        ReplicaRegion=request.region,
        in_region=primary_region,
    )
    moto_patches.separate_replica_key(request, key_id)
    request.call(
        "kms.put_key_policy", KeyId=key_id, PolicyName="default", Policy=request.peek("policy")
    )
    request.call(
        "kms.update_key_description", KeyId=key_id, Description=request.peek("description")
    )
    return key_id, {"keyId": key_id, "arn": request.arn("kms", f"key/{key_id}")}


def _configure_rotation(request: CreateRequest) -> Created:
    """Set the schedule. The sandbox runs the rotation function itself, once, with the role of the
    function.
    """
    secret, function = request.peek("secretId"), request.peek("rotationLambdaArn")
    parameters = request.parameters("secretsmanager.rotate_secret")
    request.call("lambda.get_function", FunctionName=function)
    request.check("secretsmanager.rotate_secret", parameters)
    request.call("secretsmanager.describe_secret", SecretId=secret)
    moto_patches.set_secret_rotation(
        request, secret, function, parameters["RotationRules"]["AutomaticallyAfterDays"]
    )
    return secret, {"rotationEnabled": True}


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:kms/key:Key": ResourceType(
        call="kms.create_key",
        id="{KeyId}",
        names={"customerMasterKeySpec": "KeySpec"},
        defaults={"keyUsage": "ENCRYPT_DECRYPT"},  # moto omits an absent value from its responses
        finish=_configure_key,
        update=_update_key,
        delete=_delete_key,
    ),
    # moto does not store the tags of a replica key.
    "aws:kms/replicaKey:ReplicaKey": ResourceType(
        create=_create_replica, update=_update_key, delete=_delete_key, service="kms"
    ),
    "aws:kms/alias:Alias": ResourceType(
        call="kms.create_alias",
        id="{name}",
        outputs={"arn": "arn:aws:kms:{region}:{account}:{name}"},
    ),
    "aws:secretsmanager/secret:Secret": ResourceType(
        call="secretsmanager.create_secret",
        id="{ARN}",
        prepare=_replicas,
        update=_update_secret,
        delete=_delete_secret,
    ),
    "aws:secretsmanager/secretPolicy:SecretPolicy": ResourceType(
        call="secretsmanager.put_resource_policy",
        id="{secretArn}",
        names={"secretArn": "SecretId", "policy": "ResourcePolicy"},
    ),
    # moto stores automaticallyAfterDays, but no schedule or duration.
    "aws:secretsmanager/secretRotation:SecretRotation": ResourceType(
        create=_configure_rotation, update=AGAIN, delete="secretsmanager.cancel_rotate_secret"
    ),
}
