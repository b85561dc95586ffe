"""Composite component for the data stores: rotated secrets, database, cache, secret links table and
backups.
"""

import pulumi

from components.backup.backup_plan import BackupPlan
from components.component import RegionKey, StackComponent, with_dependencies
from components.database.rds_instance import RdsInstance
from components.database.secret_links_table import SecretLinksTable
from components.database.valkey import Valkey
from components.foundation import Foundation
from components.iam import backup_roles, role_policies
from components.private_network import PrivateNetwork
from components.secrets.rotation_function import RotationFunction
from components.secrets.secret import Secret
from components.stack import Stack


class DataStores(StackComponent):
    rotated_secrets: dict[str, Secret]
    """Secrets that the rotation function creates, keyed by kind."""

    def __init__(
        self,
        name: str,
        stack: Stack,
        foundation: Foundation,
        network: PrivateNetwork,
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__("gatehouse:data:DataStores", name, stack, opts)
        keys, roles, settings = foundation.keys, foundation.role_arns, self.settings

        def replica(region: str) -> RegionKey | None:
            return RegionKey(region, keys.replica_arn) if region and keys.replica_arn else None

        self.rotation_function = RotationFunction(
            role_policies.ROTATION_FUNCTION,
            stack,
            foundation.function_resources(role_policies.ROTATION_FUNCTION),
            keys.secrets_arn,
            self.child,
        )
        self.rotated_secrets = {}
        for kind in self.contract.rotated_secrets:
            function_arn = self.rotation_function.arn
            if kind == role_policies.CANARY_KEY:
                # Its token is marked under the pepper (runtime/functions/rotate.py).
                pepper = self.rotated_secrets[role_policies.PEPPER]
                function_arn = with_dependencies(function_arn, pepper.arn)
            self.rotated_secrets[kind] = Secret(
                kind,
                stack,
                self.child,
                key_arn=keys.secrets_arn,
                function_arn=function_arn,
                replica=keys.recovery if kind == role_policies.PEPPER else None,
            )
        self.database = RdsInstance(
            "database",
            stack,
            self.child,
            placement=network.placement("data", "database"),
            key_arn=keys.data_arn,
            secrets_key_arn=keys.secrets_arn,
            logs_key_arn=keys.logs_arn,
            monitoring_role_arn=roles["database-monitor"],
            topic_arn=foundation.topic_arn,
            backup_replica=replica(settings.recovery_region),
        )
        placement = network.placement("data", "cache")
        self.cache = Valkey("cache", stack, placement, keys.data_arn, self.child)
        self.secret_links_table = SecretLinksTable("secret-links", stack, keys.data_arn, self.child)
        BackupPlan(
            "backup",
            stack,
            self.child,
            key_arn=keys.backup_arn,
            role_arn=roles[backup_roles.BACKUP],
            topic_arn=foundation.topic_arn,
            resources=(self.database.arn, self.secret_links_table.arn, foundation.data_bucket.arn),
            replica=replica(settings.replica_region if settings.backup.cross_region_copy else ""),
        )
        self.register_outputs({})
