"""S3 buckets and their configuration, and AWS Backup vaults, plans and selections."""

from typing import Any
from urllib.parse import urlencode

from pulumi_local.types import ACCOUNT
from pulumi_local.values import asset_bytes

from sandbox.emulator import moto_patches
from sandbox.emulator.request import ChangeRequest, Created, CreateRequest
from sandbox.emulator.resource_type import AGAIN, KEPT, ResourceType


def create_bucket(request: CreateRequest) -> Created:
    name = request.take("bucket")
    parameters: dict[str, Any] = {"Bucket": name}
    if request.region != "us-east-1":
        parameters["CreateBucketConfiguration"] = {"LocationConstraint": request.region}
    if request.take("objectLockEnabled"):
        parameters["ObjectLockEnabledForBucket"] = True
    request.call("s3.create_bucket", parameters)
    request.call("s3.put_bucket_tagging", Bucket=name, Tagging={"TagSet": request.tag_list()})
    return name, {"arn": f"arn:aws:s3:::{name}"}


def update_bucket(request: ChangeRequest) -> None:
    """Nothing but the tags of a bucket is changed without its replacement."""
    if "tagsAll" in request.changed:
        request.call(
            "s3.put_bucket_tagging", Bucket=request.old.id, Tagging={"TagSet": request.tag_list()}
        )


def _delete_versions(request: ChangeRequest, bucket: str, key: str = "") -> None:
    """Delete all versions of all objects, or of one object, and their delete markers."""
    rows = request.call("s3.list_object_versions", Bucket=bucket, Prefix=key)
    for row in (*rows.get("Versions", []), *rows.get("DeleteMarkers", [])):
        if key in ("", row["Key"]):
            parameters = {"Bucket": bucket, "Key": row["Key"], "VersionId": row["VersionId"]}
            request.call("s3.delete_object", parameters, BypassGovernanceRetention=True)


def delete_bucket(request: ChangeRequest) -> None:
    """Delete the bucket. AWS rejects the deletion of a bucket with objects, unless the provider
    deletes them (`forceDestroy`).
    """
    if request.old.registration.inputs.get("forceDestroy"):
        _delete_versions(request, request.old.id)
    request.call("s3.delete_bucket", Bucket=request.old.id)


def delete_object(request: ChangeRequest) -> None:
    _delete_versions(request, request.old.registration.inputs["bucket"], key=request.old.id)


def put_object(request: CreateRequest) -> Created:
    bucket, key = request.take("bucket"), request.take("key")
    headers = {
        "ContentType": request.take("contentType"),
        "CacheControl": request.take("cacheControl"),
    }
    tags = urlencode(request.tags)
    content = asset_bytes(request.take("source"))
    sent = {name: value for name, value in headers.items() if value}
    request.call("s3.put_object", Bucket=bucket, Key=key, Body=content, Tagging=tags, **sent)
    return key, {"arn": f"arn:aws:s3:::{bucket}/{key}"}


def set_account_public_access_block(request: CreateRequest) -> Created:
    account, call = request.take("accountId") or ACCOUNT, "s3control.put_public_access_block"
    parameters = request.parameters(
        call, body="PublicAccessBlockConfiguration", prepared={"AccountId": account}
    )
    request.check(call, parameters)
    moto_patches.set_account_public_access_block(
        account, parameters["PublicAccessBlockConfiguration"]
    )
    return account, {"accountId": account}


def delete_account_public_access_block(request: ChangeRequest) -> None:
    moto_patches.delete_account_public_access_block(request.old.id)


def plan_tags(request: CreateRequest) -> dict[str, Any]:
    return {"BackupPlanTags": request.tags}


def describe_vault(request: CreateRequest, _response: dict[str, Any]) -> dict[str, Any]:
    """Call DescribeBackupVault, which fails if the vault does not exist."""
    vault = request.call(
        "backup.describe_backup_vault", BackupVaultName=request.peek("backupVaultName")
    )
    return {"backupVaultArn": vault["BackupVaultArn"]}


def require_plan(request: CreateRequest, _response: dict[str, Any]) -> None:
    request.call("backup.get_backup_plan", BackupPlanId=request.peek("planId"))


