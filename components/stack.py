"""Creates the resources of a stack. Each step uses the resources of the steps above it."""

from dataclasses import replace
from typing import Any

import pulumi

from components.account.budget import Budget
from components.account.cloud_trail import CloudTrail
from components.backup.backup_plan import BackupPlan
from components.component import DeploymentHook, Placement, RegionKey, with_dependencies
from components.compute.container_image import RUNTIME, ContainerImage
from components.compute.ecs_service import EcsCluster, EcsService
from components.compute.environment import environments
from components.compute.python_function import FunctionResources
from components.compute.task_definition import TaskDefinition
from components.context import Stack
from components.contract import Process
from components.database.rds_instance import RdsInstance
from components.database.secret_links_table import SecretLinksTable
from components.database.valkey import Valkey
from components.delivery.roles import DeliveryRoles
from components.edge.certificate import Certificate
from components.edge.distribution import Distribution
from components.edge.host_records import HostRecords, HostTarget
from components.edge.load_balancer import LoadBalancer
from components.edge.web_acl import WebAcl
from components.encryption.kms_keys import KmsKeys
from components.iam import (
    backup_roles,
    key_policies,
    object_policies,
    resource_policies,
    role_policies,
    sharing_policies,
    sharing_roles,
)
from components.iam.documents import Statement
from components.iam.role_policies import RoleDefinition
from components.iam.roles import PermissionsBoundary, Roles
from components.monitoring import data_protection, smoke_test, synthetic_probe
from components.monitoring.alarms import Alarms, CompositeAlarms
from components.monitoring.cloudwatch_alarm import MonitoredResources
from components.monitoring.data_protection import DataProtection
from components.monitoring.heartbeat import Heartbeat
from components.monitoring.log_alarms import LogAlarms
from components.monitoring.smoke_test import SmokeTest
from components.monitoring.synthetic_probe import SyntheticProbe
from components.monitoring.topics import AlarmTopics
from components.network.network_acls import NetworkAcls
from components.network.security_groups import ORIGIN, PROBE, SecurityGroups
from components.network.service_discovery import ServiceDiscovery
from components.network.vpc import Vpc
from components.network.vpc_endpoints import VpcEndpoints
from components.secrets.restart_function import RestartFunction
from components.secrets.rotation_function import RotationFunction
from components.secrets.secret import Secret
from components.settings.workloads import CONSOLE
from components.sharing.sharing_function import SharingFunction
from components.storage.bucket import Bucket, BucketReplica, Buckets


