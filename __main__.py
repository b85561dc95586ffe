"""Builds one stack, part after part: each is told the settings, and what the parts before it have made."""

import pulumi
import pulumi_aws as aws

from components.account.baseline import AccountBaseline, AccountBaselineArgs
from components.account.budget import Budget, BudgetArgs
from components.account.cloud_trail import CloudTrail, CloudTrailArgs
from components.backup.backup_plan import BackupPlan, BackupPlanArgs, BackupReplica
from components.compute.container_image import ContainerImage, ContainerImageArgs
from components.compute.ecs_cluster import EcsCluster, EcsClusterArgs
from components.compute.ecs_service import Capacity, EcsService, EcsServiceArgs
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
from components.monitoring.data_protection import DataProtection, DataProtectionArgs
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
from components.settings.loader import load
from components.sharing.sharing_function import SharingFunction, SharingFunctionArgs
from components.storage.bucket import Bucket, BucketReplica
from components.tags import default_tags

settings = load()
plan = Plan(settings)
names, away, seam = plan.names, plan.away, plan.seam
keep, emptied = settings.protection, settings.buckets.force_destroy
provider = aws.Provider(
    "aws",
    region=settings.region,
    allowed_account_ids=[settings.account],
    default_tags=aws.ProviderDefaultTagsArgs(tags=default_tags(settings)),
)
opts = pulumi.ResourceOptions(provider=provider)

# Who may do what, and the keys that hold it together.
ceiling = PermissionsBoundary("boundary", PermissionsBoundaryArgs(names=names, regions=plan.regions), opts)
roles = plan.grants | (synthetic_probe.role_definitions(names) if settings.monitoring.probe_interval_minutes else {})
access = Roles("access", RolesArgs(names=names, definitions=roles, boundary_arn=ceiling.arn), opts)
keys = KmsKeys(
    "keyring",
    KmsKeysArgs(
        names=names,
        kms_keys=settings.kms_keys,
        protection=keep,
        secret_readers=plan.secret_readers,
        table_roles=role_policies.token_users(seam),
        rotation_role=role_policies.ROTATION_FUNCTION,
        log_groups=plan.log_groups,
        role_arns=access.arns,
        signing_roles=plan.signers,
        additional_statements=plan.key_users(topics.key_users(names)),
        replica_region=settings.replica_region,
    ),
    opts,
)
told_of = NotificationTopic(
    "notices", NotificationTopicArgs(names=names, emails=settings.monitoring.emails, key_arn=keys.logs_arn), opts
)
log = (keys.logs_arn, settings.log_retention_days)  # of every log group

# Buckets: the sink of all logs, the audit trail, and data, which may have a copy in the second region.
logs = Bucket.log_sink("logs", plan.storage.sink(), opts)
evidence = Bucket("trail", plan.storage.trail(keys.logs_arn, logs.name), opts)
copy: BucketReplica | None = None
if plan.replicated and keys.replica_arn:
    far_logs = Bucket.log_sink("logs-away", plan.storage.sink_away(), opts)
    far_data = Bucket("data-away", plan.storage.data_away(keys.replica_arn, far_logs.name), opts)
    copy = BucketReplica(far_data.arn, keys.replica_arn, access.arns[backup_roles.REPLICATION])
data = Bucket("data", plan.storage.data(keys.data_arn, logs.name, copy), opts)
trail = CloudTrail(
    "trail",
    CloudTrailArgs(
        names=names,
        bucket=evidence.name,
        key_arn=keys.logs_arn,
        role_arn=access.arns["trail-log"],
        data_event_buckets=(names.bucket_arn("data"), *((away.bucket_arn("data"),) if copy else ())),
        data_event_tables=(names.table_arn("tokens"),),
        data_event_functions=(names.arn("lambda", f"function:{names.name(role_policies.ROTATION_FUNCTION)}"),),
        log_retention_days=settings.log_retention_days,
    ),
    opts,
)

# The network, and who may talk to whom in it.
net = Vpc(
    "network",
    VpcArgs(
        names=names,
        network=settings.network,
        log_retention_days=settings.log_retention_days,
        log_key_arn=keys.logs_arn,
        log_role_arn=access.arns["network-log"],
        buckets=(names.bucket("data"),),
        write_only_objects=(checkpoint_policies.object_arns(names),),
        shared_objects=tuple(transfer_policies.object_arns(settings.legacy_files)),
    ),
    opts,
)
firewall = SecurityGroups(
    "firewall",
    SecurityGroupsArgs(
        names=names,
        network=settings.network,
        contract=seam,
        vpc_id=net.vpc_id,
        prefix_lists=net.prefix_lists,
        rds_proxy=settings.database.proxy,
        console_egress=plan.console_out,
        webhook_networks=settings.notifications.webhook_networks,
        core_ports={name: core.port for name, core in plan.cores.items()},
    ),
    opts,
)
NetworkAcls(
    "acl",
    NetworkAclsArgs(
        names=names, network=settings.network, vpc_id=net.vpc_id, subnets=net.subnets, store_ports=(DATABASE_PORT, CACHE_PORT)
    ),
    opts,
)
endpoints = VpcEndpoints(
    "endpoints",
    VpcEndpointsArgs(
        names=names,
        vpc_id=net.vpc_id,
        subnet_ids=net.endpoint_subnets,
        security_group_id=firewall.groups["endpoints"],
        ecs_exec=settings.network.exec_endpoints,
    ),
    opts,
)

