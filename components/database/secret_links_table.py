"""The table of share tokens."""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.component import component_inputs
from components.naming import Naming
from components.settings.data import ProtectionSettings, SecretLinksTableSettings
from components.tags import tags


@dataclass(frozen=True, kw_only=True)
class SecretLinksTableArgs:
    """names: the stack's names. tokens: recovery and protection. keep: whether deletion is refused. key_arn: the KMS
    key of the items."""

    names: Naming
    secret_links_table: SecretLinksTableSettings
    protection: ProtectionSettings
    key_arn: pulumi.Input[str]


class SecretLinksTable(pulumi.ComponentResource):
    """A DynamoDB table on capacity, one item a token, hash key `id`; items leave by themselves some time after
    `expires_at` (seconds since 1970).

    Why: one conditional update decides a race for the last use of a link. Cost: 1.4 USD a million writes, nothing while
    idle, plus 0.23 USD a GB for recovery. Controls: GH-DDB-001 to GH-DDB-005.
    """

    table: pulumi.Output[str]
    arn: pulumi.Output[str]

    def __init__(self, name: str, args: SecretLinksTableArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gatehouse:database:SecretLinksTable", name, component_inputs(args), opts)
        table = aws.dynamodb.Table(
            name,
            name=args.names.name("tokens"),
            billing_mode="PAY_PER_REQUEST",
            hash_key="id",
            attributes=[aws.dynamodb.TableAttributeArgs(name="id", type="S")],
            ttl=aws.dynamodb.TableTtlArgs(attribute_name="expires_at", enabled=True),
            point_in_time_recovery=aws.dynamodb.TablePointInTimeRecoveryArgs(
                enabled=True, recovery_period_in_days=args.secret_links_table.recovery_days
            ),
            server_side_encryption=aws.dynamodb.TableServerSideEncryptionArgs(enabled=True, kms_key_arn=args.key_arn),
            deletion_protection_enabled=args.secret_links_table.deletion_protection,
            tags=tags("confidential"),
            opts=pulumi.ResourceOptions(
                parent=self, protect=args.protection.protect, retain_on_delete=args.protection.retain_on_delete
            ),
        )
        self.table, self.arn = table.name, table.arn
        self.register_outputs({"table": self.table, "arn": self.arn})
