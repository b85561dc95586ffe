"""Creates the resources of a stack, in an order in which each uses those above it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

from components.account.budget import Budget
from components.compute.ecs_service import EcsCluster, EcsService
from components.compute.environment import environments
from components.compute.task_definition import TaskDefinition
from components.context import Stack
from components.edge.host_records import HostRecords, HostTarget
from components.iam import role_policies
from components.monitoring import synthetic_probe
from components.monitoring.log_alarms import LogAlarms
from components.secrets.restart_function import RestartFunction
from components.sharing.sharing_function import SharingFunction
from components.stack.base import Base, create_base
from components.stack.data import (
    DataStores,
    Network,
    Secrets,
    Storage,
    create_data_stores,
    create_network,
    create_secrets,
    create_storage,
)
from components.stack.edge import Edge, Monitoring, create_edge, create_monitoring, create_web_acl
from components.stack.workloads import (
    Images,
    create_functions,
    create_images,
    create_migration,
    create_services,
    create_tasks,
    host_targets,
    migration_task,
)


@dataclass(frozen=True)
class StackResources:
    """The resources of a stack that its outputs name."""

    base: Base
    storage: Storage
    network: Network
    secrets: Secrets
    stores: DataStores
    images: Images
    edge: Edge
    cluster: EcsCluster
    monitoring: Monitoring
    functions: Mapping[str, SharingFunction]
    tasks: Mapping[str, TaskDefinition]
    services: Mapping[str, EcsService]
    targets: Mapping[str, HostTarget]


def create(stack: Stack, opts: pulumi.ResourceOptions) -> StackResources:
    base = create_base(stack, opts)
    storage = create_storage(base)
    network = create_network(base)
    secrets = create_secrets(base)
    stores = create_data_stores(base, storage, network)
    images = create_images(base)
    edge = create_edge(base, storage, network)
    cluster = EcsCluster("main", stack, opts)
    monitoring = create_monitoring(base, network, stores, edge, cluster)
    addresses = stores.database.address, stores.cache.address
    variables = environments(stack, *addresses, network.vpc.cidrs)
    functions = create_functions(base, images, edge, variables)
    restart = role_policies.RESTART_FUNCTION
    RestartFunction(restart, stack, base.of_function(restart), opts)
    stages = {name: function.stage_arn for name, function in functions.items()}
    create_web_acl(base, edge, stages)
    tasks = create_tasks(base, secrets, stores, images, monitoring, variables)
    migration = create_migration(base, network, stores, cluster, tasks[role_policies.MIGRATE])
    services = create_services(base, network, edge, monitoring, cluster, tasks, migration)
    targets = host_targets(stack, edge, services, functions)
    if not stack.settings.existing_resources.foreign_zone:
        HostRecords("hosts", stack, edge.certificate.zone_id, targets, opts)
    if stack.settings.monitoring.creates_alarms:
        log_groups = {
            "gateway": tasks["gateway"].log_group,
            "console": tasks["console"].log_group,
            "sharing": next(iter(functions.values()), tasks["console"]).log_group,
            **({"trail": storage.trail_logs} if storage.trail_logs else {}),
        }
        LogAlarms("log-alarms", stack, base.topics, log_groups, opts)
    # The guards of the account belong to the project in account/.
    Budget("budget", stack, base.topics, opts)
    return StackResources(
        *(base, storage, network, secrets, stores, images, edge, cluster, monitoring),
        *(functions, tasks, services, targets),
    )


def outputs(resources: StackResources) -> dict[str, Any]:
    """Return the outputs of the stack."""
    base, network, tasks = resources.base, resources.network, resources.tasks
    settings, contract = base.stack.settings, base.stack.contract
    storage, secrets, stores = resources.storage, resources.secrets, resources.stores
    dashboard = f"dashboards/dashboard/{base.stack.names.name('overview')}"
    return {
        "environment": settings.environment,
        "region": settings.region,
        "account": settings.account,
        "cluster": resources.cluster.name,
        "services": _service_outputs(resources),
        "migration": migration_task(base.stack, network, tasks[role_policies.MIGRATE]),
        "rotation": {
            "function": secrets.rotation_function.function,
            "role": base.roles[role_policies.ROTATION_FUNCTION],
            "secrets": {kind: secret.arn for kind, secret in secrets.by_kind.items()},
        },
        "roles": _role_outputs(resources),
        "deliveryRoles": base.delivery_roles,
        "functions": _function_outputs(resources),
        "urls": contract.urls,
        "database": {
            "identifier": stores.database.identifier,
            "endpoint": stores.database.endpoint,
            "name": role_policies.DATABASE,
        },
        "buckets": {
            "data": storage.data.name,
            "logs": storage.logs.name,
            "trail": storage.trail.name,
        },
        "records": {
            host: target.name
            for service, target in resources.targets.items()
            for host in contract.host_patterns[service]
        },
        "zoneId": resources.edge.certificate.zone_id,
        "nameServers": resources.edge.certificate.name_servers,
        "dashboardUrl": base.stack.names.console_url("cloudwatch", dashboard),
        "repositoryUrl": resources.images.runtime.url,
        **_probe_outputs(resources),
        **_recovery_outputs(resources),
    }


def _probe_outputs(resources: StackResources) -> dict[str, Any]:
    probe, settings = resources.monitoring.probe, resources.base.stack.settings
    if probe is None:
        return {}
    # With existing_resources.foreign_zone, the records may not exist yet.
    addresses = {
        name: target.name
        for name, target in resources.targets.items()
        if settings.existing_resources.foreign_zone
    }
    role_arn = resources.base.roles[synthetic_probe.NAME]
    row = {"function": probe.function, "role": role_arn}
    return {"probe": {**row, "event": probe.event, "addresses": addresses}}


def _recovery_outputs(resources: StackResources) -> dict[str, Any]:
    """Return the value of recovery.restore in the stack file of recovery.stack."""
    backups_arn = resources.stores.database.replicated_backups_arn
    keys = resources.base.keys
    if backups_arn is None or not keys.recovery:
        return {}
    return {
        "recovery": {
            "stack": resources.base.stack.names.stack,
            "database_backups_arn": backups_arn,
            "database_key_arn": keys.replica_arn,
            "secrets_key_arn": keys.recovery.key_arn,
        }
    }


def _service_outputs(resources: StackResources) -> dict[str, Any]:
    return {
        name: {
            "service": resources.services[name].name,
            "taskDefinition": resources.tasks[name].definition_arn,
        }
        for name, process in resources.base.stack.contract.processes.items()
        if process.services
    }


def _role_outputs(resources: StackResources) -> dict[str, Any]:
    roles, names = resources.base.roles, role_policies
    processes = resources.base.stack.contract.processes
    functions = resources.functions
    execution = {name: names.execution_role(row) for name, row in processes.items()}
    return {
        **{f"{name}Task": roles[names.task_role(row)] for name, row in processes.items()},
        **{f"{name}Function": roles[names.function_role(name)] for name in functions},
        **{f"{name}Execution": roles[role] for name, role in execution.items()},
    }


def _function_outputs(resources: StackResources) -> dict[str, Any]:
    return {
        name: {
            "function": function.function_name,
            "version": function.version,
            "alias": function.alias,
            "alarms": resources.monitoring.alarms.service_alarms[name],
            "api": function.api,
        }
        for name, function in resources.functions.items()
    }
