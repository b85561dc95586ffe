"""Composite component for the data stores: rotated secrets, database, cache, secret links table and
backups.
"""

import pulumi

from components.backup.backup_plan import BackupPlan, BackupPlanArgs
from components.component import Component, RegionKey
from components.compute.environment import Endpoints
from components.contract import Stack
from components.database.rds_instance import RdsInstance, RdsInstanceArgs
from components.database.secret_links_table import SecretLinksTable, SecretLinksTableArgs
from components.database.valkey import Valkey, ValkeyArgs
from components.foundation import Foundation
from components.iam import backup_roles, role_policies
from components.private_network import PrivateNetwork
from components.secrets.rotation_function import RotationFunction, RotationFunctionArgs
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
            names=stack.names,
            cache=stack.settings.cache,
            protection=stack.settings.protection,
            placement=network.placement("data", "cache"),
            key_arn=foundation.keys.data_arn,
        )
        self.cache = Valkey("cache", cache, self.child)
        secret_links_table = SecretLinksTableArgs(
            names=stack.names,
            secret_links_table=stack.settings.secret_links_table,
            protection=stack.settings.protection,
            key_arn=foundation.keys.data_arn,
        )
        self.secret_links_table = SecretLinksTable("secret-links", secret_links_table, self.child)
        self._backup_plan()
        self.endpoints = Endpoints(self.database.address, self.cache.address)
        self.register_outputs({})

    def _rotation_function(self) -> RotationFunction:
        args = RotationFunctionArgs(
            names=self._stack.names,
            key_prefix=self._stack.settings.key_prefix,
            restored_stack=self._stack.settings.recovery.restore.stack,
            role_arn=self._foundation.role_arns[role_policies.ROTATION_FUNCTION],
            concurrency=self._stack.settings.function_concurrency,
            key_arn=self._foundation.keys.secrets_arn,
            logs=self._foundation.logs,
        )
        return RotationFunction(role_policies.ROTATION_FUNCTION, args, self.child)

    def _secret(self, kind: str) -> Secret:
        settings, names, recovery_stack = (
            self._stack.settings,
            self._stack.names,
            self._stack.settings.recovery.stack,
        )
        args = SecretArgs(
            names=names,
            kind=kind,
            reader_arns=role_policies.readers_of(
                names, self._stack.contract, kind, settings.secrets.operators, recovery_stack
            ),
            secrets=settings.secrets,
            protection=settings.protection,
            key_arn=self._foundation.keys.secrets_arn,
            function_arn=self.rotation_function.arn,
            replica=self._foundation.keys.recovery if kind == role_policies.PEPPER else None,
        )
        return Secret(kind, args, self.child)

    def _database(self) -> RdsInstance:
        settings, keys = self._stack.settings, self._foundation.keys
        restore = settings.recovery.restore
        backup_replica = None
        if settings.recovery_region and keys.replica_arn:
            backup_replica = RegionKey(settings.recovery_region, keys.replica_arn)
        args = RdsInstanceArgs(
            names=self._stack.names,
            database=settings.database,
            protection=settings.protection,
            placement=self._network.placement("data", "database"),
            key_arn=restore.database_key_arn or keys.data_arn,
            secrets_key_arn=keys.secrets_arn,
            logs=self._foundation.logs,
            monitoring_role_arn=self._foundation.role_arns["database-monitor"],
            topic_arn=self._foundation.topic_arn,
            backup_replica=backup_replica,
            restored_from=restore.database_backups_arn or "",
        )
        return RdsInstance("database", args, self.child)

    def _backup_plan(self) -> BackupPlan:
        settings, keys = self._stack.settings, self._foundation.keys
        replica = None
        if settings.backup.cross_region_copy and keys.replica_arn:
            replica = RegionKey(settings.replica_region, keys.replica_arn)
        args = BackupPlanArgs(
            names=self._stack.names,
            backup=settings.backup,
            protection=settings.protection,
            buckets=settings.buckets,
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
