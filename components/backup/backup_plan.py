"""AWS Backup: daily backups of all data stores in protected vaults."""

from collections.abc import Sequence

import pulumi
import pulumi_aws as aws

from components.component import RegionKey, StackComponent, Topics
from components.context import Stack
from components.iam.backup_roles import VAULT, vault_policy
from components.iam.documents import render
from components.naming import tags

SCHEDULE = "cron(0 5 * * ? *)"
"""Daily at 05:00 UTC. RDS rejects backups in the hour before its backup or maintenance window."""
GRACE_DAYS = 3
"""Number of days during which a COMPLIANCE lock can be removed. AWS Backup accepts no lower
value.
"""
NOTIFIED_EVENTS = ("RESTORE_JOB_COMPLETED", "RECOVERY_POINT_MODIFIED", "S3_BACKUP_OBJECT_FAILED")
"""Vault events that are published to the topic. The event rule `backup-failed` reports failed
backup and copy jobs."""


class BackupPlan(StackComponent):
    """A backup vault with a separate key and a daily plan for all data stores, optionally with
    vault lock and a second region.

    Why: Point-in-time recovery ends when the database, table or bucket is deleted. The backups in
    the vaults are separate, use another key, and are protected from deletion by the vault policy
    and the lock.

    replica: Destination of the copies and KMS key of its vault; None if no copies are made.
    """

    def __init__(
        self,
        name: str,
        stack: Stack,
        opts: pulumi.ResourceOptions,
        *,
        key_arn: pulumi.Input[str],
        role_arn: pulumi.Input[str],
        topics: Topics,
        resources: Sequence[pulumi.Input[str]],
        replica: RegionKey | None,
    ) -> None:
        super().__init__(name, stack, opts)
        vault = self._vault("main", key_arn, None)
        aws.backup.VaultNotifications(
            "main",
            backup_vault_name=vault.name,
            sns_topic_arn=topics.notices["backup"],
            backup_vault_events=list(NOTIFIED_EVENTS),
            opts=self.child,
        )
        copies = self._vault("replica", replica.key_arn, replica.region) if replica else None
        lifecycle: aws.backup.PlanRuleLifecycleArgsDict = {
            "delete_after": self.settings.backup.retention_days
        }
        plan = aws.backup.Plan(
            name,
            name=self.names.name("daily"),
            rules=[
                {
                    "rule_name": "daily",
                    "target_vault_name": vault.name,
                    "schedule": SCHEDULE,
                    "start_window": 60,
                    "completion_window": 360,
                    "lifecycle": lifecycle,
                    "copy_actions": [{"destination_vault_arn": copies.arn, "lifecycle": lifecycle}]
                    if copies
                    else [],
                    "recovery_point_tags": tags("confidential"),
                }
            ],
            tags=tags("internal"),
            opts=self.child,
        )
        aws.backup.Selection(
            name,
            name=self.names.name("stores"),
            plan_id=plan.id,
            iam_role_arn=role_arn,
            resources=list(resources),
            opts=self.child,
        )
        self.register_outputs({})

    def _vault(self, name: str, key_arn: pulumi.Input[str], region: str | None) -> aws.backup.Vault:
        settings = self.settings
        vault = aws.backup.Vault(
            name,
            name=self.names.name(VAULT),
            region=region,
            kms_key_arn=key_arn,
            force_destroy=settings.buckets.force_destroy,
            tags=tags("confidential"),
            opts=self.protected(),
        )
        # The policy denies the deletion of recovery points, which would prevent Pulumi from
        # emptying the vault.
        if not settings.buckets.force_destroy:
            aws.backup.VaultPolicy(
                name,
                backup_vault_name=vault.name,
                region=region,
                policy=render(vault_policy(self.names)),
                opts=self.protected(),
            )
        if settings.backup.vault_lock != "none":
            aws.backup.VaultLockConfiguration(
                name,
                backup_vault_name=vault.name,
                region=region,
                min_retention_days=settings.backup.retention_days,
                changeable_for_days=GRACE_DAYS
                if settings.backup.vault_lock == "COMPLIANCE"
                else None,
                opts=self.protected(),
            )
        return vault
