"""S3 buckets and their configuration, and AWS Backup vaults, plans and selections."""

from typing import Any
from urllib.parse import urlencode

from gatehouse_policies.program.types import ACCOUNT
from gatehouse_policies.program.values import asset_bytes

from sandbox.emulator import moto_patches
from sandbox.emulator.request import ChangeRequest, Created, CreateRequest
from sandbox.emulator.resource_type import AGAIN, KEPT, ResourceType

_BACKUP_PLAN = {
    "schedule": "ScheduleExpression",
    "startWindow": "StartWindowMinutes",
    "completionWindow": "CompletionWindowMinutes",
    "targetVaultName": "TargetBackupVaultName",
    "deleteAfter": "DeleteAfterDays",
    "destinationVaultArn": "DestinationBackupVaultArn",
}


def _create_bucket(request: CreateRequest) -> Created:
    name = request.take("bucket")
    parameters: dict[str, Any] = {"Bucket": name}
    if request.region != "us-east-1":
        parameters["CreateBucketConfiguration"] = {"LocationConstraint": request.region}
    if request.take("objectLockEnabled"):
        parameters["ObjectLockEnabledForBucket"] = True
    request.call("s3.create_bucket", parameters)
    request.call("s3.put_bucket_tagging", Bucket=name, Tagging={"TagSet": request.tag_list()})
    return name, {"arn": f"arn:aws:s3:::{name}"}


def _update_bucket(request: ChangeRequest) -> None:
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


def _delete_bucket(request: ChangeRequest) -> None:
    """Delete the bucket. AWS rejects the deletion of a bucket with objects, unless the provider
    deletes them (`forceDestroy`).
    """
    if request.old.registration.inputs.get("forceDestroy"):
        _delete_versions(request, request.old.id)
    request.call("s3.delete_bucket", Bucket=request.old.id)


def _delete_object(request: ChangeRequest) -> None:
    _delete_versions(request, request.old.registration.inputs["bucket"], key=request.old.id)


def _suspend_versioning(request: ChangeRequest) -> None:
    request.call(
        "s3.put_bucket_versioning",
        Bucket=request.old.id,
        VersioningConfiguration={"Status": "Suspended"},
    )


def _disable_logging(request: ChangeRequest) -> None:
    request.call("s3.put_bucket_logging", Bucket=request.old.id, BucketLoggingStatus={})


def _put_object(request: CreateRequest) -> Created:
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


def _set_account_public_access_block(request: CreateRequest) -> Created:
    account, call = request.take("accountId") or ACCOUNT, "s3control.put_public_access_block"
    parameters = request.parameters(
        call, body="PublicAccessBlockConfiguration", prepared={"AccountId": account}
    )
    request.check(call, parameters)
    moto_patches.set_account_public_access_block(
        account, parameters["PublicAccessBlockConfiguration"]
    )
    return account, {"accountId": account}


def _setting(operation: str, **fields: Any) -> ResourceType:
    return ResourceType(f"s3.{operation}", "{bucket}", **fields)


def _describe_vault(request: CreateRequest, _response: dict[str, Any]) -> dict[str, Any]:
    """Call DescribeBackupVault, which fails if the vault does not exist."""
    vault = request.call(
        "backup.describe_backup_vault", BackupVaultName=request.peek("backupVaultName")
    )
    return {"backupVaultArn": vault["BackupVaultArn"]}


def _require_plan(request: CreateRequest, _response: dict[str, Any]) -> None:
    request.call("backup.get_backup_plan", BackupPlanId=request.peek("planId"))


def _delete_plan(request: ChangeRequest) -> None:
    request.call("backup.delete_backup_plan", BackupPlanId=request.old.id)
    # moto keeps the plan, and rejects another plan with the same document.
    moto_patches.remove(request, "backup", "plans", request.old.id)


RESOURCE_TYPES: dict[str, ResourceType] = {
    "s3.AccountPublicAccessBlock": ResourceType(
        create=_set_account_public_access_block,
        update=AGAIN,
        delete=lambda request: moto_patches.delete_account_public_access_block(request.old.id),
    ),
    "s3.Bucket": ResourceType(create=_create_bucket, update=_update_bucket, delete=_delete_bucket),
    "s3.BucketReplicationConfig": _setting(
        "put_bucket_replication", body="ReplicationConfiguration"
    ),
    "s3.BucketVersioning": _setting("put_bucket_versioning", delete=_suspend_versioning),
    "s3.BucketServerSideEncryptionConfiguration": _setting(
        "put_bucket_encryption", body="ServerSideEncryptionConfiguration"
    ),
    "s3.BucketPublicAccessBlock": _setting(
        "put_public_access_block", body="PublicAccessBlockConfiguration"
    ),
    "s3.BucketOwnershipControls": _setting(
        "put_bucket_ownership_controls", body="OwnershipControls"
    ),
    "s3.BucketObjectv2": ResourceType(create=_put_object, update=AGAIN, delete=_delete_object),
    "s3.BucketPolicy": _setting("put_bucket_policy"),
    "s3.BucketLogging": _setting(
        "put_bucket_logging", body="BucketLoggingStatus.LoggingEnabled", delete=_disable_logging
    ),
    "s3.BucketLifecycleConfiguration": _setting(
        "put_bucket_lifecycle_configuration",
        body="LifecycleConfiguration",
        delete="s3.delete_bucket_lifecycle",
    ),
    "s3.BucketObjectLockConfiguration": _setting(
        "put_object_lock_configuration",
        body="ObjectLockConfiguration",
        defaults={"objectLockEnabled": "Enabled"},
        delete=KEPT,
    ),
    "backup.Vault": ResourceType(
        "backup.create_backup_vault", "{name}", names={"kmsKeyArn": "EncryptionKeyArn"}
    ),
    "backup.VaultLockConfiguration": ResourceType(
        "backup.put_backup_vault_lock_configuration", "{backupVaultName}", finish=_describe_vault
    ),
    "backup.VaultPolicy": ResourceType(
        "backup.put_backup_vault_access_policy",
        "{backupVaultName}",
        finish=_describe_vault,
        modelled="moto has no PutBackupVaultAccessPolicy",
    ),
    "backup.VaultNotifications": ResourceType(
        "backup.put_backup_vault_notifications",
        "{backupVaultName}",
        finish=_describe_vault,
        modelled="moto has no PutBackupVaultNotifications",
    ),
    "backup.Plan": ResourceType(
        "backup.create_backup_plan",
        "{BackupPlanId}",
        delete=_delete_plan,
        body="BackupPlan",
        names=_BACKUP_PLAN,
        prepare=lambda request: {"BackupPlanTags": request.tags},
        outputs={"version": "{VersionId}"},
    ),
    "backup.Selection": ResourceType(
        "backup.create_backup_selection",
        "{planId}-{name}",
        body="BackupSelection",
        names={"planId": "BackupPlanId"},
        finish=_require_plan,
        modelled="moto has no CreateBackupSelection",
    ),
    "backup.RegionSettings": ResourceType(
        "backup.update_region_settings", "{region}", modelled="moto has no UpdateRegionSettings"
    ),
}
