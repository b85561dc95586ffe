"""Joins the components of one stack: settings first, then each component with what the ones before it have made."""

from dataclasses import replace
from functools import partial

import pulumi
import pulumi_aws as aws

from components import (
    baseline,
    bucketpolicy,
    checkpoints,
    collector,
    contract,
    database,
    directory,
    edge,
    grants,
    masking,
    notices,
    probe,
    recovery,
)
from components.access import Access, AccessArgs
from components.acl import Acl, AclArgs
from components.backup import Away, Backup, BackupArgs
from components.baseline import Baseline, BaselineArgs
from components.boundary import Boundary, BoundaryArgs
from components.bucket import Bucket, BucketArgs, Copy
from components.budget import Budget, BudgetArgs
from components.cache import PORT as CACHE_PORT
from components.cache import Cache, CacheArgs
from components.certificate import Certificate, CertificateArgs
from components.cluster import Cluster, ClusterArgs
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
from components.naming import Naming
from components.network import Network, NetworkArgs
from components.notices import Notices, NoticesArgs
from components.probe import Probe, ProbeArgs
from components.proxy import Proxy, ProxyArgs
from components.rotation import Rotation, RotationArgs
from components.secret import Secret, SecretArgs
from components.service import Demand, Service, ServiceArgs
from components.settings import load
from components.share_access import Apart
from components.sharing import Sharing, SharingArgs
from components.tags import default_tags
from components.task import Task, TaskArgs
from components.tiers import tier_cidrs
from components.tokens import Tokens, TokensArgs
from components.trail import Trail, TrailArgs
from components.variables import Surroundings, of_core, variables
from components.waf import Waf, WafArgs
from components.watch import Watch, WatchArgs

settings = load()
names = Naming.of(settings)
seam = contract.read(apart=settings.sharing.functions)
apart = Apart(names, seam, settings.sharing.log_role)
cores = {core.thing: core for core in settings.cores}
processes = seam.processes | {name: core.process for name, core in cores.items()}
keep = settings.keep
days = settings.log_retention_days
provider = aws.Provider(
    "aws",
    region=settings.region,
    allowed_account_ids=[settings.account],
    default_tags=aws.ProviderDefaultTagsArgs(tags=default_tags(settings)),
)
opts = pulumi.ResourceOptions(provider=provider)

# Who may do what, and the keys that hold it together.
# Copies go to the second region, if anywhere: `away` has the names there.
away, replicated = replace(names, region=settings.away), settings.away if settings.buckets.replicate else ""
roles = (
    grants.grants(names, seam, proxied=settings.database.proxy, collector=settings.telemetry.on)
    | grants.core_grants(names, settings.cores)
    | recovery.grants(names, replicated=replicated)
    | (probe.grants(names) if settings.watch.probe_minutes else {})
    | apart.grants()
)
ceiling = Boundary("boundary", BoundaryArgs(names, (settings.region, *filter(None, (settings.away,)))), opts)
signers = tuple(grants.task_role(process) for process in checkpoints.signing(seam))
access = Access("access", AccessArgs(names, roles, ceiling.arn), opts)
keys = Keyring(
    "keyring",
    KeyringArgs(
        names,
        settings.keys,
        keep,
        readers=grants.secret_readers(names, seam) | grants.core_readers(settings.cores),
        token_users=grants.token_users(seam),
        rotator=grants.ROTATOR,
        log_groups=names.log_groups((*processes, *apart.log_groups), proxied=settings.database.proxy),
        roles=access.roles,
        signers=signers,
        more={
            **recovery.key_users(names, replicated=replicated, away=settings.away),
            **apart.key_users(),
            "logs": (*notices.key_users(names), *checkpoints.key_users(names, signers)),
        },
        away=settings.away,
    ),
    opts,
)
told_of = Notices("notices", NoticesArgs(names, settings.watch.emails, keys.logs_arn), opts)

