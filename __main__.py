"""Builds one stack, part after part: each is told the settings, and what the parts before it have made."""

import pulumi
import pulumi_aws as aws

from components.account.baseline import AccountBaseline, AccountBaselineArgs
from components.account.budget import Budget, BudgetArgs
from components.account.cloud_trail import CloudTrail, CloudTrailArgs
from components.backup.backup_plan import BackupPlan, BackupPlanArgs, BackupReplica
from components.compute.container_image import ContainerImage, ContainerImageArgs
from components.compute.ecs_cluster import EcsCluster, EcsClusterArgs
from components.compute.ecs_service import Demand, EcsService, EcsServiceArgs
from components.compute.environment import Endpoints
from components.compute.otel_collector import NAME as COLLECTOR
from components.compute.task_definition import TaskDefinition, TaskDefinitionArgs
from components.database.rds_instance import PORT as DATABASE_PORT
from components.database.rds_instance import RdsInstance, RdsInstanceArgs
from components.database.rds_proxy import RdsProxy, RdsProxyArgs
from components.database.secret_links_table import SecretLinksTable, SecretLinksTableArgs
from components.database.valkey import PORT as CACHE_PORT
from components.database.valkey import Valkey, ValkeyArgs
from components.delivery.roles import DeliveryRoles, DeliveryRolesArgs
from components.edge.certificate import Certificate, CertificateArgs
from components.edge.load_balancer import LoadBalancer, LoadBalancerArgs
from components.edge.web_acl import WebAcl, WebAclArgs
from components.encryption.kms_keys import KmsKeys, KmsKeysArgs
from components.iam import backup_roles, checkpoint_policies, role_policies, transfer_policies
from components.iam.permissions_boundary import PermissionsBoundary, PermissionsBoundaryArgs
from components.iam.roles import Roles, RolesArgs
from components.monitoring import data_protection, synthetic_probe, topics
from components.monitoring.alarms import Alarms, AlarmsArgs
from components.monitoring.findings import Findings, FindingsArgs
from components.monitoring.log_alarms import LogAlarms, LogAlarmsArgs
from components.monitoring.synthetic_probe import SyntheticProbe, SyntheticProbeArgs
from components.monitoring.topics import NotificationTopic, NotificationTopicArgs
from components.network.network_acls import NetworkAcls, NetworkAclsArgs
from components.network.security_groups import SecurityGroups, SecurityGroupsArgs
from components.network.service_discovery import ServiceDiscovery, ServiceDiscoveryArgs
from components.network.vpc import Vpc, VpcArgs
from components.network.vpc_endpoints import VpcEndpoints, VpcEndpointsArgs
from components.plan import Plan
from components.secrets.rotation_function import RotationFunction, RotationFunctionArgs
from components.secrets.secret import Secret, SecretArgs
from components.settings.model import load
from components.sharing.sharing_function import SharingFunction, SharingFunctionArgs
from components.storage.bucket import Bucket
from components.storage.buckets import BucketReplica
from components.tags import default_tags

settings = load()
plan = Plan(settings)
names, away, seam = plan.names, plan.away, plan.seam
keep, emptied = settings.keep, settings.buckets.force_destroy
provider = aws.Provider(
    "aws",
    region=settings.region,
    allowed_account_ids=[settings.account],
    default_tags=aws.ProviderDefaultTagsArgs(tags=default_tags(settings)),
)
opts = pulumi.ResourceOptions(provider=provider)

# Who may do what, and the keys that hold it together.
ceiling = PermissionsBoundary("boundary", PermissionsBoundaryArgs(names, plan.regions), opts)
roles = plan.grants | (synthetic_probe.grants(names) if settings.watch.probe_minutes else {})
access = Roles("access", RolesArgs(names, roles, ceiling.arn), opts)
keys = KmsKeys(
    "keyring",
    KmsKeysArgs(
        names,
        settings.keys,
        keep,
        readers=plan.secret_readers,
        token_users=role_policies.token_users(seam),
        rotator=role_policies.ROTATOR,
        log_groups=plan.log_groups,
        roles=access.roles,
        signers=plan.signers,
        more=plan.key_users(topics.key_users(names)),
        away=settings.away,
    ),
    opts,
)
told_of = NotificationTopic("notices", NotificationTopicArgs(names, settings.watch.emails, keys.logs_arn), opts)
log = (keys.logs_arn, settings.log_retention_days)  # of every log group

# Buckets: the sink of all logs, the audit trail, and data, which may have a copy in the second region.
logs = Bucket.log_sink("logs", plan.storage.sink(), opts)
evidence = Bucket("trail", plan.storage.trail(keys.logs_arn, logs.name), opts)
copy: BucketReplica | None = None
if plan.replicated and keys.away_arn:
    far_logs = Bucket.log_sink("logs-away", plan.storage.sink_away(), opts)
    far_data = Bucket("data-away", plan.storage.data_away(keys.away_arn, far_logs.name), opts)
    copy = BucketReplica(far_data.arn, keys.away_arn, access.roles[backup_roles.REPLICATION])
