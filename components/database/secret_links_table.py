"""The DynamoDB table for secret links."""

import pulumi
import pulumi_aws as aws

from components.component import Component
from components.iam.sharing_policies import INDEXES, TABLE
from components.naming import Naming, tags
from components.settings.data import ProtectionSettings

RECOVERY_DAYS = 35
"""Point-in-time recovery period, the longest that DynamoDB offers."""


class SecretLinksTable(Component):
    """An on-demand DynamoDB table with one item for each secret and its links, and one item for
    each secret request. The partition key is `id`. One index lists the items of an owner, and the
    other lists the items that wait for background work. Both indexes contain keys only.

    `delete_at` is a Unix timestamp in seconds. DynamoDB deletes an item within a few days after
    that time (DynamoDB Developer Guide, "Using time to live (TTL)"). TTL removes the records of
    purged secrets and old counters. TTL does not determine whether a link can be opened: for each
    request, the service compares the expiry time with the current time.

    Why: A conditional update lets only one of several concurrent attempts use a link for the last
        time.
    """

    def __init__(
        self,
        name: str,
        names: Naming,
        protection: ProtectionSettings,
        key_arn: pulumi.Input[str],
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__(name, opts)
        table = aws.dynamodb.Table(
            name,
            name=names.name(TABLE),
            billing_mode="PAY_PER_REQUEST",
            hash_key="id",
            attributes=[{"name": name, "type": kind} for name, kind in _attributes().items()],
            global_secondary_indexes=[
                {
                    "name": index,
                    "hash_key": partition,
                    "range_key": sort,
                    "projection_type": "KEYS_ONLY",
                }
                for index, (partition, sort) in INDEXES.items()
            ],
            ttl={"attribute_name": "delete_at", "enabled": True},
            point_in_time_recovery={"enabled": True, "recovery_period_in_days": RECOVERY_DAYS},
            server_side_encryption={"enabled": True, "kms_key_arn": key_arn},
            deletion_protection_enabled=protection.deletion_protection,
            tags=tags("confidential", **{"gatehouse:purpose": "ephemeral"}),
            opts=self.protected_by(protection),
        )
        self.table, self.arn = table.name, table.arn
        self.register_outputs({})


def _attributes() -> dict[str, str]:
    keys = {partition: "S" for partition, _ in INDEXES.values()} | {
        sort: "N" for _, sort in INDEXES.values()
    }
    return {"id": "S", **keys}
