"""Rules for AWS Backup: vaults, plans and selections."""

import re
from collections.abc import Callable

from pulumi_local.lists import name_set
from pulumi_local.type_tokens import aws, by_token

from gatehouse_policies.analysis.iam.grammar import matches
from gatehouse_policies.analysis.properties import Properties
from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.engine.requirements import is_customer_key
from gatehouse_policies.engine.rule import CheckResults, Undecided, resource_rule, stack_rule
from gatehouse_policies.rules.data.rds import is_read_replica
from gatehouse_policies.rules.data.s3 import EPHEMERAL, STATIC_FILES, is_replica, purpose

_DAILY = re.compile(r"cron\(\S+ \S+ (\*|\?|\*/1|1/1) \* (\?|\*) \*\)|rate\((1 day|\d+ hours?)\)")


vault_uses_customer_key = resource_rule("GH-BAK-001", types=aws("backup.Vault")).requires(
    is_customer_key("kmsKeyArn")
)


@stack_rule(
    "GH-BAK-002",
    types=aws("backup.Vault"),
    settings={"days_min": {"dev": 1, "staging": 1, "prod": 7}},
)
def recovery_points_are_locked(vault: Resource, stack: Stack) -> CheckResults:
    locks = stack.referencing(vault, aws("backup.VaultLockConfiguration"), "backupVaultName")
    days_min = vault.settings["days_min"]
    if not any(lock.props.number("minRetentionDays") >= days_min for lock in locks):
        yield f"no VaultLockConfiguration has minRetentionDays of {days_min:g} or more"


@stack_rule(
    "GH-BAK-003",
    strict=True,
    types=aws("backup.Plan"),
    settings={"days_min": {"dev": 7, "staging": 7, "prod": 35}},
)
def plan_creates_daily_copies(plan: Resource, stack: Stack) -> CheckResults:
    days_min = plan.settings["days_min"]
    rules = plan.props.blocks("rules")
    if not any(_is_daily(rule) for rule in rules):
        yield "no rule creates daily backups"
    if not any(_is_daily(rule) and _retention_days(rule) >= days_min for rule in rules):
        yield f"no daily rule retains backups for {days_min:g} days"
    vaults = stack.referenced_by(plan, "rules", aws("backup.Vault"))
    regions = {vault.region() for vault in vaults} - {""}
    copies, unknown = list[Properties](), list[Properties]()
    for copy in (copy for rule in rules if _is_daily(rule) for copy in rule.blocks("copyActions")):
        arn = copy.known_text("destinationVaultArn")
        targets = set(arn.split(":")[3:4]) if arn else regions
        if not plan.region() or not targets:
            unknown.append(copy)
        elif targets - {plan.region()}:
            copies.append(copy)
    if unknown and not any(_retention_days(copy) >= days_min for copy in copies):
        yield Undecided(unknown[0].path_of("destinationVaultArn"))
    elif not copies:
        yield "no daily rule has copyActions to another Region"
    elif not any(_retention_days(copy) >= days_min for copy in copies):
        yield f"no copyActions retain copies for {days_min:g} days"


def _is_daily(rule: Properties) -> bool:
    return (
        rule.flag("enableContinuousBackup") or _DAILY.fullmatch(rule.text("schedule")) is not None
    )


def _retention_days(rule: Properties) -> float:
    """Retention period of the recovery points. AWS Backup retains recovery points without a
    lifecycle indefinitely.
    """
    return rule.block("lifecycle").number("deleteAfter", float("inf"))


# Values of the tag gatehouse:purpose that need no backup, and that other rules review: logs do not
# change, trail buckets are locked, a backup must not retain expiring data, and static files can be
# uploaded again.
_BUCKETS = ("log-sink", "trail", EPHEMERAL, STATIC_FILES)
_EXCLUDED = by_token({"s3.Bucket": _BUCKETS, "dynamodb.Table": (EPHEMERAL,)})
# The service and the last part of an ARN that stands for all resources of a type.
_ARN_OF_ALL = by_token(
    {
        "rds.Instance": ("rds", "db:*"),
        "rds.Cluster": ("rds", "cluster:*"),
        "dynamodb.Table": ("dynamodb", "table/*"),
        "s3.Bucket": ("s3", "*"),
        "efs.FileSystem": ("elasticfilesystem", "file-system/*"),
    }
)


