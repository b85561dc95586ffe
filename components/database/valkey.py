"""The Valkey cache that holds limits and counters."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.component import component_inputs
from components.naming import Naming
from components.settings.data import CacheSettings
from components.tags import tags

PORT = 6379
RIGHTS = "on ~* &* +@all -@admin -@dangerous"
"""What the application may do: everything with data, nothing with the server."""


@dataclass(frozen=True, kw_only=True)
class ValkeyArgs:
    """names: the stack's names. cache: size and copies. subnet_ids, security_group_id: where it is and who may connect.
    key_arn: key of its disks."""

    names: Naming
    cache: CacheSettings
    subnet_ids: Sequence[pulumi.Input[str]]
    security_group_id: pulumi.Input[str]
    key_arn: pulumi.Input[str]


class Valkey(pulumi.ComponentResource):
    """ElastiCache for Valkey in the data tier: TLS required, encrypted by our key, IAM users only.

    Why: one application user that signs in with tokens of its role, and a default user that can do nothing, so no
    password exists. The group is of engine `redis`, for a group of engine `valkey` refuses users without a password,
    even disabled ones (ElastiCache user guide, "RBAC"); both kinds of group serve a Valkey cluster. Cost: from 12 USD a
    month (cache.t4g.micro) to about 230 USD (two cache.m7g.large).
    Controls: GH-EC-001 to GH-EC-007.
    """

    replication_group: pulumi.Output[str]
    address: pulumi.Output[str]
    user: str

    def __init__(self, name: str, args: ValkeyArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gatehouse:database:Valkey", name, component_inputs(args), opts)
        names, size = args.names, args.cache
        subnets = aws.elasticache.SubnetGroup(
            name,
            name=names.name("cache"),
            description="Data tier",
            subnet_ids=list(args.subnet_ids),
            tags=tags("internal"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        cluster = aws.elasticache.ReplicationGroup(
            name,
            replication_group_id=names.name("cache"),
            description="Limits and counters",
            engine="valkey",
            engine_version=size.engine_version,
            node_type=size.node_type,
            num_cache_clusters=1 + size.replicas,
            port=PORT,
            parameter_group_name=f"default.valkey{size.engine_version.split('.')[0]}",
            subnet_group_name=subnets.name,
            security_group_ids=[args.security_group_id],
            user_group_ids=[self._users(args)],
            at_rest_encryption_enabled=True,
            kms_key_id=args.key_arn,
            transit_encryption_enabled=True,
            transit_encryption_mode="required",
            automatic_failover_enabled=size.replicas > 0,
            multi_az_enabled=size.replicas > 0,
            auto_minor_version_upgrade=True,
            snapshot_retention_limit=size.snapshot_retention_days,
            snapshot_window="02:00-03:00",
            maintenance_window="sun:03:30-sun:04:30",
            apply_immediately=False,
            tags=tags("internal"),
            opts=pulumi.ResourceOptions(
                parent=self, custom_timeouts=pulumi.CustomTimeouts(create="60m", update="90m", delete="60m")
            ),
        )
        self.replication_group, self.address = cluster.replication_group_id, cluster.primary_endpoint_address
        self.user = names.name("app")
        self.register_outputs({"replicationGroup": self.replication_group, "address": self.address, "user": self.user})

    def _users(self, args: ValkeyArgs) -> pulumi.Output[str]:
        """The user group. For IAM, id and name of a user must be the same (ElastiCache user guide, "Authenticating with
        IAM")."""
        names = args.names
        application = aws.elasticache.User(
            "app",
            user_id=names.name("app"),
            user_name=names.name("app"),
            engine="redis",
            access_string=RIGHTS,
            authentication_mode=aws.elasticache.UserAuthenticationModeArgs(type="iam"),
            tags=tags("internal"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        nobody = aws.elasticache.User(
            "default",
            user_id=names.name("default"),
            user_name="default",
            engine="redis",
            access_string="off -@all",
            authentication_mode=aws.elasticache.UserAuthenticationModeArgs(type="no-password-required"),
            tags=tags("none"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        return aws.elasticache.UserGroup(
            "users",
            user_group_id=names.name("cache"),
            engine="redis",
            user_ids=[nobody.user_id, application.user_id],
            tags=tags("internal"),
            opts=pulumi.ResourceOptions(parent=self),
        ).user_group_id