class StackResources:
    """The resources of a stack."""

    def __init__(self, stack: Stack, opts: pulumi.ResourceOptions) -> None:
        self.stack, self.opts = stack, opts
        self.settings, self.names, self.contract = stack.settings, stack.names, stack.contract
        self._roles_and_keys()
        self._buckets()
        self._network()
        self._secrets()
        self._data_stores()
        self._images_and_edge()
        self._console_behind_cloudfront()
        self._alarms()
        self._functions()
        self._web_acl()
        self._tasks()
        self._services()
        self._host_records()
        self._log_alarms()
        # The guards of the account belong to the project in account/.
        Budget("budget", stack, self.topics, opts)

    def _roles_and_keys(self) -> None:
        stack, opts = self.stack, self.opts
        self.delivery = DeliveryRoles("delivery", stack, opts)
        boundary: pulumi.Input[str] = self.names.boundary_arn
        if not self.names.permissions_boundary:
            boundary = PermissionsBoundary("permissions-boundary", stack, opts).arn
        self.roles = Roles("roles", stack, role_definitions(stack), boundary, opts).arns
        principals = {**self.roles, **self.delivery.roles}
        self.keys = KmsKeys("kms-keys", stack, key_users(stack), principals, opts)
        chat_role_arn = self.roles.get(role_policies.CHAT)
        topics = AlarmTopics("alarms", stack, self.keys.alarms_arn, chat_role_arn, opts)
        self.topics = topics.topics

    def _buckets(self) -> None:
        keys, buckets, opts = self.keys, Buckets(self.settings, self.names), self.opts
        self.log_bucket = Bucket.log_bucket("logs", buckets.logs(), opts)
        logs = self.log_bucket.name
        self.trail_bucket = Bucket("trail", buckets.trail(keys.logs_arn, logs), opts)
        self.trail = None
        if not self.settings.existing_resources.trail:
            self.trail = CloudTrail(
                "trail",
                self.stack,
                opts,
                logs_key_arn=keys.logs_arn,
                bucket=self.trail_bucket.name,
                role_arn=self.roles[role_policies.TRAIL_LOG],
            )
        replica = None
        if self.settings.replication_region and keys.replica_arn:
            replica_logs = Bucket.log_bucket("replica-logs", buckets.replica_logs(), opts)
            args = buckets.replica_data(keys.replica_arn, replica_logs.name)
            role_arn = self.roles[backup_roles.REPLICATION]
            copy = Bucket("replica-data", args, opts)
            replica = BucketReplica(copy.arn, keys.replica_arn, role_arn)
        self.data_bucket = Bucket("data", buckets.data(keys.data_arn, logs, replica), opts)
        Bucket("secrets", buckets.secrets(keys.data_arn, logs), opts)

    def _network(self) -> None:
        stack, opts = self.stack, self.opts
        self.vpc = Vpc("vpc", stack, self.keys.logs_arn, self.roles["network-log"], opts)
        vpc_id, subnets = self.vpc.vpc_id, self.vpc.subnets
        groups = SecurityGroups("security-groups", stack, vpc_id, self.vpc.prefix_lists, opts)
        self.security_groups = groups.groups
        if self.settings.network.owns_subnets:
            NetworkAcls("network-acls", stack, vpc_id, subnets, opts)
        if self.vpc.endpoint_subnets:
            endpoints = Placement(self.vpc.endpoint_subnets, self.security_groups["endpoints"])
            VpcEndpoints("vpc-endpoints", stack, vpc_id, endpoints, opts)
        self.service_discovery = ServiceDiscovery("service-discovery", stack, vpc_id, opts)

    def _secrets(self) -> None:
        name = role_policies.ROTATION_FUNCTION
        key_arn, resources = self.keys.secrets_arn, self._function_resources(name)
        self.rotation_function = RotationFunction(name, self.stack, resources, key_arn, self.opts)
        self.secrets: dict[str, Secret] = {}
        for kind in self.contract.rotated_secrets:
            function_arn = self.rotation_function.arn
            if kind == role_policies.CANARY_KEY:
                # Its token is marked under the pepper (runtime/functions/rotate.py).
                pepper = self.secrets[role_policies.PEPPER]
                function_arn = with_dependencies(function_arn, pepper.arn)
            self.secrets[kind] = Secret(
                kind,
                self.stack,
                self.opts,
                key_arn=key_arn,
                function_arn=function_arn,
                replica=self.keys.recovery if kind == role_policies.PEPPER else None,
            )

    def _data_stores(self) -> None:
        stack, keys, settings, opts = self.stack, self.keys, self.settings, self.opts

        def replica(region: str) -> RegionKey | None:
            return RegionKey(region, keys.replica_arn) if region and keys.replica_arn else None

        self.database = RdsInstance(
            "database",
            stack,
            opts,
            placement=self._placement("data", "database"),
            key_arn=keys.data_arn,
            secrets_key_arn=keys.secrets_arn,
            logs_key_arn=keys.logs_arn,
            monitoring_role_arn=self.roles["database-monitor"],
            topics=self.topics,
            backup_replica=replica(settings.recovery_region),
        )
        placement = self._placement("data", "cache")
        self.cache = Valkey("cache", stack, placement, keys.data_arn, opts)
        key_arn, protection = keys.data_arn, settings.protection
        self.table = SecretLinksTable("secret-links", self.names, protection, key_arn, opts)
        BackupPlan(
            "backup",
            stack,
            opts,
            key_arn=keys.backup_arn,
            role_arn=self.roles[backup_roles.BACKUP],
            topics=self.topics,
            resources=(self.database.arn, self.table.arn, self.data_bucket.arn),
            replica=replica(settings.replica_region if settings.backup.cross_region_copy else ""),
        )

    def _images_and_edge(self) -> None:
        stack, key_arn, opts = self.stack, self.keys.data_arn, self.opts
        self.runtime_image = ContainerImage(RUNTIME, stack, key_arn, opts)
        self.core_images = {
            name: ContainerImage(name, stack, key_arn, opts).reference
            for name in self.settings.core_tasks
        }
        self.certificate = Certificate("certificate", stack, opts)
        services = dict(self.contract.services)
        if self.settings.services.cloudfront:
            del services[CONSOLE]
        self.load_balancer = LoadBalancer(
            "edge",
            stack,
            opts,
            services=services,
            vpc_id=self.vpc.vpc_id,
            placement=self._placement("edge", "edge"),
            certificate_arn=self.certificate.arn,
            log_bucket=self.log_bucket.name,
        )
        self.load_balancers = {"edge": self.load_balancer}
        self.target_groups = dict(self.load_balancer.target_groups)
        self.cluster = EcsCluster("main", stack, opts)

    def _console_behind_cloudfront(self) -> None:
        self.distribution = None
        if self.certificate.cloudfront_arn is None:
            return
        stack, opts, buckets = self.stack, self.opts, Buckets(self.settings, self.names)
        edge_logs = Bucket.log_bucket("edge-logs", buckets.edge_logs(), opts)
        web_ui = Bucket("web-ui", buckets.web_ui(self.keys.data_arn, self.log_bucket.name), opts)
        balancer = LoadBalancer(
            ORIGIN,
            stack,
            opts,
            services={CONSOLE: self.contract.services[CONSOLE]},
            vpc_id=self.vpc.vpc_id,
            placement=self._placement("app", ORIGIN),
            certificate_arn=self.certificate.arn,
            log_bucket=self.log_bucket.name,
            internal=True,
        )
        self.load_balancers[ORIGIN] = balancer
        self.target_groups |= balancer.target_groups
        web_acl = WebAcl(
            "cloudfront",
            stack,
            {CONSOLE: self.contract.host_patterns[CONSOLE]},
            opts,
            logs_key_arn=self.keys.logs_arn,
            protected_arns={},
            log_bucket_arn=edge_logs.arn,
        )
        self.distribution = Distribution(
            CONSOLE,
            stack,
            balancer,
            opts,
            certificate_arn=self.certificate.cloudfront_arn,
            web_acl_arn=web_acl.arn,
            bucket=web_ui.name,
            log_bucket_arn=edge_logs.arn,
        )

    def _alarms(self) -> None:
        balancers, groups = self.load_balancers, self.target_groups
        resources = MonitoredResources(
            load_balancers={name: balancer.label for name, balancer in balancers.items()},
            target_groups={name: group.dimensions for name, group in groups.items()},
            grpc_groups={
                name: group.dimensions for name, group in self.load_balancer.grpc_groups.items()
            },
            cluster=self.cluster.name,
            database=self.database.identifier,
            table=self.table.table,
            keys=list(self.keys.arns.values()),
            nat_gateways=self.vpc.nat_gateways,
            certificate_arn=self.certificate.arn,
        )
        self.alarms = Alarms("alarms", self.stack, self.topics, resources, self.opts)
        self.probe = None
        if self.settings.monitoring.probe:
            function = self._probe_resources(synthetic_probe.NAME)
            self.probe = SyntheticProbe(synthetic_probe.NAME, self.stack, function, self.opts)
        others = [*self.alarms.created, *(self.probe.alarms if self.probe else ())]
        if self.settings.monitoring.creates_alarms:
            CompositeAlarms(
                *("composite-alarms", self.stack, self.topics, others),
                *(self.alarms.service_alarms, self.load_balancers, self.opts),
            )
        if self.settings.heartbeat_region:
            Heartbeat("heartbeat", self.stack, self.opts)
        logs_key_arn = self.keys.logs_arn
        findings = DataProtection("data-protection", self.stack, logs_key_arn, self.opts)
        self.findings_log_group = findings.log_group

    def _functions(self) -> None:
        addresses = self.database.address, self.cache.address
        self.variables = environments(self.stack, *addresses, self.vpc.cidrs)
        self.functions = {
            key: SharingFunction(
                function,
                self.stack,
                self.opts,
                image=self.runtime_image.lambda_reference,
                variables=self.variables[key],
                role_arns=self.roles,
                key_arn=self.keys.secrets_arn,
                logs_key_arn=self.keys.logs_arn,
                certificate_arn=self.certificate.arn,
            )
            for key, function in self.contract.functions.items()
        }
        name = role_policies.RESTART_FUNCTION
        RestartFunction(name, self.stack, self._function_resources(name), self.opts)

    def _web_acl(self) -> None:
        hosts = dict(self.contract.host_patterns)
        if self.distribution:
            # CloudFront evaluates the requests for the console with a web ACL of its own.
            del hosts[CONSOLE]
        if not self.settings.waf.enabled:
            return
        stages = {name: function.stage_arn for name, function in self.functions.items()}
        WebAcl(
            "web-acl",
            self.stack,
            hosts,
            self.opts,
            logs_key_arn=self.keys.logs_arn,
            protected_arns={"web-acl": self.load_balancer.arn, **stages},
        )

    def _tasks(self) -> None:
        secret_arns: dict[str, pulumi.Input[str]] = {
            **{kind: secret.arn for kind, secret in self.secrets.items()},
            "database-owner": self.database.owner_secret_arn,
            **self.contract.external_secrets,
        }
        masking = data_protection.data_protection_policy(self.stack, self.findings_log_group)
        self.tasks = {
            key: TaskDefinition(
                process,
                self.stack,
                self.opts,
                image=self.core_images.get(key, self.runtime_image.reference),
                variables=self.variables[key],
                secret_arns=secret_arns,
                task_role_arn=self.roles[role_policies.task_role(process)],
                execution_role_arn=self.roles[role_policies.execution_role(process)],
                logs_key_arn=self.keys.logs_arn,
                data_protection_policy=masking,
            )
            for key, process in self.contract.tasks.items()
        }

    def _services(self) -> None:
        self.smoke_test = None
        if self.settings.rollout.tests_traffic:
            function = self._probe_resources(smoke_test.NAME)
            role_arn = self.roles[smoke_test.HOOK_ROLE]
            self.smoke_test = SmokeTest(smoke_test.NAME, self.stack, function, role_arn, self.opts)
        self.services = {
            key: EcsService(
                key,
                self.stack,
                self.cluster,
                self.opts,
                task_definition_arn=self.tasks[key].definition_arn,
                placement=self._placement("app", key),
                target_groups=[
                    (service.port, groups[service.name])
                    for groups in (self.target_groups, self.load_balancer.grpc_groups)
                    for service in process.services
                    if service.name in groups
                ],
                infrastructure_role_arn=self.roles[role_policies.ECS_INFRASTRUCTURE],
                rollback_alarms=self._rollback_alarms(process),
                registry_arn=self.service_discovery.arns.get(key),
                smoke_test=self._smoke_test_hook(process),
            )
            for key, process in self.contract.ecs_services.items()
        }

    def _rollback_alarms(self, process: Process) -> list[pulumi.Output[str]]:
        """Return the names of the alarms that roll back a deployment of the service."""
        names = [service.name for service in process.services]
        alarms = [alarm for name in names for alarm in self.alarms.service_alarms.get(name, ())]
        if self.settings.monitoring.creates_alarms:
            # What clients receive if Envoy, which counts the other errors, ends.
            alarms += [
                pulumi.Output.from_input(self.names.name(f"{name}-5xx"))
                for name, balancer in self.load_balancers.items()
                if {*names} & {*balancer.target_groups}
            ]
        return alarms + (self.probe.gateway_alarms if self.probe and "gateway" in names else [])

    def _smoke_test_hook(self, process: Process) -> DeploymentHook | None:
        services = [row for row in process.services if row.name in self.target_groups]
        if self.smoke_test is None or not services:
            return None
        unprotected = {CONSOLE} if self.settings.waf.console_networks else set[str]()
        variables = self.settings.environment_variables
        if any(entry.startswith("GATEHOUSE_FEATURES=") for entry in variables):
            unprotected.update(service.name for service in services)
        checks: list[dict[str, Any]] = []
        canary: dict[str, Any] | None = None
        for service in services:
            address = self.load_balancer.dns_name
            if self.distribution and service.name == CONSOLE:
                address = self.distribution.domain_name
            url, protected = self.contract.urls[service.name], service.name not in unprotected
            checks += smoke_test.checks(service, url, address, protected=protected)
            if service.echo:
                canary = {**synthetic_probe.canary(self.stack), "address": address}
        return self.smoke_test.hook(checks, canary)

    def _host_records(self) -> None:
        """Create the records of the services behind a load balancer or a distribution, and of
        functions.
        """
        balancer = self.load_balancer
        targets = {
            service.name: HostTarget(
                name=balancer.dns_name,
                zone_id=balancer.zone_id,
                evaluate_target_health=True,
                runs_in=self.services[process.name],
            )
            for process in self.contract.ecs_services.values()
            for service in process.services
            if service.name in balancer.target_groups
        }
        if self.distribution:
            targets[CONSOLE] = HostTarget(
                name=self.distribution.domain_name,
                zone_id=self.distribution.zone_id,
                evaluate_target_health=False,
                runs_in=self.services[CONSOLE],
            )
        for name, function in self.contract.functions.items():
            targets[function.service.name] = HostTarget(
                name=self.functions[name].domain_name,
                zone_id=self.functions[name].domain_zone_id,
                evaluate_target_health=False,
                runs_in=self.functions[name],
            )
        self.targets = targets
        self.records = {
            host: target.name
            for service, target in targets.items()
            for host in self.contract.host_patterns[service]
        }
        if not self.settings.existing_resources.foreign_zone:
            HostRecords("hosts", self.stack, self.certificate.zone_id, targets, self.opts)

    def _log_alarms(self) -> None:
        log_groups = {
            "gateway": self.tasks["gateway"].log_group,
            "console": self.tasks["console"].log_group,
            "sharing": next(iter(self.functions.values()), self.tasks["console"]).log_group,
        }
        if self.trail:
            log_groups["trail"] = self.trail.log_group
        if self.settings.monitoring.creates_alarms:
            LogAlarms("log-alarms", self.stack, self.topics, log_groups, self.opts)

    def _placement(self, tier: str, group: str) -> Placement:
        return Placement(self.vpc.subnets[tier], self.security_groups[group])

    def _function_resources(self, name: str) -> FunctionResources:
        return FunctionResources(self.roles[name], self.keys.logs_arn, self.topics)

    def _probe_resources(self, name: str) -> FunctionResources:
        """The resources of a function that requests the services from where clients do."""
        resources = self._function_resources(name)
        if self.settings.probes_in_vpc:
            resources = replace(resources, placement=self._placement("app", PROBE))
        return resources

    def outputs(self) -> dict[str, Any]:
        """Return the outputs of the stack."""
        settings, contract = self.settings, self.contract
        outputs: dict[str, Any] = {
            "environment": settings.environment,
            "region": settings.region,
            "account": settings.account,
            "cluster": self.cluster.name,
            "services": self._service_outputs(),
            "migration": {
                "taskDefinition": self.tasks["migrate"].definition_arn,
                "subnets": self.vpc.subnets["app"],
                "securityGroup": self.security_groups["migrate"],
                "assignPublicIp": "ENABLED" if settings.network.has_public_tasks else "DISABLED",
            },
            "rotation": {
                "function": self.rotation_function.function,
                "role": self.roles[role_policies.ROTATION_FUNCTION],
                "secrets": {kind: secret.arn for kind, secret in self.secrets.items()},
            },
            "roles": self._role_outputs(),
            "deliveryRoles": self.delivery.roles,
            "functions": self._function_outputs(),
            "urls": contract.urls,
            "database": {
                "identifier": self.database.identifier,
                "endpoint": self.database.endpoint,
                "name": role_policies.DATABASE,
            },
            "buckets": {
                "data": self.data_bucket.name,
                "logs": self.log_bucket.name,
                "trail": self.trail_bucket.name,
            },
            "records": self.records,
            "zoneId": self.certificate.zone_id,
            "nameServers": self.certificate.name_servers,
            "dashboardUrl": self.names.console_url(
                "cloudwatch", f"dashboards/dashboard/{self.names.name('overview')}"
            ),
            "repositoryUrl": self.runtime_image.url,
        }
        if self.probe:
            outputs["probe"] = {
                "function": self.probe.function,
                "role": self.roles[synthetic_probe.NAME],
                "event": self.probe.event,
                # With existing_resources.foreign_zone, the records may not exist yet.
                "addresses": {
                    service: target.name
                    for service, target in self.targets.items()
                    if settings.existing_resources.foreign_zone
                },
            }
        if self.database.replicated_backups_arn is not None and self.keys.recovery:
            # The value of recovery.restore in the stack file of recovery.stack.
            outputs["recovery"] = {
                "stack": self.names.stack,
                "database_backups_arn": self.database.replicated_backups_arn,
                "database_key_arn": self.keys.replica_arn,
                "secrets_key_arn": self.keys.recovery.key_arn,
            }
        return outputs

    def _service_outputs(self) -> dict[str, Any]:
        return {
            name: {
                "service": self.services[name].name,
                "taskDefinition": self.tasks[name].definition_arn,
            }
            for name, process in self.contract.processes.items()
            if process.services
        }

    def _role_outputs(self) -> dict[str, Any]:
        roles, names = self.roles, role_policies
        processes = self.contract.processes
        return {
            **{f"{name}Task": roles[names.task_role(row)] for name, row in processes.items()},
            **{f"{name}Function": roles[names.function_role(name)] for name in self.functions},
            **{
                f"{name}Execution": roles[names.execution_role(row)]
                for name, row in processes.items()
            },
        }

    def _function_outputs(self) -> dict[str, Any]:
        return {
            name: {
                "function": function.function_name,
                "version": function.version,
                "alias": function.alias,
                "alarms": self.alarms.service_alarms[name],
                "api": function.api,
            }
            for name, function in self.functions.items()
        }


