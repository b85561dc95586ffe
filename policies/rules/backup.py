"""Rules about AWS Backup: that copies are made, of everything that holds data, where nobody can delete them."""

import re

from policies.analysis import type_tokens as tokens
from policies.analysis.iam import document as iam_document
from policies.analysis.iam.grammar import matches
from policies.analysis.properties import Props
from policies.analysis.resources import Resource, Stack
from policies.engine.rule import AFTER_DEV, Found, Severity, Upstream, levels, resource_rule, stack_rule
from policies.rules.s3 import is_a_copy

_GUIDE = "https://docs.aws.amazon.com/aws-backup/latest/devguide"
_DAILY = re.compile(r"cron\(\S+ \S+ (\*|\?|\*/1|1/1) \* (\?|\*) \*\)|rate\((1 day|\d+ hours?)\)")


@resource_rule(
    "GH-BAK-001",
    title="Backups are encrypted with a customer key",
    why="A backup is the whole database again; a key of its own decides who may read it.",
    remedy="set kmsKeyArn on the vault",
    severity=Severity.MEDIUM,
    types=tokens.BACKUP_VAULT,
    levels=AFTER_DEV,
    upstream=Upstream(security_hub=("Backup.1",), checkov=("CKV_AWS_166",), prowler=("backup_vaults_encrypted",)),
    url=f"{_GUIDE}/encryption.html",
)
def vaults_have_a_customer_key(vault: Resource) -> Found:
    if not vault.props.has("kmsKeyArn"):
        yield "kmsKeyArn is not set, so the key is the one that AWS manages"


@stack_rule(
    "GH-BAK-002",
    title="Nobody can delete a backup before its time",
    why="Who holds the account for ransom deletes the backups first; a lock refuses that to everybody.",
    remedy=(
        "add an aws.backup.VaultLockConfiguration with minRetentionDays, and an aws.backup.VaultPolicy that denies "
        "backup:DeleteRecoveryPoint to everyone"
    ),
    severity=Severity.HIGH,
    types=tokens.BACKUP_VAULT,
    levels=levels("-", "A", "M"),
    url=f"{_GUIDE}/vault-lock.html",
)
def backups_stay(vault: Resource, stack: Stack) -> Found:
    locks = stack.users(vault, tokens.BACKUP_VAULT_LOCK, "backupVaultName")
    if not any(lock.props.number("minRetentionDays") > 0 for lock in locks):
        yield "no lock with minRetentionDays belongs to this vault"
    policies = stack.users(vault, tokens.BACKUP_VAULT_POLICY, "backupVaultName")
    if not any(_refuses_deletion(policy) for policy in policies):
        yield "no policy of this vault denies backup:DeleteRecoveryPoint to everyone"


def _refuses_deletion(policy: Resource) -> bool:
    document = iam_document.parse(policy.props.value("policy"))
    return any(deny.is_for_everyone() and deny.covers_action("backup:DeleteRecoveryPoint") for deny in document.denies)


@resource_rule(
    "GH-BAK-003",
    title="Backups are made daily, kept for five weeks, and copied away",
    why="A lost region or a deleted account takes backups along that lie beside what they copy.",
    remedy="give one rule a daily schedule, lifecycle.deleteAfter of the days asked for, and copyActions to another region",
    severity=Severity.HIGH,
    types=tokens.BACKUP_PLAN,
    levels=levels("-", "A", "M"),
    pack="resilience",
    settings={"days_min": {"dev": 7, "staging": 7, "prod": 35}},
    upstream=Upstream(prowler=("backup_plans_exist",)),
    url=f"{_GUIDE}/creating-a-backup-plan.html",
)
def backups_are_made_and_copied(plan: Resource) -> Found:
    days_min = plan.settings["days_min"]
    rules = plan.props.blocks("rules")
    if not any(_is_daily(rule) for rule in rules):
        yield "no rule makes a backup every day"
    if not any(_is_daily(rule) and _days(rule) >= days_min for rule in rules):
        yield f"no daily rule keeps backups for {days_min:g} days"
    if not any(rule.has("copyActions") for rule in rules):
        yield "no rule copies backups to another vault"


def _is_daily(rule: Props) -> bool:
    return rule.flag("enableContinuousBackup") or _DAILY.fullmatch(rule.text("schedule")) is not None


def _days(rule: Props) -> float:
    """Without a lifecycle AWS Backup keeps a recovery point for ever."""
    return rule.block("lifecycle").number("deleteAfter", float("inf"))


# Buckets that need no backup say what they are for: logs are written once, the trail's bucket is locked. What ends by
# itself (share tokens, sessions) must not live on in a backup.
_NOT_BACKED_UP = ("log-sink", "trail", "ephemeral")
_SERVICE = {
    **dict.fromkeys(tokens.DB_INSTANCE + tokens.DB_CLUSTER, "rds"),
    **dict.fromkeys(tokens.TABLE, "dynamodb"),
    **dict.fromkeys(tokens.BUCKET, "s3"),
}


@stack_rule(
    "GH-BAK-004",
    title="Everything that holds data is backed up",
    why="A plan copies only what a selection names; the new table that nobody added is noticed when it is lost.",
    remedy="name it, or one of its tags, in an aws.backup.Selection",
    severity=Severity.HIGH,
    types=tuple(_SERVICE),
    levels=levels("-", "A", "M"),
    pack="resilience",
    upstream=Upstream(
        security_hub=("RDS.26", "DynamoDB.4"),
        checkov=("CKV2_AWS_8",),
        prowler=("rds_instance_protected_by_backup_plan", "dynamodb_table_protected_by_backup_plan"),
    ),
    url=f"{_GUIDE}/assigning-resources.html",
)
def all_data_is_backed_up(store: Resource, stack: Stack) -> Found:
    if store.props.block("tags").text("gatehouse:purpose") in _NOT_BACKED_UP or is_a_copy(store, stack):
        return
    if not any(_selects(selection, store, stack) for selection in stack.of(tokens.BACKUP_SELECTION)):
        yield "no backup selection names this resource or a tag of it"


def _selects(selection: Resource, store: Resource, stack: Stack) -> bool:
    tags = store.props.block("tags")
    for wanted in selection.props.blocks("selectionTags"):
        key = wanted.text("key").removeprefix("aws:ResourceTag/")
        if tags.known(key) and tags.text(key) == wanted.text("value"):
            return True
    if stack.points(selection, "resources", store):
        return True
    named = selection.props.value("resources") or []
    return any(isinstance(one, str) and _covers(one, store) for one in named)


def _covers(pattern: str, store: Resource) -> bool:
    """True when a pattern stands for the resource's ARN, or for all of its kind while its ARN is not known."""
    if pattern == "*" or any(matches(name, pattern) for name in store.names if name.startswith("arn:")):
        return True
    parts = pattern.split(":", 5)
    return len(parts) == 6 and parts[2] == _SERVICE[store.type] and parts[5] in ("*", "table/*", "db:*", "cluster:*")