# Secrets and stores.
rotation = RotationFunction(
    role_policies.ROTATION_FUNCTION,
    RotationFunctionArgs(
        names=names,
        key_prefix=settings.key_prefix,
        role_arn=access.arns[role_policies.ROTATION_FUNCTION],
        key_arn=keys.secrets_arn,
        log_key_arn=keys.logs_arn,
        log_retention_days=settings.log_retention_days,
    ),
    opts,
)
secrets = {
    kind: Secret(
        kind,
        SecretArgs(
            names=names,
            kind=kind,
            reader_arns=plan.readers_of(kind),
            secrets=settings.secrets,
            protection=keep,
            key_arn=keys.secrets_arn,
            function_arn=rotation.arn,
        ),
        opts,
    )
    for kind in seam.made_secrets
}
postgres = RdsInstance(
    "database",
    RdsInstanceArgs(
        names=names,
        database=settings.database,
        protection=keep,
        subnet_ids=net.subnets["data"],
        security_group_id=firewall.groups["database"],
        key_arn=keys.data_arn,
        secrets_key_arn=keys.secrets_arn,
        log_key_arn=keys.logs_arn,
        log_retention_days=settings.log_retention_days,
        monitoring_role_arn=access.arns["database-monitor"],
        topic_arn=told_of.arn,
    ),
    opts,
)
met = postgres.address
if settings.database.proxy:
    signs_in = access.arns[role_policies.PROXY]
    pool = RdsProxyArgs(
        names=names,
        subnet_ids=net.subnets["app"],
        security_group_id=firewall.groups[role_policies.PROXY],
        role_arn=signs_in,
        instance_identifier=postgres.identifier,
        log_key_arn=keys.logs_arn,
        log_retention_days=settings.log_retention_days,
    )
    met = RdsProxy("database", pool, opts).address
cache = Valkey(
    "cache",
    ValkeyArgs(
        names=names,
        cache=settings.cache,
        subnet_ids=net.subnets["data"],
        security_group_id=firewall.groups["cache"],
        key_arn=keys.data_arn,
    ),
    opts,
)
tokens = SecretLinksTable(
    "tokens",
    SecretLinksTableArgs(names=names, secret_links_table=settings.secret_links_table, protection=keep, key_arn=keys.data_arn),
    opts,
)
BackupPlan(
    "backup",
    BackupPlanArgs(
        names=names,
        backup=settings.backup,
        protection=keep,
        force_destroy=emptied,
        key_arn=keys.backup_arn,
        role_arn=access.arns[backup_roles.BACKUP],
        topic_arn=told_of.arn,
        resources=(postgres.arn, tokens.arn, data.arn),
        replica=BackupReplica(away.region, keys.replica_arn) if settings.backup.cross_region_copy and keys.replica_arn else None,
    ),
    opts,
)

# Images: the runtime's, and those of Cores and collector beside it.
image = ContainerImage(
    "image",
    ContainerImageArgs(
        names=names, image=settings.image, key_arn=keys.data_arn, force_delete=emptied, function_arns=plan.apart.arns
    ),
    opts,
)
beside = {
    name: ContainerImage(
        name, ContainerImageArgs(names=names, image=shipped, key_arn=keys.data_arn, force_delete=emptied, repository=name), opts
    ).reference
    for name, shipped in plan.images.items()
}

