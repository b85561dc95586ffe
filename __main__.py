"""Builds one stack, part after part: each is told the settings, and what the parts before it have made."""

import pulumi
import pulumi_aws as aws

from components import checkpoints, grants, masking, moving, notices, probe, recovery
from components.access import Access, AccessArgs
from components.acl import Acl, AclArgs
from components.backup import Away, Backup, BackupArgs
from components.baseline import Baseline, BaselineArgs
from components.boundary import Boundary, BoundaryArgs
from components.bucket import Bucket
from components.budget import Budget, BudgetArgs
from components.cache import PORT as CACHE_PORT
from components.cache import Cache, CacheArgs
from components.certificate import Certificate, CertificateArgs
from components.cluster import Cluster, ClusterArgs
from components.collector import NAME as COLLECTOR
from components.database import PORT as DATABASE_PORT
from components.database import Database, DatabaseArgs
from components.deployer import Deployer, DeployerArgs
from components.detection import Detection, DetectionArgs
from components.directory import Directory, DirectoryArgs
from components.edge import Edge, EdgeArgs
from components.endpoints import Endpoints, EndpointsArgs
from components.findings import Findings, FindingsArgs
from components.firewall import Firewall, FirewallArgs
from components.image import Image, ImageArgs
from components.keyring import Keyring, KeyringArgs
from components.network import Network, NetworkArgs
from components.notices import Notices, NoticesArgs
from components.plan import Plan
from components.probe import Probe, ProbeArgs
from components.proxy import Proxy, ProxyArgs
from components.rotation import Rotation, RotationArgs
from components.secret import Secret, SecretArgs
from components.service import Demand, Service, ServiceArgs
from components.settings import load
from components.sharing import Sharing, SharingArgs
from components.storage import Copy
from components.tags import default_tags
from components.task import Task, TaskArgs
from components.tokens import Tokens, TokensArgs
from components.trail import Trail, TrailArgs
from components.variables import Surroundings
from components.waf import Waf, WafArgs
from components.watch import Watch, WatchArgs

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
ceiling = Boundary("boundary", BoundaryArgs(names, plan.regions), opts)
roles = plan.grants | (probe.grants(names) if settings.watch.probe_minutes else {})
access = Access("access", AccessArgs(names, roles, ceiling.arn), opts)
keys = Keyring(
    "keyring",
    KeyringArgs(
        names,
        settings.keys,
        keep,
        readers=plan.secret_readers,
        token_users=grants.token_users(seam),
        rotator=grants.ROTATOR,
        log_groups=plan.log_groups,
        roles=access.roles,
        signers=plan.signers,
        more=plan.key_users(notices.key_users(names)),
        away=settings.away,
    ),
    opts,
)
told_of = Notices("notices", NoticesArgs(names, settings.watch.emails, keys.logs_arn), opts)
log = (keys.logs_arn, settings.log_retention_days)  # of every log group

# Buckets: the sink of all logs, the audit trail, and data, which may have a copy in the second region.
logs = Bucket.log_sink("logs", plan.storage.sink(), opts)
evidence = Bucket("trail", plan.storage.trail(keys.logs_arn, logs.name), opts)
copy: Copy | None = None
if plan.replicated and keys.away_arn:
    far_logs = Bucket.log_sink("logs-away", plan.storage.sink_away(), opts)
    far_data = Bucket("data-away", plan.storage.data_away(keys.away_arn, far_logs.name), opts)
    copy = Copy(far_data.arn, keys.away_arn, access.roles[recovery.REPLICATION])
data = Bucket("data", plan.storage.data(keys.data_arn, logs.name, copy), opts)
trail = Trail(
    "trail",
    TrailArgs(
        names,
        bucket=evidence.name,
        key_arn=keys.logs_arn,
        role_arn=access.roles["trail-log"],
        watched_buckets=(names.bucket_arn("data"), *((away.bucket_arn("data"),) if copy else ())),
        watched_tables=(names.table_arn("tokens"),),
        watched_functions=(names.arn("lambda", f"function:{names.name(grants.ROTATOR)}"),),
        log_retention_days=settings.log_retention_days,
    ),
    opts,
)

