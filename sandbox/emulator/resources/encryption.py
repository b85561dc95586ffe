"""KMS keys, replica keys and aliases, and Secrets Manager secrets with their policies and
rotation.
"""

from typing import Any

from gatehouse_policies.analysis.schedules import longest_gap_days

from sandbox.emulator import moto_patches
from sandbox.emulator.request import ChangeRequest, Created, CreateRequest
from sandbox.emulator.resource_type import AGAIN, ResourceType, Setting, arn


def delete_key(request: ChangeRequest) -> None:
    days = request.old.registration.inputs.get("deletionWindowInDays")
    request.call(
        "kms.schedule_key_deletion", KeyId=request.old.id, PendingWindowInDays=int(days or 30)
    )


def replica_regions(request: CreateRequest) -> dict[str, Any]:
    """moto ignores the KMS keys of the replicas."""
    member = "AddReplicaRegions"
    replicas = request.part("secretsmanager.create_secret", member, request.take("replicas") or [])
    return {member: replicas} if replicas else {}


def update_secret(request: ChangeRequest) -> None:
    if "replicas" in request.unused_changes:
        _remove_replicas(request)
        if replicas := replica_regions(request):
            request.call(
                "secretsmanager.replicate_secret_to_regions", replicas, SecretId=request.old.id
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


def delete_secret(request: ChangeRequest) -> None:
    """Delete the secret and its replicas. As on AWS, its name cannot be used again before the
    recovery window ends.
    """
    _remove_replicas(request)
    days = request.old.registration.inputs.get("recoveryWindowInDays", 30)
    window: dict[str, Any] = (
        {"RecoveryWindowInDays": int(days)} if days else {"ForceDeleteWithoutRecovery": True}
    )
    request.call("secretsmanager.delete_secret", window, SecretId=request.old.id)


def create_replica(request: CreateRequest) -> Created:
    """Replicate the key from the primary key's region. moto copies the policy and description."""
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
    return key_id, {"keyId": key_id, "arn": request.arn("kms", f"key/{key_id}")}


def configure_rotation(request: CreateRequest) -> Created:
    """Set the schedule. The sandbox runs the rotation function itself, once, with the role of the
    function.
    """
    secret, function = request.peek("secretId"), request.peek("rotationLambdaArn")
    parameters = request.parameters("secretsmanager.rotate_secret")
    request.call("lambda.get_function", FunctionName=function)
    request.check("secretsmanager.rotate_secret", parameters)
    request.call("secretsmanager.describe_secret", SecretId=secret)
    rules = parameters["RotationRules"]
    schedule = rules.get("ScheduleExpression")
    days = int(longest_gap_days(schedule)) if schedule else rules["AutomaticallyAfterDays"]
    moto_patches.set_secret_rotation(request, secret, function, days)
    return secret, {"rotationEnabled": True}


TYPES = {
    # moto omits an absent keyUsage from its responses.
    "kms.Key": ResourceType(
        "kms.create_key",
        "{KeyId}",
        names={"customerMasterKeySpec": "KeySpec"},
        defaults={"keyUsage": "ENCRYPT_DECRYPT"},
        delete=delete_key,
        settings=(
            Setting(
                "kms.put_key_policy", ["policy"], parameters={"PolicyName": "default"}, created=True
            ),
            Setting("kms.update_key_description", ["description"], created=True),
            Setting(
                "kms.enable_key_rotation",
                ["enableKeyRotation", "rotationPeriodInDays"],
                removal="kms.disable_key_rotation",
            ),
        ),
    ),
    # moto does not store the tags of a replica key.
    "kms.ReplicaKey": ResourceType(
        create=create_replica,
        delete=delete_key,
        service="kms",
        settings=(
            Setting("kms.put_key_policy", ["policy"], parameters={"PolicyName": "default"}),
            Setting("kms.update_key_description", ["description"]),
        ),
    ),
    "kms.Alias": ResourceType("kms.create_alias", "{name}", outputs=arn("kms", "{name}")),
    "secretsmanager.Secret": ResourceType(
        "secretsmanager.create_secret",
        "{ARN}",
        prepare=replica_regions,
        update=update_secret,
        delete=delete_secret,
        settings=(
            Setting("secretsmanager.update_secret", ["description", "kmsKeyId"], created=True),
        ),
    ),
    "secretsmanager.SecretPolicy": ResourceType(
        "secretsmanager.put_resource_policy",
        "{secretArn}",
        names={"secretArn": "SecretId", "policy": "ResourcePolicy"},
    ),
    # moto stores the number of days, but no schedule or duration.
    "secretsmanager.SecretRotation": ResourceType(
        create=configure_rotation, update=AGAIN, delete="secretsmanager.cancel_rotate_secret"
    ),
}