# The edge: three host names in front of three services, those of functions apart.
certificate = Certificate(
    "certificate",
    CertificateArgs(names=names, domain=settings.domain, host_names=tuple(plan.hosts.values()), protection=keep),
    opts,
)
front = LoadBalancer(
    "edge",
    LoadBalancerArgs(
        names=names,
        load_balancer=settings.load_balancer,
        services=seam.services,
        host_names=plan.hosts,
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
deployer = DeliveryRoles(
    "deployer",
    DeliveryRolesArgs(names=names, delivery=settings.delivery, domain=settings.domain, replica_region=settings.replica_region),
    opts,
)
Budget("budget", BudgetArgs(names=names, budget=settings.budget, topic_arn=told_of.arn), opts)
if settings.account_baseline.enabled:
    AccountBaseline(
        "baseline",
        AccountBaselineArgs(
            names=names,
            log_bucket=logs.name,
            block_public_vpcs=settings.account_baseline.block_public_vpcs,
            exclusions=net.exclusions,
        ),
        opts,
    )

# Who is told when something does not run.
cluster = EcsCluster("main", EcsClusterArgs(names=names), opts)
watch = Alarms(
    "watch",
    AlarmsArgs(
        names=names,
        monitoring=settings.monitoring,
        database=settings.database,
        key_arn=keys.logs_arn,
        load_balancer_label=front.label,
        target_groups=front.target_groups,
        ecs_services=tuple(plan.serving),
        cluster=cluster.name,
        database_id=postgres.identifier,
        cache_nodes=names.cache_nodes(1 + settings.cache.replicas),
        certificate_arn=certificate.arn,
        table=tokens.table,
        rotation_function=names.name(role_policies.ROTATION_FUNCTION),
        functions=plan.apart.stages,
        dead_letter_queue=names.name(role_policies.FAILED),
    ),
    opts,
)
if settings.monitoring.probe_interval_minutes:
    minutes, asks, runbooks = (
        settings.monitoring.probe_interval_minutes,
        access.arns[synthetic_probe.NAME],
        settings.monitoring.runbooks_url,
    )
    asking = SyntheticProbe(
        "probe",
        SyntheticProbeArgs(
            names=names,
            interval_minutes=minutes,
            urls=plan.health_urls,
            role_arn=asks,
            log_key_arn=keys.logs_arn,
            log_retention_days=settings.log_retention_days,
            runbooks_url=runbooks,
            topic_arn=watch.topic_arn,
        ),
        opts,
    )
    pulumi.export("probe", {"function": asking.function, "role": asks, "services": plan.health_urls})
findings = DataProtection(
    "findings", DataProtectionArgs(names=names, log_key_arn=keys.logs_arn, log_retention_days=settings.log_retention_days), opts
)

# What runs: functions, the processes of the contract, and Cores beside them.
told = plan.environment(Endpoints(met, postgres.address, cache.address))
shares = {
    name: SharingFunction(
        name,
        SharingFunctionArgs(
            names=names,
            sharing=settings.sharing,
            function=function,
            image=image.lambda_reference,
            variables=told[name],
            role_arns=access.arns,
            key_arn=keys.secrets_arn,
            log_key_arn=keys.logs_arn,
            log_retention_days=settings.log_retention_days,
            host_name=plan.hosts[function.service.name],
            zone_id=certificate.zone_id,
            certificate_arn=certificate.arn,
        ),
        opts,
    )
    for name, function in seam.functions.items()
}
stages = {name: share.stage_arn for name, share in shares.items()}
WebAcl(
    "edge",
    WebAclArgs(
        names=names,
        waf=settings.waf,
        host_names=plan.hosts,
        load_balancer_arn=front.arn,
        log_key_arn=keys.logs_arn,
        log_retention_days=settings.log_retention_days,
        stage_arns=stages,
    ),
    opts,
)
registry = ServiceDiscovery(
    "directory",
    ServiceDiscoveryArgs(names=names, vpc_id=net.vpc_id, core_names=tuple(core.name for core in settings.cores)),
    opts,
)
given: dict[str, pulumi.Input[str]] = {kind: secret.arn for kind, secret in secrets.items()}
given |= {"database-owner": postgres.owner_secret_arn, **plan.brought}
tasks = {
    name: TaskDefinition(
        name,
        TaskDefinitionArgs(
            names=names,
            process=process,
            size=plan.size(name),
            image=beside.get(name, image.reference),
            user=seam.user,
            variables=told[name],
            secret_arns=given,
            task_role_arn=access.arns[role_policies.task_role(process)],
            execution_role_arn=access.arns[role_policies.execution_role(process)],
            log_key_arn=keys.logs_arn,
            log_retention_days=settings.log_retention_days,
            data_protection_policy=data_protection.policy(settings.key_prefix, findings.log_group),
            health_command=plan.health(name),
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
            names=names,
            capacity=Capacity.of(plan.scale(name)),
            rollout=settings.rollout,
            cluster_arn=cluster.arn,
            cluster_name=cluster.name,
            task_definition_arn=tasks[name].definition_arn,
            subnet_ids=net.subnets["app"],
            security_group_id=firewall.groups[name],
            target_groups=front.target_groups_of(process.services),
            load_balancer_label=front.label,
            infrastructure_role_arn=access.arns[role_policies.ECS_INFRASTRUCTURE],
            rollback_alarms=watch.rollback_alarms(process.services),
            registry_arn=registry.arns.get(name),
        ),
        opts,
    )
    for name, process in plan.serving.items()
}
LogAlarms(
    "detection",
    LogAlarmsArgs(
        names=names,
        monitoring=settings.monitoring,
        topic_arn=watch.topic_arn,
        trail_log_group=trail.log_group,
        gateway_log_group=tasks["gateway"].log_group,
    ),
    opts,
)

migrates = {"subnets": net.subnets["app"], "securityGroup": firewall.groups["migrate"]}
for output, value in {
    "environment": settings.environment,
    "region": settings.region,
    "account": settings.account,
    "accountBaseline": settings.account_baseline.managed_by_stack,
    "cluster": cluster.name,
    "services": {
        p.name: {"service": services[p.name].name, "taskDefinition": tasks[p.name].definition_arn} for p in seam.serving
    },
    "migration": {"taskDefinition": tasks["migrate"].definition_arn, **migrates},
    "rotation": {
        "function": rotation.function,
        "role": access.arns[role_policies.ROTATION_FUNCTION],
        "secrets": {kind: secret.arn for kind, secret in secrets.items()},
    },
    "roles": plan.roles(access.arns),
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