# The network, and who may talk to whom in it.
net = Network(
    "network",
    NetworkArgs(
        names,
        settings.network,
        settings.log_retention_days,
        keys.logs_arn,
        access.roles["network-log"],
        buckets=(names.bucket("data"),),
        written=(checkpoints.objects(names),),
        shared=tuple(moving.old_objects(settings.moving.legacy_files)),
    ),
    opts,
)
firewall = Firewall(
    "firewall",
    FirewallArgs(
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
Acl("acl", AclArgs(names, settings.network, net.vpc_id, net.subnets, (DATABASE_PORT, CACHE_PORT)), opts)
endpoints = Endpoints(
    "endpoints",
    EndpointsArgs(names, net.vpc_id, net.endpoint_subnets, firewall.groups["endpoints"], settings.network.exec_endpoints),
    opts,
)

# Secrets and stores.
rotation = Rotation(
    grants.ROTATOR, RotationArgs(names, settings.key_prefix, access.roles[grants.ROTATOR], keys.secrets_arn, *log), opts
)
secrets = {
    kind: Secret(
        kind, SecretArgs(names, kind, plan.readers_of(kind), settings.secrets, keep, keys.secrets_arn, rotation.arn), opts
    )
    for kind in seam.made_secrets
}
postgres = Database(
    "database",
    DatabaseArgs(
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
    signs_in = access.roles[grants.PROXY]
    pool = ProxyArgs(names, net.subnets["app"], firewall.groups[grants.PROXY], signs_in, postgres.identifier, *log)
    met = Proxy("database", pool, opts).address
cache = Cache("cache", CacheArgs(names, settings.cache, net.subnets["data"], firewall.groups["cache"], keys.data_arn), opts)
tokens = Tokens("tokens", TokensArgs(names, settings.tokens, keep, keys.data_arn), opts)
Backup(
    "backup",
    BackupArgs(
        names,
        settings.backup,
        keep,
        empty=emptied,
        key_arn=keys.backup_arn,
        role_arn=access.roles[recovery.BACKUP],
        topic_arn=told_of.arn,
        resources=(postgres.arn, tokens.arn, data.arn),
        away=Away(away.region, keys.away_arn) if settings.backup.copy_away and keys.away_arn else None,
    ),
    opts,
)

# Images: the runtime's, and those of Cores and collector beside it.
image = Image("image", ImageArgs(names, settings.image, keys.data_arn, emptied, functions=plan.apart.arns), opts)
beside = {
    name: Image(name, ImageArgs(names, shipped, keys.data_arn, emptied, name), opts).reference
    for name, shipped in plan.images.items()
}

# The edge: three host names in front of three doors, those of functions apart.
certificate = Certificate("certificate", CertificateArgs(names, settings.domain, tuple(plan.hosts.values()), keep), opts)
front = Edge(
    "edge",
    EdgeArgs(
        names,
        settings.edge,
        seam.doors,
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
deployer = Deployer("deployer", DeployerArgs(names, settings.deployer, settings.domain, settings.away), opts)
Budget("budget", BudgetArgs(names, settings.budget, told_of.arn), opts)
if settings.baseline.enabled:
    Baseline("baseline", BaselineArgs(names, logs.name, settings.baseline.block_public_vpcs, net.exclusions), opts)

# Who is told when something does not run.
cluster = Cluster("main", ClusterArgs(names), opts)
watch = Watch(
    "watch",
    WatchArgs(
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
        rotator=names.name(grants.ROTATOR),
        functions=plan.apart.stages,
        failed=names.name(grants.FAILED),
    ),
    opts,
)
if settings.watch.probe_minutes:
    minutes, asks, runbooks = settings.watch.probe_minutes, access.roles[probe.NAME], settings.watch.runbooks_url
    asking = Probe("probe", ProbeArgs(names, minutes, plan.health_urls, asks, *log, runbooks, watch.topic_arn), opts)
    pulumi.export("probe", {"function": asking.function, "role": asks, "doors": plan.health_urls})
findings = Findings("findings", FindingsArgs(names, *log), opts)

# What runs: functions, the processes of the contract, and Cores beside them.
told = plan.variables(Surroundings(met, postgres.address, cache.address))
shares = {
    name: Sharing(
        name,
        SharingArgs(
            names,
            settings.sharing,
            function,
            image.pullable,
            told[name],
            access.roles,
            keys.secrets_arn,
            *log,
            host=plan.hosts[function.door.name],
            zone_id=certificate.zone_id,
            certificate_arn=certificate.arn,
        ),
        opts,
    )
    for name, function in seam.functions.items()
}
stages = {name: share.stage_arn for name, share in shares.items()}
Waf("edge", WafArgs(names, settings.edge, plan.hosts, front.arn, *log, stages), opts)
registry = Directory("directory", DirectoryArgs(names, net.vpc_id, tuple(core.name for core in settings.cores)), opts)
given: dict[str, pulumi.Input[str]] = {kind: secret.arn for kind, secret in secrets.items()}
given |= {"database-owner": postgres.owner_secret_arn, **plan.brought}
tasks = {
    name: Task(
        name,
        TaskArgs(
            names,
            process,
            plan.size(name),
            beside.get(name, image.reference),
            seam.user,
            told[name],
            given,
            access.roles[grants.task_role(process)],
            access.roles[grants.execution_role(process)],
            *log,
            masked=masking.policy(settings.key_prefix, findings.log_group),
            health=plan.health(name),
            collector_image=beside.get(COLLECTOR, "") if process in seam.serving else "",
        ),
        opts,
    )
    for name, process in plan.processes.items()
}
services = {
    name: Service(
        name,
        ServiceArgs(
            names,
            Demand.of(plan.scale(name)),
            settings.rollout,
            cluster_arn=cluster.arn,
            cluster_name=cluster.name,
            definition_arn=tasks[name].definition_arn,
            subnet_ids=net.subnets["app"],
            security_group_id=firewall.groups[name],
            routes=front.ways(process.doors),
            balancer_label=front.label,
            mover_arn=access.roles[grants.MOVER],
            alarms=watch.alarms_of(process.doors),
            registry_arn=registry.registries.get(name),
        ),
        opts,
    )
    for name, process in plan.serving.items()
}
Detection(
    "detection",
    DetectionArgs(names, settings.watch, watch.topic_arn, trail_group=trail.log_group, gateway_group=tasks["gateway"].log_group),
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
        "role": access.roles[grants.ROTATOR],
        "secrets": {kind: secret.arn for kind, secret in secrets.items()},
    },
    "roles": plan.roles(access.roles),
    "pipeline": deployer.roles,
    "functions": {name: {"function": share.function_name, "api": share.api} for name, share in shares.items()},
    "urls": plan.urls,
    "database": {"identifier": postgres.identifier, "endpoint": postgres.endpoint, "name": grants.DATABASE},
    "cache": {"replicationGroup": cache.replication_group},
    "tokens": tokens.table,
    "buckets": {"data": data.name, "logs": logs.name, "trail": evidence.name},
    "loadBalancer": front.dns_name,
}.items():
    pulumi.export(output, value)
