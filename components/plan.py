"""What follows from the settings alone: names, services, processes, who may do what, and what each of them is told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import pulumi

from components import contract
from components.compute import otel_collector
from components.compute.environment import Endpoints, environment, of_core, optional_secrets, optional_variables
from components.contract import Contract, Process, core_process
from components.iam import backup_roles, checkpoint_policies, role_policies, transfer_policies
from components.iam.documents import Statement
from components.iam.role_policies import RoleDefinition
from components.iam.sharing_roles import ServerlessSharing
from components.naming import Naming
from components.settings.model import Settings
from components.settings.workloads import CoreSettings, ImageSettings, ScalingSettings, TaskSize
from components.storage.buckets import Buckets

Outputs = Mapping[str, pulumi.Output[str]]


@dataclass(frozen=True)
class Plan:
    """One stack, as its settings describe it."""

    settings: Settings

    @cached_property
    def names(self) -> Naming:
        """The names of everything."""
        return Naming.of(self.settings)

    @cached_property
    def away(self) -> Naming:
        """The names in the second region, where copies go."""
        return replace(self.names, region=self.settings.replica_region)

    @property
    def regions(self) -> tuple[str, ...]:
        """Where the stack has anything."""
        return (self.settings.region, *filter(None, (self.settings.replica_region,)))

    @property
    def replicated(self) -> str:
        """The region to which the data bucket is copied; "" copies nothing."""
        return self.settings.replica_region if self.settings.buckets.cross_region_replication else ""

    @cached_property
    def storage(self) -> Buckets:
        """The buckets."""
        return Buckets(self.settings, self.names, self.away)

    # What runs, and at which addresses.

    @cached_property
    def seam(self) -> Contract:
        """The contract with the runtime, in the form in which this stack runs it."""
        given, brought = optional_variables(self.settings), optional_secrets(self.settings)
        return contract.read(apart=self.settings.sharing.functions, given=given, brought=brought)

    @cached_property
    def apart(self) -> ServerlessSharing:
        """The functions that serve services in the place of processes."""
        return ServerlessSharing(self.names, self.seam, self.settings.sharing.api_gateway_log_role)

    @cached_property
    def cores(self) -> dict[str, CoreSettings]:
        """The Cores beside the gateway, by what everything of each is called."""
        return {core.process_name: core for core in self.settings.cores}

    @cached_property
    def processes(self) -> dict[str, Process]:
        """What runs in tasks: the gateway's own processes, and the Cores."""
        return self.seam.processes | {name: core_process(core) for name, core in self.cores.items()}

    @property
    def serving(self) -> dict[str, Process]:
        """Those that run all the time."""
        return {name: process for name, process in self.processes.items() if process.services}

    def size(self, process: str) -> TaskSize:
        """CPU and memory of a task."""
        return self.cores.get(process) or self.settings.services.size(process)

    def scale(self, process: str) -> ScalingSettings:
        """How many tasks of a process that serves."""
        return self.cores.get(process) or self.settings.services.scaling(process)

    def health(self, process: str) -> tuple[str, ...]:
        """The command of a Core's image that tells how it is; our own processes are asked at their services."""
        return self.cores[process].health_command if process in self.cores else ()

    @property
    def images(self) -> dict[str, ImageSettings]:
        """The images beside the runtime's own, by repository: of each Core, and of the collector."""
        retained, collector = self.settings.image.retained_images, self.settings.telemetry.collector_digest
        digests = {name: core.image_digest for name, core in self.cores.items()} | (
            {otel_collector.NAME: collector} if collector else {}
        )
        return {name: ImageSettings(digest=digest, retained_images=retained) for name, digest in digests.items()}

    @property
    def console_out(self) -> bool:
        """Whether the console opens connections to the internet."""
        return bool(self.settings.internet_access)

    @cached_property
    def hosts(self) -> dict[str, str]:
        """Host name of each service, whoever serves it."""
        return {service: f"{service}.{self.settings.domain}" for service in self.seam.addresses}

    @property
    def urls(self) -> dict[str, str]:
        """Public URL of each service."""
        return {service: f"https://{host}" for service, host in self.hosts.items()}

    @property
    def health_urls(self) -> dict[str, str]:
        """Where each service says that it is up, whoever serves it."""
        return {name: f"{url}{self.seam.addresses[name].health}" for name, url in self.urls.items()}

    def environment(self, around: Endpoints) -> dict[str, dict[str, pulumi.Input[str]]]:
        """What each process and function is told."""
        told = environment(self.settings, self.names, self.seam, self.urls, around)
        return told | {name: of_core(self.names, core, self.urls["gateway"]) for name, core in self.cores.items()}

    # Who may do what.

    @property
    def grants(self) -> dict[str, RoleDefinition]:
        """Every role by its name (Naming.name's `thing`), but that of the probe."""
        settings = self.settings
        return (
            role_policies.role_definitions(
                self.names,
                self.seam,
                proxied=settings.database.proxy,
                collector=bool(settings.telemetry.collector_digest),
                more=self.more,
            )
            | role_policies.core_role_definitions(self.names, settings.cores)
            | backup_roles.role_definitions(self.names, replicated=self.replicated)
            | self.apart.role_definitions()
        )

    @property
    def more(self) -> dict[str, list[Statement]]:
        """What the application may do for its operators, by process: old files, exports, and a topic that they named."""
        allowed = transfer_policies.statements(self.names, self.settings.legacy_files) + role_policies.publish_to_topic(
            self.settings.notifications.topic_arn
        )
        return {process.name: allowed for process in transfer_policies.console_processes(self.seam)}

    @property
    def secret_readers(self) -> dict[str, tuple[str, ...]]:
        """ARN pattern of each secret, and the roles that are given its value."""
        return role_policies.secret_readers(self.names, self.seam) | role_policies.core_readers(self.settings.cores)

    def readers_of(self, kind: str) -> tuple[str, ...]:
        """ARNs of the roles that may read a secret which our rotation makes."""
        return role_policies.readers_of(self.names, self.seam, kind, self.settings.secrets.operators)

    @property
    def signers(self) -> tuple[str, ...]:
        """The roles that sign checkpoints of the audit trail."""
        return tuple(role_policies.task_role(process) for process in checkpoint_policies.signing_processes(self.seam))

    def key_users(self, notices: Sequence[Statement]) -> dict[str, tuple[Statement, ...]]:
        """Users of the keys beside those that the keyring knows, by key. notices: those of the topic of AWS' own notices."""
        movers = [role_policies.task_role(process) for process in transfer_policies.console_processes(self.seam)]
        found: dict[str, tuple[Statement, ...]] = {}
        for users in (
            backup_roles.key_users(self.names, replicated=self.replicated, away=self.settings.replica_region),
            self.apart.key_users(),
            transfer_policies.key_users(self.names, movers),
            {"logs": (*notices, *checkpoint_policies.key_users(self.names, self.signers))},
        ):
            found |= {key: (*found.get(key, ()), *statements) for key, statements in users.items()}
        return found

    @property
    def log_groups(self) -> tuple[str, ...]:
        """Full names of all log groups."""
        return self.names.log_groups((*self.processes, *self.apart.log_groups), proxied=self.settings.database.proxy)

    def roles(self, made: Outputs) -> dict[str, pulumi.Output[str]]:
        """The roles of the gateway's own processes and functions, as the stack exports them. made: ARN by name."""
        processes = self.seam.processes
        return (
            {f"{name}Task": made[role_policies.task_role(process)] for name, process in processes.items()}
            | {f"{name}Function": made[role_policies.function_role(name)] for name in self.seam.functions}
            | {f"{name}Execution": made[role_policies.execution_role(process)] for name, process in processes.items()}
        )

    @property
    def brought(self) -> dict[str, str]:
        """ARN of each secret that somebody made for this stack, by kind: the keys of Cores, and those of the settings."""
        secrets = {
            secret.kind: secret.arn for process in self.seam.processes.values() for secret in process.secrets if secret.arn
        }
        return secrets | {name: core.token_secret_arn for name, core in self.cores.items()}
