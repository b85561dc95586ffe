"""The workloads of a stack: images, functions, tasks and services, and their DNS records."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

from components.component import DeploymentHook, with_dependencies
from components.compute.container_image import RUNTIME, ContainerImage
from components.compute.ecs_service import EcsCluster, EcsService
from components.compute.environment import Environment
from components.compute.task_definition import TaskDefinition
from components.context import Stack
from components.contract import Process
from components.edge.host_records import HostTarget
from components.iam import role_policies
from components.monitoring import data_protection, smoke_test, synthetic_probe
from components.monitoring.smoke_test import SmokeTest
from components.settings.workloads import CONSOLE
from components.sharing.sharing_function import SharingFunction
from components.stack.base import Base
from components.stack.data import DataStores, Network, Secrets
from components.stack.edge import Edge, Monitoring, probe_resources
from components.stack.migration import Migration


@dataclass(frozen=True)
class Images:
    """cores: references, keyed by task."""

    runtime: ContainerImage
    cores: Mapping[str, str]


def create_images(base: Base) -> Images:
    stack, opts = base.stack, base.opts
    key_arn = base.keys.data_arn
    runtime = ContainerImage(RUNTIME, stack, key_arn, opts)
    cores = {
        name: ContainerImage(name, stack, key_arn, opts).reference
        for name in stack.settings.core_tasks
    }
    return Images(runtime, cores)


def create_functions(
    base: Base, images: Images, edge: Edge, variables: Mapping[str, Environment]
) -> dict[str, SharingFunction]:
    stack, opts = base.stack, base.opts
    return {
        key: SharingFunction(
            function,
            stack,
            opts,
            image=images.runtime.lambda_reference,
            variables=variables[key],
            role_arns=base.roles,
            key_arn=base.keys.secrets_arn,
            logs_key_arn=base.keys.logs_arn,
            certificate_arn=edge.certificate.arn,
        )
        for key, function in stack.contract.functions.items()
    }


def create_tasks(
    base: Base,
    secrets: Secrets,
    stores: DataStores,
    images: Images,
    monitoring: Monitoring,
    variables: Mapping[str, Environment],
) -> dict[str, TaskDefinition]:
    stack, opts = base.stack, base.opts
    secret_arns: dict[str, pulumi.Input[str]] = {
        **{kind: secret.arn for kind, secret in secrets.by_kind.items()},
        "database-owner": stores.database.owner_secret_arn,
        **stack.contract.external_secrets,
    }
    masking = data_protection.data_protection_policy(stack, monitoring.findings_log_group)
    return {
        key: TaskDefinition(
            process,
            stack,
            opts,
            image=images.cores.get(key, images.runtime.reference),
            variables=variables[key],
            secret_arns=secret_arns,
            task_role_arn=base.roles[role_policies.task_role(process)],
            execution_role_arn=base.roles[role_policies.execution_role(process)],
            logs_key_arn=base.keys.logs_arn,
            data_protection_policy=masking,
        )
        for key, process in stack.contract.tasks.items()
    }


def create_migration(
    base: Base, network: Network, stores: DataStores, cluster: EcsCluster, task: TaskDefinition
) -> Migration:
    stack, name = base.stack, role_policies.MIGRATION_FUNCTION
    event: dict[str, pulumi.Input[object]] = {
        "cluster": cluster.name,
        **migration_task(stack, network, task),
        # A restored database has another ID.
        "database": stores.database.resource_id,
    }
    function = base.of_function(name)
    return Migration(stack, function, base.opts, event=event, after=network.routes)


def migration_task(
    stack: Stack, network: Network, task: TaskDefinition
) -> dict[str, pulumi.Input[object]]:
    """Return the task of the migration and its network, in the form of the stack output."""
    return {
        "taskDefinition": task.definition_arn,
        "subnets": network.vpc.subnets["app"],
        "securityGroup": network.security_groups[role_policies.MIGRATE],
        "assignPublicIp": "ENABLED" if stack.settings.network.has_public_tasks else "DISABLED",
    }


def create_services(
    base: Base,
    network: Network,
    edge: Edge,
    monitoring: Monitoring,
    cluster: EcsCluster,
    tasks: Mapping[str, TaskDefinition],
    migration: Migration,
) -> dict[str, EcsService]:
    stack, opts = base.stack, base.opts
    migrated = migration.completed
    test = None
    if stack.settings.rollout.tests_traffic:
        function = probe_resources(smoke_test.NAME, base, network)
        role_arn = base.roles[smoke_test.HOOK_ROLE]
        test = SmokeTest(smoke_test.NAME, stack, function, role_arn, opts)
    return {
        key: EcsService(
            key,
            stack,
            cluster,
            opts,
            task_definition_arn=with_dependencies(
                tasks[key].definition_arn, *([] if key in stack.contract.cores else [migrated])
            ),
            placement=network.placement("app", key),
            target_groups=[
                (service.port, groups[service.name])
                for groups in (edge.target_groups, edge.load_balancer.grpc_groups)
                for service in process.services
                if service.name in groups
            ],
            infrastructure_role_arn=base.roles[role_policies.ECS_INFRASTRUCTURE],
            rollback_alarms=_rollback_alarms(process, stack, edge, monitoring),
            registry_arn=network.registries.get(key),
            smoke_test=_smoke_test_hook(process, stack, edge, test),
        )
        for key, process in stack.contract.ecs_services.items()
    }


def _rollback_alarms(
    process: Process, stack: Stack, edge: Edge, monitoring: Monitoring
) -> list[pulumi.Output[str]]:
    """Return the names of the alarms that roll back a deployment of the service."""
    names = [service.name for service in process.services]
    alarms = [alarm for name in names for alarm in monitoring.alarms.service_alarms.get(name, ())]
    if stack.settings.monitoring.creates_alarms:
        # What clients receive if Envoy, which counts the other errors, ends.
        alarms += [
            pulumi.Output.from_input(stack.names.name(f"{name}-5xx"))
            for name, balancer in edge.load_balancers.items()
            if {*names} & {*balancer.target_groups}
        ]
    probe = monitoring.probe
    return alarms + (probe.gateway_alarms if probe and "gateway" in names else [])


def _smoke_test_hook(
    process: Process, stack: Stack, edge: Edge, test: SmokeTest | None
) -> DeploymentHook | None:
    services = [row for row in process.services if row.name in edge.target_groups]
    if test is None or not services:
        return None
    unprotected = {CONSOLE} if stack.settings.waf.console_networks else set[str]()
    variables = stack.settings.environment_variables
    if any(entry.startswith("GATEHOUSE_FEATURES=") for entry in variables):
        unprotected.update(service.name for service in services)
    checks: list[dict[str, Any]] = []
    canary: dict[str, Any] | None = None
    for service in services:
        address = edge.load_balancer.dns_name
        if edge.distribution and service.name == CONSOLE:
            address = edge.distribution.domain_name
        url, protected = stack.contract.urls[service.name], service.name not in unprotected
        checks += smoke_test.checks(service, url, address, protected=protected)
        if service.echo:
            canary = {**synthetic_probe.canary(stack), "address": address}
    return test.hook(checks, canary)


def host_targets(
    stack: Stack,
    edge: Edge,
    services: Mapping[str, EcsService],
    functions: Mapping[str, SharingFunction],
) -> dict[str, HostTarget]:
    """Return the targets of the services behind a load balancer or a distribution, and of
    functions.
    """
    balancer, distribution = edge.load_balancer, edge.distribution
    targets = {
        service.name: HostTarget(
            name=balancer.dns_name,
            zone_id=balancer.zone_id,
            evaluate_target_health=True,
            runs_in=services[process.name],
        )
        for process in stack.contract.ecs_services.values()
        for service in process.services
        if service.name in balancer.target_groups
    }
    if distribution:
        targets[CONSOLE] = HostTarget(
            name=distribution.domain_name,
            zone_id=distribution.zone_id,
            evaluate_target_health=False,
            runs_in=services[CONSOLE],
        )
    for name, function in stack.contract.functions.items():
        targets[function.service.name] = HostTarget(
            name=functions[name].domain_name,
            zone_id=functions[name].domain_zone_id,
            evaluate_target_health=False,
            runs_in=functions[name],
        )
    return targets
