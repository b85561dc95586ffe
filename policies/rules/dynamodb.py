"""Rules about DynamoDB tables: encrypted with a customer key, restorable, and not deleted by mistake."""

from policies.analysis import type_tokens as tokens
from policies.analysis.resources import Resource, Stack
from policies.engine.rule import AFTER_DEV, Found, Severity, Upstream, levels, resource_rule, stack_rule

_GUIDE = "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide"


@resource_rule(
    "GH-DDB-001",
    title="A table can be restored to any second of the last weeks",
    why="Without it, what a wrong program wrote over is gone.",
    remedy="set pointInTimeRecovery to {enabled: True}",
    severity=Severity.HIGH,
    types=tokens.TABLE,
    levels=AFTER_DEV,
    pack="resilience",
    upstream=Upstream(
        security_hub=("DynamoDB.2",),
        checkov=("CKV_AWS_28",),
        prowler=("dynamodb_tables_pitr_enabled",),
        cdk_nag=("DDB3",),
    ),
    url=f"{_GUIDE}/Point-in-time-recovery.html",
)
def tables_can_be_restored(table: Resource) -> Found:
    if not table.props.block("pointInTimeRecovery").flag("enabled"):
        yield "pointInTimeRecovery.enabled is not true"


@resource_rule(
    "GH-DDB-002",
    title="Tables are encrypted with a customer key",
    why="With a key of its own, reading the table needs the key's permission too, and each use is recorded.",
    remedy="set serverSideEncryption to {enabled: True, kmsKeyArn: the key's ARN}",
    severity=Severity.MEDIUM,
    types=tokens.TABLE,
    levels=AFTER_DEV,
    upstream=Upstream(checkov=("CKV_AWS_119",), prowler=("dynamodb_tables_kms_cmk_encryption_enabled",)),
    url=f"{_GUIDE}/EncryptionAtRest.html",
)
def tables_have_a_customer_key(table: Resource) -> Found:
    encryption = table.props.block("serverSideEncryption")
    if not encryption.flag("enabled"):
        yield "serverSideEncryption.enabled is not true"
    elif not encryption.has("kmsKeyArn"):
        yield "serverSideEncryption.kmsKeyArn is not set, so the key is the one that AWS manages"


@resource_rule(
    "GH-DDB-003",
    title="A table cannot be deleted by mistake",
    why="One wrong command otherwise ends the table and its indexes.",
    remedy="set deletionProtectionEnabled=True",
    severity=Severity.HIGH,
    types=tokens.TABLE,
    levels=levels("-", "M", "M"),
    pack="resilience",
    upstream=Upstream(security_hub=("DynamoDB.6",), prowler=("dynamodb_table_deletion_protection_enabled",)),
    url=f"{_GUIDE}/WorkingWithTables.Basics.html#WorkingWithTables.Basics.DeletionProtection",
)
def tables_outlive_mistakes(table: Resource) -> Found:
    if not table.props.flag("deletionProtectionEnabled"):
        yield "deletionProtectionEnabled is not true"


@resource_rule(
    "GH-DDB-005",
    title="Tables of short-lived items let them end",
    why="Tokens that nobody ends pile up, and stay usable for whoever reads the table.",
    remedy="set ttl to {enabled: True, attributeName: the attribute that holds the end}",
    severity=Severity.MEDIUM,
    types=tokens.TABLE,
    levels=AFTER_DEV,
    url=f"{_GUIDE}/TTL.html",
)
def short_lived_items_end(table: Resource) -> Found:
    # Only tables that say so hold short-lived items; the tag is the program's promise.
    ephemeral = table.props.block("tags").text("gatehouse:purpose") == "ephemeral"
    if ephemeral and not table.props.block("ttl").flag("enabled"):
        yield "ttl.enabled is not true"


@stack_rule(
    "GH-DDB-004",
    title="A table grows with its load",
    why="At a fixed capacity, the first busy hour is a wave of refused requests.",
    remedy='set billingMode="PAY_PER_REQUEST", or add an aws.appautoscaling.Target for the table',
    severity=Severity.LOW,
    types=tokens.TABLE,
    levels=levels("-", "A", "M"),
    pack="resilience",
    upstream=Upstream(security_hub=("DynamoDB.1",), checkov=("CKV2_AWS_16",), prowler=("dynamodb_table_autoscaling_enabled",)),
    url=f"{_GUIDE}/capacity-mode.html",
)
def tables_grow(table: Resource, stack: Stack) -> Found:
    if table.props.text("billingMode", "PROVISIONED") == "PAY_PER_REQUEST":
        return
    for target in stack.of(tokens.SCALING_TARGET):
        known = target.props.text("resourceId").rpartition("/")[2] if target.props.known("resourceId") else ""
        if known in table.names or stack.points(target, "resourceId", table):
            return
    yield "the table has a fixed capacity, and nothing scales it"