# Buckets: the sink of all logs, the audit trail, and data with its copy.
sink, trail_bucket, data_bucket = (names.bucket(thing) for thing in ("logs", "trail", "data"))
store = partial(
    BucketArgs, keep=keep, noncurrent_days=settings.buckets.noncurrent_days, force_destroy=settings.buckets.force_destroy
)
writers = (
    *bucketpolicy.access_log_writers(names, sink, (trail_bucket, data_bucket)),
    *bucketpolicy.load_balancer_log_writers(names, sink, edge.LOG_PREFIXES),
    *(bucketpolicy.config_writers(names, sink, baseline.LOG_PREFIX) if settings.baseline.enabled else ()),
)
policy = bucketpolicy.bucket_policy(names, sink, encrypted_by_key=False, writers=writers)
logs = Bucket.log_sink("logs", store(sink, policy, "log", expire_days=settings.buckets.log_days), opts)
policy = bucketpolicy.bucket_policy(
    names, trail_bucket, encrypted_by_key=True, writers=bucketpolicy.trail_writers(names, trail_bucket)
)
evidence = Bucket(
    "trail",
    store(
        trail_bucket,
        policy,
        "log",
        key_arn=keys.logs_arn,
        log_bucket=logs.name,
        expire_days=settings.buckets.trail_days,
        lock_days=settings.buckets.lock_days,
        lock_mode=settings.buckets.lock_mode,
        purpose="trail",
    ),
    opts,
)
copy: Copy | None = None
if replicated and keys.away_arn:
    sink, target = (away.bucket(thing) for thing in ("logs", "data"))
    writers = bucketpolicy.access_log_writers(names, sink, (target,))
    policy = bucketpolicy.bucket_policy(names, sink, encrypted_by_key=False, writers=writers)
    far = partial(store, region=away.region)
    far_logs = Bucket.log_sink("logs-away", far(sink, policy, "log", expire_days=settings.buckets.log_days), opts)
    policy = bucketpolicy.bucket_policy(names, target, encrypted_by_key=True)
    held = far(target, policy, "confidential", key_arn=keys.away_arn, log_bucket=far_logs.name)
    copy = Copy(Bucket("data-away", held, opts).arn, keys.away_arn, access.roles[recovery.REPLICATION])
policy = bucketpolicy.bucket_policy(names, data_bucket, encrypted_by_key=True)
data = Bucket("data", store(data_bucket, policy, "confidential", key_arn=keys.data_arn, log_bucket=logs.name, copy=copy), opts)
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
        log_retention_days=days,
    ),
    opts,
)

# The network, and who may talk to whom in it.
net = Network(
    "network",
    NetworkArgs(
        names,
        settings.network,
        days,
        keys.logs_arn,
        access.roles["network-log"],
        buckets=(data_bucket,),
        written=(checkpoints.objects(names),),
    ),
    opts,
)
core_ports = {core.thing: core.port for core in settings.cores}
firewall = Firewall(
    "firewall",
    FirewallArgs(names, settings.network, seam, net.vpc_id, net.prefix_lists, settings.database.proxy, cores=core_ports),
    opts,
)
Acl("acl", AclArgs(names, settings.network, net.vpc_id, net.subnets, (database.PORT, CACHE_PORT)), opts)
endpoints = Endpoints(
    "endpoints",
    EndpointsArgs(names, net.vpc_id, net.endpoint_subnets, firewall.groups["endpoints"], settings.network.exec_endpoints),
    opts,
)

# Secrets and stores.
rotation = Rotation(
    grants.ROTATOR,
    RotationArgs(names, settings.key_prefix, access.roles[grants.ROTATOR], keys.secrets_arn, keys.logs_arn, days),
    opts,
)
secrets = {
    kind: Secret(
        kind,
        SecretArgs(
            names,
            kind,
            readers=grants.readers_of(names, seam, kind, settings.secrets.operators),
            secrets=settings.secrets,
            keep=keep,
            key_arn=keys.secrets_arn,
            function_arn=rotation.arn,
        ),
        opts,
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
        log_retention_days=days,
        monitor_role_arn=access.roles["database-monitor"],
        topic_arn=told_of.arn,
    ),
    opts,
)
met = postgres.address
if settings.database.proxy:
    pool = ProxyArgs(
        names,
        net.subnets["app"],
        firewall.groups[grants.PROXY],
        access.roles[grants.PROXY],
        postgres.identifier,
        keys.logs_arn,
        days,
    )
    met = Proxy("database", pool, opts).address
