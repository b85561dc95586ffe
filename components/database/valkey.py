"""The ElastiCache for Valkey cache for rate limits and counters."""

import pulumi
import pulumi_aws as aws

from components.component import Placement, StackComponent
from components.context import Stack
from components.contract import cache_access
from components.naming import DataClass, tags
from components.settings.data import CACHE_PORT


class Valkey(StackComponent):
    """An ElastiCache for Valkey replication group in the data tier, encrypted in transit and at
    rest, with IAM authentication.

    Why: The application user logs in with IAM tokens and the default user is disabled, so there is
    no password. The user group has the engine `redis`, because a group of engine `valkey` rejects
    users without a password even if they are disabled (ElastiCache User Guide, "Role-Based Access
    Control (RBAC)"). Both engines work with Valkey.
    """

    def __init__(
        self,
        name: str,
        stack: Stack,
        placement: Placement,
        key_arn: pulumi.Input[str],
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__(name, stack, opts)
        names, settings = self.names, self.settings.cache
        subnets = aws.elasticache.SubnetGroup(
            name,
            name=names.name("cache"),
            description="Subnets of the data tier",
            subnet_ids=list(placement.subnet_ids),
            tags=tags("internal"),
            opts=self.child,
        )
        cluster = aws.elasticache.ReplicationGroup(
            name,
            replication_group_id=names.name("cache"),
            description="Rate limits and counters of Gatehouse",
            engine="valkey",
            engine_version=settings.engine_version,
            node_type=settings.node_type,
            num_cache_clusters=1 + settings.replicas,
            port=CACHE_PORT,
            parameter_group_name=self._parameter_group(name).name,
            subnet_group_name=subnets.name,
            security_group_ids=[placement.security_group_id],
            user_group_ids=[self._user_group()],
            at_rest_encryption_enabled=True,
            kms_key_id=key_arn,
            transit_encryption_enabled=True,
            transit_encryption_mode="required",
            automatic_failover_enabled=settings.replicas > 0,
            multi_az_enabled=settings.replicas > 0,
            auto_minor_version_upgrade=True,
            snapshot_retention_limit=settings.snapshot_retention_days,
            snapshot_window="02:00-03:00",
            maintenance_window=self.settings.maintenance_window,
            # With replicas, a change of the nodes interrupts the cache for seconds.
            apply_immediately=True,
            tags=tags("internal"),
            opts=pulumi.ResourceOptions.merge(
                self.protected(
                    custom_timeouts=pulumi.CustomTimeouts(create="60m", update="90m", delete="60m")
                ),
                # AWS upgrades the minor version (auto_minor_version_upgrade). The version of the
                # settings would then be a downgrade, which replaces the cache.
                pulumi.ResourceOptions(
                    ignore_changes=None if settings.allow_upgrade else ["engine_version"]
                ),
            ),
        )
        self.replication_group, self.address = (
            cluster.replication_group_id,
            cluster.primary_endpoint_address,
        )
        self.register_outputs({})

    def _parameter_group(self, name: str) -> aws.elasticache.ParameterGroup:
        family = f"valkey{self.settings.cache.engine_version.split('.')[0]}"
        return aws.elasticache.ParameterGroup(
            name,
            name=self.names.name(f"cache-{family}"),
            family=family,
            description="Disables the eviction of keys",
            # The default, volatile-lru, evicts counters and nonces when memory is full, which
            # resets limits and allows replays.
            parameters=[{"name": "maxmemory-policy", "value": "noeviction"}],
            tags=tags("internal"),
            opts=self.child,
        )

    def _user_group(self) -> pulumi.Output[str]:
        """Create the user group. With IAM authentication, user ID and user name must be equal
        (ElastiCache User Guide, "Authenticating with IAM")."""
        names = self.names
        rows: tuple[tuple[str, str, str, str, DataClass], ...] = (
            ("default", "default", "off -@all", "no-password-required", "none"),
            ("app", names.name("app"), f"on {cache_access()}", "iam", "internal"),
        )
        users = [
            aws.elasticache.User(
                user,
                user_id=names.name(user),
                user_name=user_name,
                engine="redis",
                access_string=access_string,
                authentication_mode={"type": authentication},
                tags=tags(data_class),
                opts=self.child,
            ).user_id
            for user, user_name, access_string, authentication, data_class in rows
        ]
        return aws.elasticache.UserGroup(
            "users",
            user_group_id=names.name("cache"),
            engine="redis",
            user_ids=users,
            tags=tags("internal"),
            opts=self.child,
        ).user_group_id
