"""Composite component for the data stores: rotated secrets, database, cache, secret links table and
backups.
"""

import pulumi

from components.backup.backup_plan import BackupPlan, BackupPlanArgs
from components.component import Component, RegionKey
from components.compute.python_function import PythonFunctionArgs
from components.contract import Stack
from components.database.rds_instance import RdsInstance, RdsInstanceArgs
from components.database.secret_links_table import SecretLinksTable, SecretLinksTableArgs
from components.database.valkey import Valkey, ValkeyArgs
from components.foundation import Foundation
from components.iam import backup_roles, role_policies
from components.private_network import PrivateNetwork
from components.secrets.rotation_function import RotationFunction
from components.secrets.secret import Secret, SecretArgs


class DataStores(Component):
    """Data stores of the runtime, with their backups."""

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
        super().__init__("gatehouse:data:DataStores", name, None, opts)
        self._stack, self._foundation, self._network = stack, foundation, network
        self.rotation_function = self._rotation_function()
        self.rotated_secrets = {kind: self._secret(kind) for kind in stack.contract.rotated_secrets}
        self.database = self._database()
        cache = ValkeyArgs(
            stack=stack,
            placement=network.placement("data", "cache"),
            key_arn=foundation.keys.data_arn,
        )
        self.cache = Valkey("cache", cache, self.child)
        secret_links_table = SecretLinksTableArgs(stack=stack, key_arn=foundation.keys.data_arn)
        self.secret_links_table = SecretLinksTable("secret-links", secret_links_table, self.child)
        self._backup_plan()
        self.register_outputs({})

    def _rotation_function(self) -> RotationFunction:
        args = PythonFunctionArgs(
            stack=self._stack,
            role_arn=self._foundation.role_arns[role_policies.ROTATION_FUNCTION],
            key_arn=self._foundation.keys.secrets_arn,
            logs_key_arn=self._foundation.keys.logs_arn,
        )
        return RotationFunction(role_policies.ROTATION_FUNCTION, args, self.child)

    def _secret(self, kind: str) -> Secret:
        args = SecretArgs(
            stack=self._stack,
            kind=kind,
            key_arn=self._foundation.keys.secrets_arn,
            function_arn=self.rotation_function.arn,
            replica=self._foundation.keys.recovery if kind == role_policies.PEPPER else None,
        )
        return Secret(kind, args, self.child)

    def _database(self) -> RdsInstance:
        settings, keys = self._stack.settings, self._foundation.keys
        backup_replica = None
        if settings.recovery_region and keys.replica_arn:
            backup_replica = RegionKey(settings.recovery_region, keys.replica_arn)
        args = RdsInstanceArgs(
            stack=self._stack,
            placement=self._network.placement("data", "database"),
            key_arn=keys.data_arn,
            secrets_key_arn=keys.secrets_arn,
            logs_key_arn=keys.logs_arn,
            monitoring_role_arn=self._foundation.role_arns["database-monitor"],
            topic_arn=self._foundation.topic_arn,
            backup_replica=backup_replica,
        )
        return RdsInstance("database", args, self.child)

    def _backup_plan(self) -> BackupPlan:
        settings, keys = self._stack.settings, self._foundation.keys
        replica = None
        if settings.backup.cross_region_copy and keys.replica_arn:
            replica = RegionKey(settings.replica_region, keys.replica_arn)
        args = BackupPlanArgs(
            stack=self._stack,
            key_arn=keys.backup_arn,
            role_arn=self._foundation.role_arns[backup_roles.BACKUP],
            topic_arn=self._foundation.topic_arn,
            resources=(
                self.database.arn,
                self.secret_links_table.arn,
                self._foundation.data_bucket.arn,
            ),
            replica=replica,
        )
        return BackupPlan("backup", args, self.child)
