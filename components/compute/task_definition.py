"""ECS task definitions of processes, with their log groups."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from components.component import Component, LogArgs
from components.compute.container_definition import SCRATCH, container_definition
from components.compute.otel_collector import collector_container
from components.contract import Process
from components.naming import tags
from components.settings.workloads import TaskSize


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDefinitionArgs(LogArgs):
    """Arguments of `TaskDefinition`.

    process: The process in the contract.
    size: CPU units and memory.
    image: Image reference by digest.
    user: Numeric `uid:gid`.
    variables: Values of the environment variables.
    secret_arns: ARN of each secret, by kind.
    task_role_arn: Role of the application.
    execution_role_arn: Role of the ECS agent.
    data_protection_policy: Data protection policy of the log group.
    health_command: Health check command of an image other than the runtime's.
    collector_image: Image reference of the collector sidecar, or "" without one.
    """

    process: Process
    size: TaskSize
    image: str
    user: str
    variables: Mapping[str, pulumi.Input[str]]
    secret_arns: Mapping[str, pulumi.Input[str]]
    task_role_arn: pulumi.Input[str]
    execution_role_arn: pulumi.Input[str]
    data_protection_policy: Mapping[str, Any]
    health_command: tuple[str, ...] = ()
    collector_image: str = ""


class TaskDefinition(Component):
    """A Fargate task definition with a read-only root file system, no Linux capabilities, a numeric user and a log group
    that masks credentials.

    Why: Environment variables and secrets come from the contract only. Secrets are referenced by ARN.
    Cost: none; running tasks are billed with `EcsService`, a migration is below 0.01 USD. Controls: GH-ECS-001 to GH-ECS-006,
    GH-ECS-011, GH-ECS-014 to GH-ECS-016, GH-CW-001, GH-CW-002, GH-CW-006.
    """

    definition_arn: pulumi.Output[str]
    log_group: pulumi.Output[str]

    def __init__(self, name: str, args: TaskDefinitionArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gatehouse:compute:TaskDefinition", name, args, opts)
        group = self.create_log_group(name, args.names.log_group(name), args.logs)
        data_protection = aws.cloudwatch.LogDataProtectionPolicy(
            name,
            log_group_name=group.name,
            policy_document=pulumi.Output.json_dumps(args.data_protection_policy),
            opts=self.child,
        )
        task = aws.ecs.TaskDefinition(
            name,
            family=args.names.name(name),
            container_definitions=pulumi.Output.json_dumps(_containers(name, args)),
            cpu=str(args.size.cpu),
            memory=str(args.size.memory_mib),
            network_mode="awsvpc",
            requires_compatibilities=["FARGATE"],
            runtime_platform={"cpu_architecture": "ARM64", "operating_system_family": "LINUX"},
            volumes=[{"name": SCRATCH}],
            task_role_arn=args.task_role_arn,
            execution_role_arn=args.execution_role_arn,
            # A change registers a new revision. Earlier revisions remain active, because ECS and `make rollback` can
            # deploy them again.
            skip_destroy=True,
            tags=tags("internal"),
            # No property references these resources. Events that are logged before the policy exists are not masked.
            opts=self.after(group, data_protection),
        )
        self.definition_arn, self.log_group = task.arn, group.name
        self.register_outputs({"definitionArn": self.definition_arn})


def _containers(name: str, args: TaskDefinitionArgs) -> list[dict[str, Any]]:
    """Return the container of the process, and the collector if the task has one."""
    group, region = args.names.log_group(name), args.names.region
    container = container_definition(
        args.process,
        image=args.image,
        user=args.user,
        region=region,
        log_group=group,
        variables=args.variables,
        secret_arns=args.secret_arns,
        health=args.health_command,
    )
    if not args.collector_image:
        return [container]
    collector = collector_container(
        image=args.collector_image,
        region=region,
        environment=args.names.environment,
        process=name,
        services=args.process.services,
        log_group=group,
    )
    return [container, collector]
