"""AWS Backup: vaults, their locks and policies, plans and selections."""

from typing import Any

from sandbox.emulator.request import Created, CreateRequest
from sandbox.emulator.resource_type import PULUMI_ONLY, ResourceType


def _lock_vault(request: CreateRequest) -> Created:
    parameters = request.parameters("backup.put_backup_vault_lock_configuration")
    request.call("backup.put_backup_vault_lock_configuration", parameters)
    name = parameters["BackupVaultName"]
    return name, {"backupVaultArn": _vault_arn(request, name)}


def _vault_operation(operation: str) -> Any:
    """An operation on a vault that moto does not have: the request is validated and the vault must exist."""

    def validate(request: CreateRequest) -> Created:
        parameters = request.parameters(f"backup.{operation}", names={"snsTopicArn": "SNSTopicArn"})
        request.check(f"backup.{operation}", parameters)
        name = parameters["BackupVaultName"]
        return name, {"backupVaultArn": request.call("backup.describe_backup_vault", BackupVaultName=name)["BackupVaultArn"]}

    return validate


def _create_plan(request: CreateRequest) -> Created:
    """The API nests name and rules in one structure."""
    nested = {
        "schedule": "ScheduleExpression",
        "scheduleExpressionTimezone": "ScheduleExpressionTimezone",
        "startWindow": "StartWindowMinutes",
        "completionWindow": "CompletionWindowMinutes",
        "targetVaultName": "TargetBackupVaultName",
        "deleteAfter": "DeleteAfterDays",
        "coldStorageAfter": "MoveToColdStorageAfterDays",
        "destinationVaultArn": "DestinationBackupVaultArn",
    }
    body = {"backupPlanName": request.take("name"), "rules": request.take("rules")}
    plan = request.part("backup.create_backup_plan", "BackupPlan", body, nested)
    created = request.call("backup.create_backup_plan", BackupPlan=plan, BackupPlanTags=request.tags)
    return created["BackupPlanId"], {"arn": created["BackupPlanArn"], "version": created["VersionId"]}


def _validate_selection(request: CreateRequest) -> Created:
    """moto has no selections: the request is validated and the plan must exist."""
    plan = request.take("planId")
    request.call("backup.get_backup_plan", BackupPlanId=plan)
    body = {
        "selectionName": request.take("name"),
        "iamRoleArn": request.take("iamRoleArn"),
        "resources": request.take("resources") or [],
    }
    selection = request.part("backup.create_backup_selection", "BackupSelection", body)
    request.check("backup.create_backup_selection", {"BackupPlanId": plan, "BackupSelection": selection})
    return f"{plan}-{selection['SelectionName']}", {}


def _validate_region_settings(request: CreateRequest) -> Created:
    operation = "backup.update_region_settings"
    request.check(operation, request.parameters(operation))
    return request.region, {}


def _vault_arn(request: CreateRequest, name: str) -> str:
    return request.arn("backup", f"backup-vault:{name}")


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:backup/vault:Vault": ResourceType(
        call="backup.create_backup_vault",
        id="{name}",
        names={"name": "BackupVaultName", "kmsKeyArn": "EncryptionKeyArn"},
        outputs={"arn": "{BackupVaultArn}"},
        ignored={"forceDestroy": PULUMI_ONLY},
    ),
    "aws:backup/vaultLockConfiguration:VaultLockConfiguration": ResourceType(create=_lock_vault),
    "aws:backup/vaultPolicy:VaultPolicy": ResourceType(
        create=_vault_operation("put_backup_vault_access_policy"), modelled="moto has no PutBackupVaultAccessPolicy"
    ),
    "aws:backup/vaultNotifications:VaultNotifications": ResourceType(
        create=_vault_operation("put_backup_vault_notifications"), modelled="moto has no PutBackupVaultNotifications"
    ),
    "aws:backup/plan:Plan": ResourceType(create=_create_plan),
    "aws:backup/selection:Selection": ResourceType(create=_validate_selection, modelled="moto has no CreateBackupSelection"),
    "aws:backup/regionSettings:RegionSettings": ResourceType(
        create=_validate_region_settings, modelled="moto has no UpdateRegionSettings"
    ),
}
