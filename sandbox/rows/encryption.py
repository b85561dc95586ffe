"""KMS keys and aliases, and Secrets Manager."""

from typing import Any

from moto.secretsmanager.models import secretsmanager_backends

from sandbox.rows import kept
from sandbox.rows.make import Make
from sandbox.rows.row import HOW_PULUMI_WORKS, Row


def _usage(make: Make, parameters: dict[str, Any]) -> None:
    """AWS's own default, which moto leaves out of its answers."""
    parameters.setdefault("KeyUsage", "ENCRYPT_DECRYPT")


def _rotation_of_key(make: Make, key: dict[str, Any]) -> dict[str, Any]:
    if make.take("enableKeyRotation"):
        period = make.take("rotationPeriodInDays")
        more: dict[str, Any] = {"RotationPeriodInDays": int(period)} if period else {}
        make.call("kms.enable_key_rotation", KeyId=key["KeyId"], **more)
        kept.key_rotation(make, key["KeyId"], int(period or 365))
    if make.take("isEnabled") is False:
        make.call("kms.disable_key", KeyId=key["KeyId"])
    return {"keyId": key["KeyId"]}


def _replica(make: Make) -> tuple[str, dict[str, Any]]:
    """The primary's region makes the replica, which then has a policy and a description of its own.

    moto copies the primary for it, so it is put right in the replica's region afterwards.
    """
    primary = str(make.take("primaryKeyArn"))
    name, home = primary.rpartition("/")[2], primary.split(":")[3]
    request = make.parameters("kms.replicate_key")
    make.call("kms.replicate_key", request, KeyId=name, ReplicaRegion=make.region, in_region=home)
    kept.replica_key(make, name)
    policy, words = make.peek("policy"), make.peek("description")
    if policy:
        make.call("kms.put_key_policy", KeyId=name, PolicyName="default", Policy=policy)
    if words:
        make.call("kms.update_key_description", KeyId=name, Description=words)
    if make.take("enabled") is False:
        make.call("kms.disable_key", KeyId=name)
    found = make.call("kms.describe_key", KeyId=name)["KeyMetadata"]
    return name, {"keyId": name, "arn": found["Arn"]}


def _alias(make: Make) -> tuple[str, dict[str, Any]]:
    name, target = make.take("name"), make.take("targetKeyId")
    make.call("kms.create_alias", AliasName=name, TargetKeyId=target)
    key = make.call("kms.describe_key", KeyId=target)["KeyMetadata"]["Arn"]
    return name, {"arn": f"arn:aws:kms:{make.region}:{make.account}:{name}", "targetKeyArn": key}


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
    "aws:kms/key:Key": Row(
        call="kms.create_key",
        reply="KeyMetadata",
        id="{KeyId}",
        names={"customerMasterKeySpec": "KeySpec"},
        shape=_usage,
        then=_rotation_of_key,
        by_hand=("enableKeyRotation", "rotationPeriodInDays", "isEnabled"),
        ignored={"deletionWindowInDays": HOW_PULUMI_WORKS},
    ),
    "aws:kms/replicaKey:ReplicaKey": Row(
        make=_replica,
        ignored={"deletionWindowInDays": HOW_PULUMI_WORKS},
        dropped={"tags": "moto gives a replica the tags of no region"},
    ),
    "aws:kms/alias:Alias": Row(make=_alias),
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