def role_definitions(stack: Stack) -> dict[str, RoleDefinition]:
    modules = (role_policies, backup_roles, sharing_roles, synthetic_probe, smoke_test)
    return {
        name: definition
        for module in modules
        for name, definition in module.role_definitions(stack).items()
    }


def key_users(stack: Stack) -> dict[str, tuple[Statement, ...]]:
    """Return the key policy statements of every principal that uses the keys, keyed by KMS key."""
    names, settings, contract = stack.names, stack.settings, stack.contract
    roles = {
        service: [
            names.role_arn(role) for role in role_policies.roles_of_service(contract, service)
        ]
        for service in (sharing_policies.CREATE, sharing_policies.OPEN)
    }
    signers = [
        names.role_arn(role_policies.task_role(process))
        for process in object_policies.signing_processes(contract)
    ]
    has_trail = not settings.existing_resources.trail
    sources = (
        role_policies.key_statements(stack),
        backup_roles.key_statements(stack),
        sharing_roles.key_statements(stack),
        {
            "logs": resource_policies.log_key_statements(names, has_trail=has_trail),
            "alarms": [resource_policies.topic_key_statement(names, names.topics)],
        },
        object_policies.key_statements(
            names, signers=signers, consoles=roles[sharing_policies.CREATE]
        ),
        sharing_policies.key_statements(names, roles),
        {"data": (key_policies.distribution_key_statement(names),)}
        if settings.services.cloudfront
        else {},
    )
    keys = {key for source in sources for key in source}
    return {
        key: tuple(statement for source in sources for statement in source.get(key, ()))
        for key in sorted(keys)
    }
