"""AWS Backup: vaults, their locks and policies, plans and selections."""

from typing import Any

from sandbox.emulator.request import Make
from sandbox.emulator.resource_type import HOW_PULUMI_WORKS, Row


def _lock(make: Make) -> tuple[str, dict[str, Any]]:
    parameters = make.parameters("backup.put_backup_vault_lock_configuration")
    make.call("backup.put_backup_vault_lock_configuration", parameters)
    name = parameters["BackupVaultName"]
    return name, {"backupVaultArn": _vault_arn(make, name)}


def _on_vault(operation: str) -> Any:
    """A call about a vault that moto lacks: AWS's model checks it, and the vault must exist."""

    def make_it(make: Make) -> tuple[str, dict[str, Any]]:
        parameters = make.parameters(f"backup.{operation}", names={"snsTopicArn": "SNSTopicArn"})
        make.check(f"backup.{operation}", parameters)
        name = parameters["BackupVaultName"]
        return name, {"backupVaultArn": make.call("backup.describe_backup_vault", BackupVaultName=name)["BackupVaultArn"]}

    return make_it


def _plan(make: Make) -> tuple[str, dict[str, Any]]:
    """The provider has the parts of the plan beside its name; the API has them inside of one structure."""
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
    body = {"backupPlanName": make.take("name"), "rules": make.take("rules")}
    plan = make.part("backup.create_backup_plan", "BackupPlan", body, nested)
    answer = make.call("backup.create_backup_plan", BackupPlan=plan, BackupPlanTags=make.tags)
    return answer["BackupPlanId"], {"arn": answer["BackupPlanArn"], "version": answer["VersionId"]}


def _selection(make: Make) -> tuple[str, dict[str, Any]]:
    """moto has no selections: AWS's model checks this one, and its plan must exist."""
    plan = make.take("planId")
    make.call("backup.get_backup_plan", BackupPlanId=plan)
    body = {
        "selectionName": make.take("name"),
        "iamRoleArn": make.take("iamRoleArn"),
        "resources": make.take("resources") or [],
    }
    selection = make.part("backup.create_backup_selection", "BackupSelection", body)
    make.check("backup.create_backup_selection", {"BackupPlanId": plan, "BackupSelection": selection})
    return f"{plan}-{selection['SelectionName']}", {}


def _region_settings(make: Make) -> tuple[str, dict[str, Any]]:
    operation = "backup.update_region_settings"
    make.check(operation, make.parameters(operation))
    return make.region, {}


def _vault_arn(make: Make, name: str) -> str:
    return f"arn:aws:backup:{make.region}:{make.account}:backup-vault:{name}"


ROWS: dict[str, Row] = {
    "aws:backup/vault:Vault": Row(
        call="backup.create_backup_vault",
        id="{name}",
        names={"name": "BackupVaultName", "kmsKeyArn": "EncryptionKeyArn"},
        outputs={"arn": "{BackupVaultArn}"},
        ignored={"forceDestroy": HOW_PULUMI_WORKS},
    ),
    "aws:backup/vaultLockConfiguration:VaultLockConfiguration": Row(make=_lock),
    "aws:backup/vaultPolicy:VaultPolicy": Row(
        make=_on_vault("put_backup_vault_access_policy"), modelled="moto has no PutBackupVaultAccessPolicy"
    ),
    "aws:backup/vaultNotifications:VaultNotifications": Row(
        make=_on_vault("put_backup_vault_notifications"), modelled="moto has no PutBackupVaultNotifications"
    ),
    "aws:backup/plan:Plan": Row(make=_plan),
    "aws:backup/selection:Selection": Row(make=_selection, modelled="moto has no CreateBackupSelection"),
    "aws:backup/regionSettings:RegionSettings": Row(make=_region_settings, modelled="moto has no UpdateRegionSettings"),
}
