"""AWS Backup: vaults, their locks and policies, plans and selections."""

from typing import Any

from sandbox.emulator.request import CreateRequest
from sandbox.emulator.resource_type import ResourceType

_PLAN = {
    "schedule": "ScheduleExpression",
    "startWindow": "StartWindowMinutes",
    "completionWindow": "CompletionWindowMinutes",
    "targetVaultName": "TargetBackupVaultName",
    "deleteAfter": "DeleteAfterDays",
    "coldStorageAfter": "MoveToColdStorageAfterDays",
    "destinationVaultArn": "DestinationBackupVaultArn",
}


def _describe_vault(request: CreateRequest, _response: dict[str, Any]) -> dict[str, Any]:
    """Fails if the vault does not exist."""
    vault = request.call("backup.describe_backup_vault", BackupVaultName=request.peek("backupVaultName"))
    return {"backupVaultArn": vault["BackupVaultArn"]}


def _plan_tags(request: CreateRequest) -> dict[str, Any]:
    return {"BackupPlanTags": request.tags}


def _require_plan(request: CreateRequest, _response: dict[str, Any]) -> None:
    request.call("backup.get_backup_plan", BackupPlanId=request.peek("planId"))


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:backup/vault:Vault": ResourceType(
        call="backup.create_backup_vault", id="{name}", names={"kmsKeyArn": "EncryptionKeyArn"}
    ),
    "aws:backup/vaultLockConfiguration:VaultLockConfiguration": ResourceType(
        call="backup.put_backup_vault_lock_configuration", id="{backupVaultName}", finish=_describe_vault
    ),
    "aws:backup/vaultPolicy:VaultPolicy": ResourceType(
        call="backup.put_backup_vault_access_policy",
        id="{backupVaultName}",
        finish=_describe_vault,
        modelled="moto has no PutBackupVaultAccessPolicy",
    ),
    "aws:backup/vaultNotifications:VaultNotifications": ResourceType(
        call="backup.put_backup_vault_notifications",
        id="{backupVaultName}",
        finish=_describe_vault,
        modelled="moto has no PutBackupVaultNotifications",
    ),
    "aws:backup/plan:Plan": ResourceType(
        call="backup.create_backup_plan",
        id="{BackupPlanId}",
        body="BackupPlan",
        nested=_PLAN,
        prepare=_plan_tags,
        outputs={"version": "{VersionId}"},
    ),
    "aws:backup/selection:Selection": ResourceType(
        call="backup.create_backup_selection",
        id="{planId}-{name}",
        body="BackupSelection",
        names={"planId": "BackupPlanId"},
        defaults={"resources": []},
        finish=_require_plan,
        modelled="moto has no CreateBackupSelection",
    ),
    "aws:backup/regionSettings:RegionSettings": ResourceType(
        call="backup.update_region_settings", id="{region}", modelled="moto has no UpdateRegionSettings"
    ),
}
