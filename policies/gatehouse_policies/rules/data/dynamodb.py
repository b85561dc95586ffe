"""Rules for DynamoDB tables."""

from functools import partial

from pulumi_local.type_tokens import aws

from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.engine.requirements import (
    for_types,
    is_customer_key,
    is_true,
    uses_customer_key,
)
from gatehouse_policies.engine.rule import CheckResults, resource_rule, stack_rule
from gatehouse_policies.rules.compute.ecs import scaling_targets
from gatehouse_policies.rules.data.s3 import EPHEMERAL, purpose

_TABLE, _REPLICA = aws("dynamodb.Table"), aws("dynamodb.TableReplica")
_replicated_rule = partial(resource_rule, types=(*_TABLE, *_REPLICA))


point_in_time_recovery_is_enabled = _replicated_rule("GH-DDB-001").requires(
    for_types(
        _TABLE, is_true("pointInTimeRecovery.enabled"), is_true("replicas[].pointInTimeRecovery")
    ),
    for_types(_REPLICA, is_true("pointInTimeRecovery")),
)


table_uses_customer_key = _replicated_rule("GH-DDB-002").requires(
    for_types(
        _TABLE,
        uses_customer_key("serverSideEncryption.kmsKeyArn", "serverSideEncryption.enabled"),
        is_customer_key("replicas[].kmsKeyArn"),
    ),
    for_types(_REPLICA, is_customer_key("kmsKeyArn")),
)


deletion_protection_is_enabled = _replicated_rule("GH-DDB-003").requires(
    is_true("deletionProtectionEnabled"), is_true("replicas[].deletionProtectionEnabled")
)


# A tag identifies tables with expiring items.
time_to_live_is_enabled = resource_rule("GH-DDB-005", types=_TABLE).requires(
    is_true("ttl.enabled"), when=lambda table: purpose(table) == EPHEMERAL
)


@stack_rule("GH-DDB-006", types=aws("lambda.EventSourceMapping"))
def deletion_does_not_wait_for_ttl(mapping: Resource, stack: Stack) -> CheckResults:
    tables = stack.referenced_by(mapping, "eventSourceArn", aws("dynamodb.Table"))
    if not any(purpose(table) == EPHEMERAL for table in tables):
        return
    for pattern in mapping.props.block("filterCriteria").blocks("filters"):
        # Principal of the stream records for items that TTL deleted.
        # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/time-to-live-ttl-streams.html
        if "dynamodb.amazonaws.com" in pattern.text("pattern"):
            yield (
                f"{pattern.path_of('pattern')} selects the items that TTL deletes from a "
                f"table with expiring data"
            )


@stack_rule("GH-DDB-004", types=aws("dynamodb.Table"))
def capacity_scales(table: Resource, stack: Stack) -> CheckResults:
    on_demand = table.props.text("billingMode", "PROVISIONED") == "PAY_PER_REQUEST"
    if not on_demand and not scaling_targets(table, stack):
        yield "the table has fixed capacity without auto scaling"
