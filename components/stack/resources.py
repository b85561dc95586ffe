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
from components.stack.access import Access, create_access
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
    create_services,
    create_tasks,
    host_targets,
)


@dataclass(frozen=True)
class StackResources:
    """The resources of a stack that its outputs name."""

    access: Access
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
    access = create_access(stack, opts)
    storage = create_storage(stack, access, opts)
    network = create_network(stack, access, opts)
    secrets = create_secrets(stack, access, opts)
    stores = create_data_stores(stack, access, storage, network, opts)
    images = create_images(stack, access, opts)
    edge = create_edge(stack, access, storage, network, opts)
    cluster = EcsCluster("main", stack, opts)
    monitoring = create_monitoring(stack, access, network, stores, edge, cluster, opts)
    addresses = stores.database.address, stores.cache.address
    variables = environments(stack, *addresses, network.vpc.cidrs)
    functions = create_functions(stack, access, images, edge, variables, opts)
    restart = role_policies.RESTART_FUNCTION
    RestartFunction(restart, stack, access.of_function(restart), opts)
    stages = {name: function.stage_arn for name, function in functions.items()}
    create_web_acl(stack, access, edge, stages, opts)
    tasks = create_tasks(stack, access, secrets, stores, images, monitoring, variables, opts)
    services = create_services(stack, access, network, edge, monitoring, cluster, tasks, opts)
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
        LogAlarms("log-alarms", stack, access.topics, log_groups, opts)
    # The guards of the account belong to the project in account/.
    Budget("budget", stack, access.topics, opts)
    return StackResources(
        *(access, storage, network, secrets, stores, images, edge, cluster, monitoring),
        *(functions, tasks, services, targets),
    )


def outputs(stack: Stack, resources: StackResources) -> dict[str, Any]:
    """Return the outputs of the stack."""
    settings, contract, roles = stack.settings, stack.contract, resources.access.roles
    storage, secrets, stores = resources.storage, resources.secrets, resources.stores
    dashboard = f"dashboards/dashboard/{stack.names.name('overview')}"
    return {
        "environment": settings.environment,
        "region": settings.region,
        "account": settings.account,
        "cluster": resources.cluster.name,
        "services": _service_outputs(stack, resources),
        "migration": {
            "taskDefinition": resources.tasks["migrate"].definition_arn,
            "subnets": resources.network.vpc.subnets["app"],
            "securityGroup": resources.network.security_groups["migrate"],
            "assignPublicIp": "ENABLED" if settings.network.has_public_tasks else "DISABLED",
        },
        "rotation": {
            "function": secrets.rotation_function.function,
            "role": roles[role_policies.ROTATION_FUNCTION],
            "secrets": {kind: secret.arn for kind, secret in secrets.by_kind.items()},
        },
        "roles": _role_outputs(stack, resources),
        "deliveryRoles": resources.access.delivery_roles,
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
        "dashboardUrl": stack.names.console_url("cloudwatch", dashboard),
        "repositoryUrl": resources.images.runtime.url,
        **_probe_outputs(stack, resources),
        **_recovery_outputs(stack, resources),
    }


def _probe_outputs(stack: Stack, resources: StackResources) -> dict[str, Any]:
    probe, foreign = resources.monitoring.probe, stack.settings.existing_resources.foreign_zone
    if probe is None:
        return {}
    # With existing_resources.foreign_zone, the records may not exist yet.
    addresses = {name: target.name for name, target in resources.targets.items() if foreign}
    role_arn = resources.access.roles[synthetic_probe.NAME]
    row = {"function": probe.function, "role": role_arn}
    return {"probe": {**row, "event": probe.event, "addresses": addresses}}


def _recovery_outputs(stack: Stack, resources: StackResources) -> dict[str, Any]:
    """Return the value of recovery.restore in the stack file of recovery.stack."""
    backups_arn = resources.stores.database.replicated_backups_arn
    keys = resources.access.keys
    if backups_arn is None or not keys.recovery:
        return {}
    return {
        "recovery": {
            "stack": stack.names.stack,
            "database_backups_arn": backups_arn,
            "database_key_arn": keys.replica_arn,
            "secrets_key_arn": keys.recovery.key_arn,
        }
    }


def _service_outputs(stack: Stack, resources: StackResources) -> dict[str, Any]:
    return {
        name: {
            "service": resources.services[name].name,
            "taskDefinition": resources.tasks[name].definition_arn,
        }
        for name, process in stack.contract.processes.items()
        if process.services
    }


def _role_outputs(stack: Stack, resources: StackResources) -> dict[str, Any]:
    roles, names, processes = resources.access.roles, role_policies, stack.contract.processes
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
