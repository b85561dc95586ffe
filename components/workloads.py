"""Composite component for the sharing function, the ECS tasks and services, and the web ACL."""

from typing import Any

import pulumi

from components.component import Component, DeploymentHook
from components.compute.ecs_service import EcsService, EcsServiceArgs
from components.compute.environment import Environment, environments
from components.compute.python_function import AlarmedFunctionArgs
from components.compute.task_definition import TaskDefinition, TaskDefinitionArgs
from components.contract import Function, Process, Stack
from components.data_stores import DataStores
from components.edge.host_records import HostRecords, HostRecordsArgs, HostTarget
from components.edge.web_acl import WebAcl, WebAclArgs
from components.foundation import Foundation
from components.iam import role_policies
from components.monitoring import data_protection, smoke_test
from components.monitoring.log_alarms import LogAlarms, LogAlarmsArgs
from components.monitoring.smoke_test import SmokeTest, SmokeTestArgs
from components.observability import Observability
from components.platform import Platform
from components.private_network import PrivateNetwork
from components.secrets.restart_function import RestartFunction
from components.settings.workloads import CONSOLE
from components.sharing.sharing_function import SharingFunction, SharingFunctionArgs


class Workloads(Component):
    """The processes of the runtime contract and the Cores of the stack, each with a separate role,
    log group and secrets.
    """

    functions: dict[str, SharingFunction]
    tasks: dict[str, TaskDefinition]
    services: dict[str, EcsService]

    def __init__(
        self,
        name: str,
        stack: Stack,
        foundation: Foundation,
        network: PrivateNetwork,
        data: DataStores,
        platform: Platform,
        observability: Observability,
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__("gatehouse:workloads:Workloads", name, None, opts)
        self._stack, self._foundation, self._network = stack, foundation, network
        self._data, self._platform, self._observability = data, platform, observability
        variables = environments(stack, data.database.address, data.cache.address)
        contract = stack.contract
        self.functions = {
            key: self._function(function, variables[key])
            for key, function in contract.functions.items()
        }
        self._web_acl()
        self.tasks = {
            key: self._task(process, variables[key]) for key, process in contract.tasks.items()
        }
        self._smoke_test = (
            self._create_smoke_test() if stack.settings.rollout.tests_traffic else None
        )
        self.services = {
            key: self._service(process) for key, process in contract.ecs_services.items()
        }
        self._host_records()
        self._restart_function()
        log_alarms = LogAlarmsArgs(
            stack=stack,
            topic_arn=observability.alarms.topic_arn,
            trail_log_group=foundation.trail.log_group,
            gateway_log_group=self.tasks["gateway"].log_group,
            console_log_group=self.tasks["console"].log_group,
            sharing_log_group=next(iter(self.functions.values()), self.tasks["console"]).log_group,
        )
        LogAlarms("log-alarms", log_alarms, self.child)
        self.register_outputs({})

    def _function(self, function: Function, variables: Environment) -> SharingFunction:
        args = SharingFunctionArgs(
            stack=self._stack,
            function=function,
            image=self._platform.runtime_image.lambda_reference,
            variables=variables,
            role_arns=self._foundation.role_arns,
            key_arn=self._foundation.keys.secrets_arn,
            logs_key_arn=self._foundation.keys.logs_arn,
            certificate_arn=self._platform.certificate.arn,
        )
        return SharingFunction(function.name, args, self.child)

    def _restart_function(self) -> RestartFunction:
        args = AlarmedFunctionArgs(
            stack=self._stack,
            topic_arn=self._observability.alarms.topic_arn,
            role_arn=self._foundation.role_arns[role_policies.RESTART_FUNCTION],
            logs_key_arn=self._foundation.keys.logs_arn,
        )
        return RestartFunction(role_policies.RESTART_FUNCTION, args, self.child)

    def _create_smoke_test(self) -> SmokeTest:
        args = SmokeTestArgs(
            stack=self._stack,
            topic_arn=self._observability.alarms.topic_arn,
            role_arn=self._foundation.role_arns[smoke_test.NAME],
            hook_role_arn=self._foundation.role_arns[smoke_test.HOOK_ROLE],
            logs_key_arn=self._foundation.keys.logs_arn,
        )
        return SmokeTest(smoke_test.NAME, args, self.child)

    def _smoke_test_hook(self, process: Process) -> DeploymentHook | None:
        """Return the smoke test of a service behind a load balancer."""
        hosting, urls = self._platform.web_hosting, self._stack.contract.urls
        services = [
            service for service in process.services if service.name in self._platform.target_groups
        ]
        if self._smoke_test is None or not services:
            return None
        all_features = not any(
            entry.startswith("GATEHOUSE_FEATURES=")
            for entry in self._stack.settings.environment_variables
        )
        checks: list[dict[str, Any]] = []
        for service in services:
            behind_cloudfront = (
                hosting is not None and service.name in hosting.load_balancer.target_groups
            )
            address = (
                hosting.distribution.domain_name
                if hosting and behind_cloudfront
                else self._platform.load_balancer.dns_name
            )
            checks += smoke_test.checks(
                service, urls[service.name], address, all_features=all_features
            )
        return self._smoke_test.hook(checks)

    def _web_acl(self) -> WebAcl:
        # CloudFront evaluates the requests for these services with a separate web ACL.
        hosting = self._platform.web_hosting
        cloudfront = hosting.load_balancer.target_groups if hosting else {}
        args = WebAclArgs(
            stack=self._stack,
            host_names={
                name: host
                for name, host in self._stack.contract.hosts.items()
                if name not in cloudfront
            },
            load_balancer_arn=self._platform.load_balancer.arn,
            logs_key_arn=self._foundation.keys.logs_arn,
            stage_arns={name: function.stage_arn for name, function in self.functions.items()},
        )
        return WebAcl("web-acl", args, self.child)

    def _host_records(self) -> HostRecords:
        """Create the DNS records for services behind the load balancer or a distribution, and for
        functions.
        """
        load_balancer, hosting = self._platform.load_balancer, self._platform.web_hosting
        targets = {
            service.name: HostTarget(
                name=load_balancer.dns_name,
                zone_id=load_balancer.zone_id,
                evaluate_target_health=True,
                runs_in=self.services[process.name],
            )
            for process in self._stack.contract.ecs_services.values()
            for service in process.services
            if service.name in load_balancer.target_groups
        }
        if hosting:
            targets[CONSOLE] = HostTarget(
                name=hosting.distribution.domain_name,
                zone_id=hosting.distribution.zone_id,
                evaluate_target_health=False,
                runs_in=self.services[CONSOLE],
            )
        targets |= {
            function.service.name: HostTarget(
                name=self.functions[name].domain_name,
                zone_id=self.functions[name].domain_zone_id,
                evaluate_target_health=False,
                runs_in=self.functions[name],
            )
            for name, function in self._stack.contract.functions.items()
        }
        args = HostRecordsArgs(
            stack=self._stack,
            zone_id=self._platform.certificate.zone_id,
            targets=targets,
        )
        return HostRecords("hosts", args, self.child)

    def _task(self, process: Process, variables: Environment) -> TaskDefinition:
        roles = self._foundation.role_arns
        rotated_secrets = {kind: secret.arn for kind, secret in self._data.rotated_secrets.items()}
        args = TaskDefinitionArgs(
            stack=self._stack,
            process=process,
            image=self._platform.core_images.get(
                process.name, self._platform.runtime_image.reference
            ),
            variables=variables,
            secret_arns={
                **rotated_secrets,
                "database-owner": self._data.database.owner_secret_arn,
                **self._stack.contract.external_secrets,
            },
            task_role_arn=roles[role_policies.task_role(process)],
            execution_role_arn=roles[role_policies.execution_role(process)],
            logs_key_arn=self._foundation.keys.logs_arn,
            data_protection_policy=data_protection.data_protection_policy(
                self._stack, self._observability.findings_log_group
            ),
        )
        return TaskDefinition(process.name, args, self.child)

    def _service(self, process: Process) -> EcsService:
        platform, alarms = self._platform, self._observability.alarms
        args = EcsServiceArgs(
            stack=self._stack,
            cluster_arn=platform.cluster.arn,
            cluster_name=platform.cluster.name,
            task_definition_arn=self.tasks[process.name].definition_arn,
            placement=self._network.placement("app", process.name),
            target_groups=platform.target_groups_of(process.services),
            infrastructure_role_arn=self._foundation.role_arns[role_policies.ECS_INFRASTRUCTURE],
            rollback_alarms=alarms.rollback_alarms(process.services),
            registry_arn=platform.service_discovery.arns.get(process.name),
            smoke_test=self._smoke_test_hook(process),
        )
        return EcsService(process.name, args, self.child)