@stack_rule(
    "GH-BAK-004",
    strict=True,
    types=aws("rds.Instance", "rds.Cluster", "dynamodb.Table", "s3.Bucket", "efs.FileSystem"),
)
def data_is_in_backup_selection(store: Resource, stack: Stack) -> CheckResults:
    excluded = purpose(store) in _EXCLUDED.get(store.type, ())
    if excluded or is_replica(store, stack) or is_read_replica(store):
        return
    # A backup policy adds the file system to the automatic backups of AWS Backup:
    # https://docs.aws.amazon.com/efs/latest/ug/awsbackup.html
    policies = stack.referencing(store, aws("efs.BackupPolicy"), "fileSystemId")
    if any(policy.props.block("backupPolicy").text("status") == "ENABLED" for policy in policies):
        return
    if not any(
        _selects(selection, store, stack) for selection in stack.of_type(aws("backup.Selection"))
    ):
        yield "no backup selection contains this resource or one of its tags"


def _selects(selection: Resource, store: Resource, stack: Stack) -> bool:
    """True if a selection contains a resource: by its ARN or one of its tags, or without either,
    unless it is excluded or does not meet all conditions.

    https://docs.aws.amazon.com/aws-backup/latest/devguide/API_BackupSelection.html
    """
    props = selection.props
    if _names(selection, "notResources", store, stack) or not _meets_conditions(selection, store):
        return False
    if not props.has("resources") and not props.has("selectionTags"):
        return True
    return _names(selection, "resources", store, stack) or any(
        _tag(store, condition) == condition.text("value")
        for condition in props.blocks("selectionTags")
    )


def _names(selection: Resource, prop: str, store: Resource, stack: Stack) -> bool:
    patterns = selection.props.value(prop) if selection.props.size(prop) else []
    return stack.references(selection, prop, store) or any(
        isinstance(pattern, str) and _covers(pattern, store) for pattern in patterns
    )


# Test of the value of a tag and that of a condition, and its required result, keyed by operator.
_OPERATORS: dict[str, tuple[Callable[[str, str], bool], bool]] = {
    "stringEquals": (str.__eq__, True),
    "stringLikes": (matches, True),
    "stringNotEquals": (str.__eq__, False),
    "stringNotLikes": (matches, False),
}


def _meets_conditions(selection: Resource, store: Resource) -> bool:
    return all(
        test(_tag(store, condition), condition.text("value")) == result
        for block in selection.props.blocks("conditions")
        for operator, (test, result) in _OPERATORS.items()
        for condition in block.blocks(operator)
    )


def _tag(store: Resource, condition: Properties) -> str:
    return store.tag(condition.text("key").removeprefix("aws:ResourceTag/"))


def _covers(pattern: str, store: Resource) -> bool:
    """True if a pattern matches the ARN of the resource or, while the ARN is unknown, all resources
    of the same type.
    """
    if pattern == "*" or any(
        matches(name, pattern) for name in store.identifiers if name.startswith("arn:")
    ):
        return True
    parts = pattern.split(":", 5)
    service, all_resources = _ARN_OF_ALL[store.type]
    return len(parts) == 6 and parts[2] == service and parts[5] in ("*", all_resources)


_DEPRECATED_EVENTS = name_set(
    "BACKUP_JOB_SUCCESSFUL BACKUP_JOB_FAILED BACKUP_JOB_EXPIRED BACKUP_PLAN_CREATED "
    "BACKUP_PLAN_MODIFIED RESTORE_JOB_SUCCESSFUL RESTORE_JOB_FAILED"
)


@resource_rule("GH-BAK-005", types=aws("backup.VaultNotifications"))
def vault_events_are_sent(notifications: Resource) -> CheckResults:
    for event in notifications.props.texts("backupVaultEvents"):
        if event in _DEPRECATED_EVENTS:
            yield f"backupVaultEvents contains {event}, for which AWS Backup sends no notifications"