data = Bucket("data", plan.storage.data(keys.data_arn, logs.name, copy), opts)
trail = CloudTrail(
    "trail",
    CloudTrailArgs(
        names,
        bucket=evidence.name,
        key_arn=keys.logs_arn,
        role_arn=access.roles["trail-log"],
        watched_buckets=(names.bucket_arn("data"), *((away.bucket_arn("data"),) if copy else ())),
        watched_tables=(names.table_arn("tokens"),),
        watched_functions=(names.arn("lambda", f"function:{names.name(role_policies.ROTATOR)}"),),
        log_retention_days=settings.log_retention_days,
    ),
    opts,
)

# The network, and who may talk to whom in it.
net = Vpc(
    "network",
    VpcArgs(
        names,
        settings.network,
        settings.log_retention_days,
        keys.logs_arn,
        access.roles["network-log"],
        buckets=(names.bucket("data"),),
        written=(checkpoint_policies.objects(names),),
        shared=tuple(transfer_policies.old_objects(settings.moving.legacy_files)),
    ),
    opts,
)
firewall = SecurityGroups(
    "firewall",
    SecurityGroupsArgs(
        names,
        settings.network,
        seam,
        net.vpc_id,
        net.prefix_lists,
        with_proxy=settings.database.proxy,
        console_out=plan.console_out,
        webhooks=settings.webhooks.networks,
        cores={name: core.port for name, core in plan.cores.items()},
    ),
    opts,
)
NetworkAcls("acl", NetworkAclsArgs(names, settings.network, net.vpc_id, net.subnets, (DATABASE_PORT, CACHE_PORT)), opts)
endpoints = VpcEndpoints(
    "endpoints",
    VpcEndpointsArgs(names, net.vpc_id, net.endpoint_subnets, firewall.groups["endpoints"], settings.network.exec_endpoints),
    opts,
)

# Secrets and stores.
rotation = RotationFunction(
    role_policies.ROTATOR,
    RotationFunctionArgs(names, settings.key_prefix, access.roles[role_policies.ROTATOR], keys.secrets_arn, *log),
    opts,
)
secrets = {
    kind: Secret(
        kind, SecretArgs(names, kind, plan.readers_of(kind), settings.secrets, keep, keys.secrets_arn, rotation.arn), opts
    )
    for kind in seam.made_secrets
}
postgres = RdsInstance(
    "database",
    RdsInstanceArgs(
        names,
        settings.database,
        keep,
        subnet_ids=net.subnets["data"],
        security_group_id=firewall.groups["database"],
        key_arn=keys.data_arn,
        secrets_key_arn=keys.secrets_arn,
        log_key_arn=keys.logs_arn,
        log_retention_days=settings.log_retention_days,
        monitor_role_arn=access.roles["database-monitor"],
        topic_arn=told_of.arn,
    ),
    opts,
)
met = postgres.address
if settings.database.proxy:
    signs_in = access.roles[role_policies.PROXY]
    pool = RdsProxyArgs(names, net.subnets["app"], firewall.groups[role_policies.PROXY], signs_in, postgres.identifier, *log)
    met = RdsProxy("database", pool, opts).address
cache = Valkey("cache", ValkeyArgs(names, settings.cache, net.subnets["data"], firewall.groups["cache"], keys.data_arn), opts)
tokens = SecretLinksTable("tokens", SecretLinksTableArgs(names, settings.tokens, keep, keys.data_arn), opts)
BackupPlan(
    "backup",
    BackupPlanArgs(
        names,
        settings.backup,
        keep,
        empty=emptied,
        key_arn=keys.backup_arn,
        role_arn=access.roles[backup_roles.BACKUP],
        topic_arn=told_of.arn,
        resources=(postgres.arn, tokens.arn, data.arn),
        away=BackupReplica(away.region, keys.away_arn) if settings.backup.copy_away and keys.away_arn else None,
    ),
    opts,
)

# Images: the runtime's, and those of Cores and collector beside it.
image = ContainerImage(
    "image", ContainerImageArgs(names, settings.image, keys.data_arn, emptied, functions=plan.apart.arns), opts
)
beside = {
    name: ContainerImage(name, ContainerImageArgs(names, shipped, keys.data_arn, emptied, name), opts).reference
    for name, shipped in plan.images.items()
}

# The edge: three host names in front of three services, those of functions apart.
certificate = Certificate("certificate", CertificateArgs(names, settings.domain, tuple(plan.hosts.values()), keep), opts)
front = LoadBalancer(
    "edge",
    LoadBalancerArgs(
        names,
        settings.edge,
        seam.services,
        plan.hosts,
        vpc_id=net.vpc_id,
        subnet_ids=net.subnets["edge"],
        security_group_id=firewall.groups["edge"],
        zone_id=certificate.zone_id,
        certificate_arn=certificate.arn,
        log_bucket=logs.name,
    ),
    opts,
)

# Who deploys, the bill, and the account around the stack.
deployer = DeliveryRoles("deployer", DeliveryRolesArgs(names, settings.deployer, settings.domain, settings.away), opts)
Budget("budget", BudgetArgs(names, settings.budget, told_of.arn), opts)
if settings.baseline.enabled:
    AccountBaseline("baseline", AccountBaselineArgs(names, logs.name, settings.baseline.block_public_vpcs, net.exclusions), opts)

