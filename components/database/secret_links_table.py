"""The DynamoDB table of secret links."""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.component import Component, StackArgs
from components.naming import tags
from components.settings.data import ProtectionSettings, SecretLinksTableSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretLinksTableArgs(StackArgs):
    """Arguments of `SecretLinksTable`.

    secret_links_table: Recovery period and deletion protection.
    protection: Deletion protection by Pulumi.
    key_arn: KMS key of the table.
    """

    secret_links_table: SecretLinksTableSettings
    protection: ProtectionSettings
    key_arn: pulumi.Input[str]


class SecretLinksTable(Component):
    """An on-demand DynamoDB table with one item for each link. Its partition key is `id`; DynamoDB deletes items after
    `expires_at`, in seconds since 1970.

    Why: A conditional update decides between concurrent attempts to use a link for the last time.
    Cost: 1.4 USD per million writes, 0.23 USD per GB for point-in-time recovery, none when idle.
    Controls: GH-DDB-001 to GH-DDB-005.
    """

    def __init__(self, name: str, args: SecretLinksTableArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gatehouse:database:SecretLinksTable", name, args, opts)
        table = aws.dynamodb.Table(
            name,
            name=args.names.name("tokens"),
            billing_mode="PAY_PER_REQUEST",
            hash_key="id",
            attributes=[{"name": "id", "type": "S"}],
            ttl={"attribute_name": "expires_at", "enabled": True},
            point_in_time_recovery={"enabled": True, "recovery_period_in_days": args.secret_links_table.recovery_days},
            server_side_encryption={"enabled": True, "kms_key_arn": args.key_arn},
            deletion_protection_enabled=args.secret_links_table.deletion_protection,
            tags=tags("confidential"),
            opts=self.protected(args.protection),
        )
        self.table, self.arn = table.name, table.arn
        self.register_outputs({"table": self.table, "arn": self.arn})