def delete_plan(request: ChangeRequest) -> None:
    request.call("backup.delete_backup_plan", BackupPlanId=request.old.id)
    # moto keeps the plan, and rejects another plan with the same document.
    moto_patches.remove(request, "backup", "plans", request.old.id)


TYPES = {
    "s3.AccountPublicAccessBlock": ResourceType(
        create=set_account_public_access_block,
        update=AGAIN,
        delete=delete_account_public_access_block,
    ),
    "s3.Bucket": ResourceType(create=create_bucket, update=update_bucket, delete=delete_bucket),
    "s3.BucketReplicationConfig": ResourceType(
        "s3.put_bucket_replication", "{bucket}", "ReplicationConfiguration"
    ),
    "s3.BucketVersioning": ResourceType(
        "s3.put_bucket_versioning",
        "{bucket}",
        delete="s3.put_bucket_versioning",
        delete_parameters={"VersioningConfiguration": {"Status": "Suspended"}},
    ),
    "s3.BucketServerSideEncryptionConfiguration": ResourceType(
        "s3.put_bucket_encryption", "{bucket}", "ServerSideEncryptionConfiguration"
    ),
    "s3.BucketPublicAccessBlock": ResourceType(
        "s3.put_public_access_block", "{bucket}", "PublicAccessBlockConfiguration"
    ),
    "s3.BucketOwnershipControls": ResourceType(
        "s3.put_bucket_ownership_controls", "{bucket}", "OwnershipControls"
    ),
    "s3.BucketObjectv2": ResourceType(create=put_object, update=AGAIN, delete=delete_object),
    "s3.BucketPolicy": ResourceType("s3.put_bucket_policy", "{bucket}"),
    "s3.BucketLogging": ResourceType(
        "s3.put_bucket_logging",
        "{bucket}",
        "BucketLoggingStatus.LoggingEnabled",
        delete="s3.put_bucket_logging",
        delete_parameters={"BucketLoggingStatus": {}},
    ),
    "s3.BucketLifecycleConfiguration": ResourceType(
        "s3.put_bucket_lifecycle_configuration",
        "{bucket}",
        "LifecycleConfiguration",
        delete="s3.delete_bucket_lifecycle",
    ),
    "s3.BucketObjectLockConfiguration": ResourceType(
        "s3.put_object_lock_configuration",
        "{bucket}",
        "ObjectLockConfiguration",
        defaults={"objectLockEnabled": "Enabled"},
        delete=KEPT,
    ),
    "backup.Vault": ResourceType(
        "backup.create_backup_vault", "{name}", names={"kmsKeyArn": "EncryptionKeyArn"}
    ),
    "backup.VaultLockConfiguration": ResourceType(
        "backup.put_backup_vault_lock_configuration", "{backupVaultName}", finish=describe_vault
    ),
    "backup.VaultPolicy": ResourceType(
        "backup.put_backup_vault_access_policy",
        "{backupVaultName}",
        finish=describe_vault,
        modelled="moto has no PutBackupVaultAccessPolicy",
    ),
    "backup.VaultNotifications": ResourceType(
        "backup.put_backup_vault_notifications",
        "{backupVaultName}",
        finish=describe_vault,
        modelled="moto has no PutBackupVaultNotifications",
    ),
    "backup.Plan": ResourceType(
        "backup.create_backup_plan",
        "{BackupPlanId}",
        "BackupPlan",
        outputs={"version": "{VersionId}"},
        prepare=plan_tags,
        delete=delete_plan,
        names={
            "schedule": "ScheduleExpression",
            "startWindow": "StartWindowMinutes",
            "completionWindow": "CompletionWindowMinutes",
            "targetVaultName": "TargetBackupVaultName",
            "deleteAfter": "DeleteAfterDays",
            "destinationVaultArn": "DestinationBackupVaultArn",
        },
    ),
    "backup.Selection": ResourceType(
        "backup.create_backup_selection",
        "{planId}-{name}",
        "BackupSelection",
        names={"planId": "BackupPlanId"},
        finish=require_plan,
        modelled="moto has no CreateBackupSelection",
    ),
    "backup.RegionSettings": ResourceType(
        "backup.update_region_settings", "{region}", modelled="moto has no UpdateRegionSettings"
    ),
}