cache = Cache("cache", CacheArgs(names, settings.cache, net.subnets["data"], firewall.groups["cache"], keys.data_arn), opts)
tokens = Tokens("tokens", TokensArgs(names, settings.tokens, keep, keys.data_arn), opts)
Backup(
    "backup",
    BackupArgs(
        names,
        settings.backup,
        keep,
        empty=settings.buckets.force_destroy,
        key_arn=keys.backup_arn,
        role_arn=access.roles[recovery.BACKUP],
        topic_arn=told_of.arn,
        resources=(postgres.arn, tokens.arn, data.arn),
        away=Away(away.region, keys.away_arn) if settings.backup.copy_away and keys.away_arn else None,
    ),
    opts,
)
shipped = ImageArgs(names, settings.image, keys.data_arn, settings.buckets.force_destroy, functions=apart.arns)
image = Image("image", shipped, opts)

# The edge: three host names in front of three doors, those of functions apart.
hosts = {door: f"{door}.{settings.domain}" for door in seam.addresses}
urls = {door: f"https://{host}" for door, host in hosts.items()}
certificate = Certificate("certificate", CertificateArgs(names, settings.domain, tuple(hosts.values()), keep), opts)
front = Edge(
    "edge",
    EdgeArgs(
        names,
        settings.edge,
        seam.doors,
        hosts,
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
    guards = BaselineArgs(names, logs.name, settings.baseline.block_public_vpcs, net.exclusions)
    Baseline("baseline", guards, opts)

# What runs, and who is told when it does not.
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
        services=tuple(name for name, process in processes.items() if process.doors),
        cluster=cluster.name,
        database_id=postgres.identifier,
        cache_nodes=names.cache_nodes(1 + settings.cache.replicas),
        certificate_arn=certificate.arn,
        tokens=tokens.table,
        rotator=names.name(grants.ROTATOR),
        functions=apart.stages,
        failed=names.name(grants.FAILED),
    ),
    opts,
)
asked = {name: f"{url}{seam.addresses[name].health}" for name, url in urls.items()}
if settings.watch.probe_minutes:
    beat = ProbeArgs(
        names,
        settings.watch.probe_minutes,
        asked,
        access.roles[probe.NAME],
        keys.logs_arn,
        days,
        settings.watch.runbooks_url,
        watch.topic_arn,
    )
    pulumi.export("probe", {"function": Probe("probe", beat, opts).function, "role": access.roles[probe.NAME], "doors": asked})
