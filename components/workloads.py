"""Composite component for the sharing function, the ECS tasks and services, and the web ACL."""

from typing import Any

import pulumi

from components.component import DeploymentHook, StackComponent
from components.compute.ecs_service import EcsService
from components.compute.environment import environments
from components.compute.task_definition import TaskDefinition
from components.contract import Process
from components.data_stores import DataStores
from components.edge.host_records import HostRecords, HostTarget
from components.edge.web_acl import WebAcl
from components.foundation import Foundation
from components.iam import role_policies
from components.monitoring import data_protection, smoke_test, synthetic_probe
from components.monitoring.log_alarms import LogAlarms
from components.monitoring.smoke_test import SmokeTest
from components.observability import Observability
from components.platform import Platform
from components.private_network import PrivateNetwork
from components.secrets.restart_function import RestartFunction
from components.settings.workloads import CONSOLE
from components.sharing.sharing_function import SharingFunction
from components.stack import Stack


class Workloads(StackComponent):
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
        super().__init__("gatehouse:workloads:Workloads", name, stack, opts)
        self._platform = platform
        roles, logs_key_arn = foundation.role_arns, foundation.keys.logs_arn
        topic_arn = foundation.topic_arn
        variables = environments(stack, data.database.address, data.cache.address)
        self.functions = {
            key: SharingFunction(
                function,
                stack,
                self.child,
                image=platform.runtime_image.lambda_reference,
                variables=variables[key],
                role_arns=roles,
                key_arn=foundation.keys.secrets_arn,
                logs_key_arn=logs_key_arn,
                certificate_arn=platform.certificate.arn,
            )
            for key, function in self.contract.functions.items()
        }
        self._web_acl(logs_key_arn)
        secret_arns: dict[str, pulumi.Input[str]] = {
            **{kind: secret.arn for kind, secret in data.rotated_secrets.items()},
            "database-owner": data.database.owner_secret_arn,
            **self.contract.external_secrets,
        }
        findings = observability.findings_log_group
        self.tasks = {
            key: TaskDefinition(
                process,
                stack,
                self.child,
                image=platform.core_images.get(key, platform.runtime_image.reference),
                variables=variables[key],
                secret_arns=secret_arns,
                task_role_arn=roles[role_policies.task_role(process)],
                execution_role_arn=roles[role_policies.execution_role(process)],
                logs_key_arn=logs_key_arn,
                data_protection_policy=data_protection.data_protection_policy(stack, findings),
            )
            for key, process in self.contract.tasks.items()
        }
        self._smoke_test: SmokeTest | None = None
        if self.settings.rollout.tests_traffic:
            self._smoke_test = SmokeTest(
                smoke_test.NAME,
                stack,
                foundation.function_resources(smoke_test.NAME),
                roles[smoke_test.HOOK_ROLE],
                self.child,
            )
        self.services = {
            key: EcsService(
                key,
                stack,
                platform.cluster,
                self.child,
                task_definition_arn=self.tasks[key].definition_arn,
                placement=network.placement("app", key),
                target_groups=platform.target_groups_of(process.services),
                infrastructure_role_arn=roles[role_policies.ECS_INFRASTRUCTURE],
                rollback_alarms=observability.rollback_alarms(process.services),
                registry_arn=platform.service_discovery.arns.get(key),
                smoke_test=self._smoke_test_hook(process),
            )
            for key, process in self.contract.ecs_services.items()
        }
        zone_id = platform.certificate.zone_id
        HostRecords("hosts", stack, zone_id, self._host_targets(), self.child)
        RestartFunction(
            role_policies.RESTART_FUNCTION,
            stack,
            foundation.function_resources(role_policies.RESTART_FUNCTION),
            self.child,
        )
        log_groups = {
            "gateway": self.tasks["gateway"].log_group,
            "console": self.tasks["console"].log_group,
            "sharing": next(iter(self.functions.values()), self.tasks["console"]).log_group,
        }
        if foundation.trail_log_group:
            log_groups["trail"] = foundation.trail_log_group
        LogAlarms("log-alarms", stack, topic_arn, log_groups, self.child)
        self.register_outputs({})

    def _smoke_test_hook(self, process: Process) -> DeploymentHook | None:
        hosting, urls = self._platform.web_hosting, self.contract.urls
        services = [
            service for service in process.services if service.name in self._platform.target_groups
        ]
        if self._smoke_test is None or not services:
            return None
        unprotected = {CONSOLE} if self.settings.waf.console_networks else set[str]()
        if any(
            entry.startswith("GATEHOUSE_FEATURES=") for entry in self.settings.environment_variables
        ):
            unprotected.update(service.name for service in services)
        checks: list[dict[str, Any]] = []
        canary: dict[str, Any] | None = None
        for service in services:
            address = self._platform.load_balancer.dns_name
            if hosting and service.name in hosting.load_balancer.target_groups:
                address = hosting.distribution.domain_name
            protected = service.name not in unprotected
            checks += smoke_test.checks(service, urls[service.name], address, protected=protected)
            if service.echo:
                canary = {**synthetic_probe.canary(self.stack), "address": address}
        return self._smoke_test.hook(checks, canary)

    def _web_acl(self, logs_key_arn: pulumi.Input[str]) -> None:
        # CloudFront evaluates the requests for these services with a separate web ACL.
        hosting = self._platform.web_hosting
        cloudfront = hosting.load_balancer.target_groups if hosting else {}
        stages = {name: function.stage_arn for name, function in self.functions.items()}
        WebAcl(
            "web-acl",
            self.stack,
            {
                name: hosts
                for name, hosts in self.contract.host_patterns.items()
                if name not in cloudfront
            },
            self.child,
            logs_key_arn=logs_key_arn,
            protected_arns={"web-acl": self._platform.load_balancer.arn, **stages},
        )

    def _host_targets(self) -> dict[str, HostTarget]:
        """Return the targets of the DNS records for services behind the load balancer or a
        distribution, and for functions.
        """
        load_balancer, hosting = self._platform.load_balancer, self._platform.web_hosting
        targets = {
            service.name: HostTarget(
                name=load_balancer.dns_name,
                zone_id=load_balancer.zone_id,
                evaluate_target_health=True,
                runs_in=self.services[process.name],
            )
            for process in self.contract.ecs_services.values()
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
        return targets | {
            function.service.name: HostTarget(
                name=self.functions[name].domain_name,
                zone_id=self.functions[name].domain_zone_id,
                evaluate_target_health=False,
                runs_in=self.functions[name],
            )
            for name, function in self.contract.functions.items()
        }
