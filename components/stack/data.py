"""The network, the secrets and the data stores of a stack."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi

from components.account.cloud_trail import CloudTrail
from components.backup.backup_plan import BackupPlan
from components.component import Placement, RegionKey, with_dependencies
from components.database.rds_instance import RdsInstance
from components.database.secret_links_table import SecretLinksTable
from components.database.valkey import Valkey
from components.iam import backup_roles, role_policies
from components.network.network_acls import NetworkAcls
from components.network.security_groups import SecurityGroups
from components.network.service_discovery import ServiceDiscovery
from components.network.vpc import Vpc
from components.network.vpc_endpoints import VpcEndpoints
from components.secrets.rotation_function import RotationFunction
from components.secrets.secret import Secret
from components.stack.base import Base
from components.storage.bucket import Bucket, BucketReplica, Buckets


@dataclass(frozen=True)
class Storage:
    """The buckets of a stack. trail_logs: log group of its trail; None without one."""

    logs: Bucket
    trail: Bucket
    data: Bucket
    trail_logs: pulumi.Input[str] | None


@dataclass(frozen=True)
class Network:
    """security_groups: IDs, keyed by name. registries: ARNs, keyed by ECS service. routes: the
    components without which a task in the VPC reaches neither AWS services nor the database.
    """

    vpc: Vpc
    security_groups: Mapping[str, pulumi.Input[str]]
    registries: Mapping[str, pulumi.Output[str]]
    routes: Sequence[pulumi.Resource]

    def placement(self, tier: str, group: str) -> Placement:
        return Placement(self.vpc.subnets[tier], self.security_groups[group])


@dataclass(frozen=True)
class Secrets:
    """by_kind: the secrets that rotate."""

    rotation_function: RotationFunction
    by_kind: Mapping[str, Secret]


@dataclass(frozen=True)
class DataStores:
    database: RdsInstance
    cache: Valkey
    table: SecretLinksTable


def create_storage(base: Base) -> Storage:
    stack, opts = base.stack, base.opts
    keys, settings, buckets = base.keys, stack.settings, Buckets(stack.settings, stack.names)
    logs = Bucket.log_bucket("logs", buckets.logs(), opts)
    trail = Bucket("trail", buckets.trail(keys.logs_arn, logs.name), opts)
    trail_logs = None
    if not settings.existing_resources.trail:
        trail_logs = CloudTrail(
            "trail",
            stack,
            opts,
            logs_key_arn=keys.logs_arn,
            bucket=trail.name,
            role_arn=base.roles[role_policies.TRAIL_LOG],
        ).log_group
    replica = None
    if settings.replication_region and keys.replica_arn:
        replica_logs = Bucket.log_bucket("replica-logs", buckets.replica_logs(), opts)
        args = buckets.replica_data(keys.replica_arn, replica_logs.name)
        role_arn = base.roles[backup_roles.REPLICATION]
        copy = Bucket("replica-data", args, opts)
        replica = BucketReplica(copy.arn, keys.replica_arn, role_arn)
    data = Bucket("data", buckets.data(keys.data_arn, logs.name, replica), opts)
    Bucket("secrets", buckets.secrets(keys.data_arn, logs.name), opts)
    return Storage(logs, trail, data, trail_logs)


def create_network(base: Base) -> Network:
    stack, opts = base.stack, base.opts
    vpc = Vpc("vpc", stack, base.keys.logs_arn, base.roles["network-log"], opts)
    security = SecurityGroups("security-groups", stack, vpc.vpc_id, vpc.prefix_lists, opts)
    groups = security.groups
    routes: list[pulumi.Resource] = [vpc, security]
    if stack.settings.network.owns_subnets:
        routes.append(NetworkAcls("network-acls", stack, vpc.vpc_id, vpc.subnets, opts))
    if vpc.endpoint_subnets:
        endpoints = Placement(vpc.endpoint_subnets, groups["endpoints"])
        routes.append(VpcEndpoints("vpc-endpoints", stack, vpc.vpc_id, endpoints, opts))
    registries = ServiceDiscovery("service-discovery", stack, vpc.vpc_id, opts).arns
    return Network(vpc, groups, registries, routes)


def create_secrets(base: Base) -> Secrets:
    stack, opts = base.stack, base.opts
    name, keys = role_policies.ROTATION_FUNCTION, base.keys
    function = RotationFunction(name, stack, base.of_function(name), keys.secrets_arn, opts)
    secrets: dict[str, Secret] = {}
    for kind in stack.contract.rotated_secrets:
        function_arn = function.arn
        if kind == role_policies.CANARY_KEY:
            # Its token is marked under the pepper (runtime/functions/rotate.py).
            function_arn = with_dependencies(function_arn, secrets[role_policies.PEPPER].arn)
        secrets[kind] = Secret(
            kind,
            stack,
            opts,
            key_arn=keys.secrets_arn,
            function_arn=function_arn,
            replica=keys.recovery if kind == role_policies.PEPPER else None,
        )
    return Secrets(function, secrets)


def create_data_stores(base: Base, storage: Storage, network: Network) -> DataStores:
    stack, opts = base.stack, base.opts
    keys, settings = base.keys, stack.settings

    def replica(region: str) -> RegionKey | None:
        return RegionKey(region, keys.replica_arn) if region and keys.replica_arn else None

    database = RdsInstance(
        "database",
        stack,
        opts,
        placement=network.placement("data", "database"),
        key_arn=keys.data_arn,
        secrets_key_arn=keys.secrets_arn,
        logs_key_arn=keys.logs_arn,
        monitoring_role_arn=base.roles["database-monitor"],
        topics=base.topics,
        backup_replica=replica(settings.recovery_region),
    )
    cache = Valkey("cache", stack, network.placement("data", "cache"), keys.data_arn, opts)
    protection = settings.protection
    table = SecretLinksTable("secret-links", stack.names, protection, keys.data_arn, opts)
    BackupPlan(
        "backup",
        stack,
        opts,
        key_arn=keys.backup_arn,
        role_arn=base.roles[backup_roles.BACKUP],
        topics=base.topics,
        resources=(database.arn, table.arn, storage.data.arn),
        replica=replica(settings.replica_region if settings.backup.cross_region_copy else ""),
    )
    return DataStores(database, cache, table)