masked = masking.policy(settings.key_prefix, Findings("findings", FindingsArgs(names, keys.logs_arn, days), opts).log_group)
told = variables(
    settings,
    names,
    seam,
    Surroundings(
        database=met,
        database_direct=postgres.address,
        database_name=database.NAME,
        application=grants.DATABASE_USER,
        owner=database.OWNER,
        cache=cache.address,
        cache_user=cache.user,
        cache_group=names.name("cache"),
        tokens=names.name("tokens"),
        urls=urls,
        proxies=tuple(tier_cidrs(settings.network, "edge")),
        core_tier=tuple(tier_cidrs(settings.network, "app")) if cores else (),
    ),
)
told |= {name: of_core(core, directory.url(names, core.name, core.port), urls["gate"]) for name, core in cores.items()}
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
            keys.logs_arn,
            days,
            hosts[function.door.name],
            certificate.zone_id,
            certificate.arn,
        ),
        opts,
    )
    for name, function in seam.functions.items()
}
stages = {name: share.stage_arn for name, share in shares.items()}
waf = Waf("edge", WafArgs(names, settings.edge, hosts, front.arn, keys.logs_arn, days, stages), opts)
registry = Directory("directory", DirectoryArgs(names, net.vpc_id, tuple(core.name for core in settings.cores)), opts)
kept = settings.image.kept
images = {
    name: Image(name, ImageArgs(names, core.shipped(kept), keys.data_arn, settings.buckets.force_destroy, name), opts)
    for name, core in cores.items()
}
beside = (
    Image(
        collector.NAME,
        ImageArgs(names, settings.telemetry.shipped(kept), keys.data_arn, settings.buckets.force_destroy, collector.NAME),
        opts,
    ).reference
    if settings.telemetry.on
    else ""
)
tasks = {
    name: Task(
        name,
        TaskArgs(
            names,
            process,
            cores.get(name) or settings.services.of(name),
            images.get(name, image).reference,
            seam.user,
            variables=told[name],
            secret_arns={kind: secret.arn for kind, secret in secrets.items()}
            | {"database-owner": postgres.owner_secret_arn}
            | {thing: core.token_arn for thing, core in cores.items()},
            task_role_arn=access.roles[grants.task_role(process)],
            execution_role_arn=access.roles[grants.execution_role(process)],
            log_key_arn=keys.logs_arn,
            log_retention_days=days,
            masked=masked,
            health=cores[name].health if name in cores else (),
            collector_image=beside if process in seam.serving else "",
        ),
        opts,
    )
    for name, process in processes.items()
}
services = {
    name: Service(
        name,
        ServiceArgs(
            names,
            Demand.of(cores.get(name) or settings.services.scale(name)),
            settings.rollout,
            cluster_arn=cluster.arn,
            cluster_name=cluster.name,
            definition_arn=tasks[name].definition_arn,
            subnet_ids=net.subnets["app"],
            security_group_id=firewall.groups[name],
            routes={door.port: front.routes[door.name] for door in process.doors if door.name in front.routes},
            balancer_label=front.label,
            mover_arn=access.roles[grants.MOVER],
            alarms=[alarm for door in process.doors for alarm in watch.door_alarms.get(door.name, [])],
            registry_arn=registry.registries.get(name),
        ),
        opts,
    )
    for name, process in processes.items()
    if process.doors
}
Detection(
    "detection",
    DetectionArgs(names, settings.watch, watch.topic_arn, trail_group=trail.log_group, gate_group=tasks["gate"].log_group),
    opts,
)

pulumi.export("environment", settings.environment)
pulumi.export("region", settings.region)
pulumi.export("account", settings.account)
pulumi.export("accountBaseline", settings.baseline.kept_by)
pulumi.export("cluster", cluster.name)
pulumi.export(
    "services",
    {p.name: {"service": services[p.name].name, "taskDefinition": tasks[p.name].definition_arn} for p in seam.serving},
)
pulumi.export(
    "migration",
    {
        "taskDefinition": tasks["migrate"].definition_arn,
        "subnets": net.subnets["app"],
        "securityGroup": firewall.groups["migrate"],
    },
)
pulumi.export(
    "rotation",
    {
        "function": rotation.function,
        "role": access.roles[grants.ROTATOR],
        "secrets": {kind: secret.arn for kind, secret in secrets.items()},
    },
)
pulumi.export(
    "roles",
    {f"{name}Task": access.roles[grants.task_role(process)] for name, process in seam.processes.items()}
    | {f"{name}Function": access.roles[grants.function_role(name)] for name in shares}
    | {f"{name}Execution": access.roles[grants.execution_role(process)] for name, process in seam.processes.items()},
)
pulumi.export("pipeline", deployer.roles)
pulumi.export("functions", {name: {"function": share.function_name, "api": share.api} for name, share in shares.items()})
pulumi.export("urls", urls)
pulumi.export("database", {"identifier": postgres.identifier, "endpoint": postgres.endpoint, "name": database.NAME})
pulumi.export("cache", {"replicationGroup": cache.replication_group})
pulumi.export("tokens", tokens.table)
pulumi.export("buckets", {"data": data.name, "logs": logs.name, "trail": evidence.name})
pulumi.export("loadBalancer", front.dns_name)