# Who is told when something does not run.
cluster = EcsCluster("main", EcsClusterArgs(names), opts)
watch = Alarms(
    "watch",
    AlarmsArgs(
        names,
        settings.watch,
        settings.database,
        key_arn=keys.logs_arn,
        balancer_label=front.label,
        routes=front.routes,
        services=tuple(plan.serving),
        cluster=cluster.name,
        database_id=postgres.identifier,
        cache_nodes=names.cache_nodes(1 + settings.cache.replicas),
        certificate_arn=certificate.arn,
        tokens=tokens.table,
        rotator=names.name(role_policies.ROTATOR),
        functions=plan.apart.stages,
        failed=names.name(role_policies.FAILED),
    ),
    opts,
)
if settings.watch.probe_minutes:
    minutes, asks, runbooks = settings.watch.probe_minutes, access.roles[synthetic_probe.NAME], settings.watch.runbooks_url
    asking = SyntheticProbe(
        "probe", SyntheticProbeArgs(names, minutes, plan.health_urls, asks, *log, runbooks, watch.topic_arn), opts
    )
    pulumi.export("probe", {"function": asking.function, "role": asks, "services": plan.health_urls})
findings = Findings("findings", FindingsArgs(names, *log), opts)

# What runs: functions, the processes of the contract, and Cores beside them.
told = plan.environment(Endpoints(met, postgres.address, cache.address))
shares = {
    name: SharingFunction(
        name,
        SharingFunctionArgs(
            names,
            settings.sharing,
            function,
            image.pullable,
            told[name],
            access.roles,
            keys.secrets_arn,
            *log,
            host=plan.hosts[function.service.name],
            zone_id=certificate.zone_id,
            certificate_arn=certificate.arn,
        ),
        opts,
    )
    for name, function in seam.functions.items()
}
stages = {name: share.stage_arn for name, share in shares.items()}
WebAcl("edge", WebAclArgs(names, settings.edge, plan.hosts, front.arn, *log, stages), opts)
registry = ServiceDiscovery(
    "directory", ServiceDiscoveryArgs(names, net.vpc_id, tuple(core.name for core in settings.cores)), opts
)
given: dict[str, pulumi.Input[str]] = {kind: secret.arn for kind, secret in secrets.items()}
given |= {"database-owner": postgres.owner_secret_arn, **plan.brought}
tasks = {
    name: TaskDefinition(
        name,
        TaskDefinitionArgs(
            names,
            process,
            plan.size(name),
            beside.get(name, image.reference),
            seam.user,
            told[name],
            given,
            access.roles[role_policies.task_role(process)],
            access.roles[role_policies.execution_role(process)],
            *log,
            masked=data_protection.policy(settings.key_prefix, findings.log_group),
            health=plan.health(name),
            collector_image=beside.get(COLLECTOR, "") if process in seam.serving else "",
        ),
        opts,
    )
    for name, process in plan.processes.items()
}
services = {
    name: EcsService(
        name,
        EcsServiceArgs(
            names,
            Demand.of(plan.scale(name)),
            settings.rollout,
            cluster_arn=cluster.arn,
            cluster_name=cluster.name,
            definition_arn=tasks[name].definition_arn,
            subnet_ids=net.subnets["app"],
            security_group_id=firewall.groups[name],
            routes=front.ways(process.services),
            balancer_label=front.label,
            mover_arn=access.roles[role_policies.MOVER],
            alarms=watch.alarms_of(process.services),
            registry_arn=registry.registries.get(name),
        ),
        opts,
    )
    for name, process in plan.serving.items()
}
LogAlarms(
    "detection",
    LogAlarmsArgs(names, settings.watch, watch.topic_arn, trail_group=trail.log_group, gateway_group=tasks["gateway"].log_group),
    opts,
)

migrates = {"subnets": net.subnets["app"], "securityGroup": firewall.groups["migrate"]}
for output, value in {
    "environment": settings.environment,
    "region": settings.region,
    "account": settings.account,
    "accountBaseline": settings.baseline.kept_by,
    "cluster": cluster.name,
    "services": {
        p.name: {"service": services[p.name].name, "taskDefinition": tasks[p.name].definition_arn} for p in seam.serving
    },
    "migration": {"taskDefinition": tasks["migrate"].definition_arn, **migrates},
    "rotation": {
        "function": rotation.function,
        "role": access.roles[role_policies.ROTATOR],
        "secrets": {kind: secret.arn for kind, secret in secrets.items()},
    },
    "roles": plan.roles(access.roles),
    "pipeline": deployer.roles,
    "functions": {name: {"function": share.function_name, "api": share.api} for name, share in shares.items()},
    "urls": plan.urls,
    "database": {"identifier": postgres.identifier, "endpoint": postgres.endpoint, "name": role_policies.DATABASE},
    "cache": {"replicationGroup": cache.replication_group},
    "tokens": tokens.table,
    "buckets": {"data": data.name, "logs": logs.name, "trail": evidence.name},
    "loadBalancer": front.dns_name,
}.items():
    pulumi.export(output, value)
