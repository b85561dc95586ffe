"""S3 buckets and their configuration, and AWS Backup vaults, plans and selections."""

from typing import Any
from urllib.parse import urlencode

from pulumi_local.types import ACCOUNT
from pulumi_local.values import asset_bytes

from sandbox.emulator import moto_patches
from sandbox.emulator.request import ChangeRequest, Created, CreateRequest


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
