"""A task definition with its log group: one process of the contract, ready to be started."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from components.component import component_inputs
from components.compute.container_definition import SCRATCH, container_definition
from components.compute.otel_collector import collector
from components.contract import Process
from components.naming import Naming
from components.settings.workloads import TaskSize
from components.tags import tags


@dataclass(frozen=True, kw_only=True)
class TaskDefinitionArgs:
    """What a task is told.

    names: the stack's names. process: what the contract says. size: CPU units and memory.
    image: reference by digest. user: numeric "uid:gid".
    variables: value of each variable. secret_arns: ARN of each secret by kind.
    task_role_arn: what the application may do. execution_role_arn: how ECS starts it.
    log_key_arn, log_retention_days: its log group. masked: what is masked there, see `masking`.
    health_command: the command that tells how it is, when it is not our image.
    collector_image: reference of the collector beside the process, "" for none.
    """

    names: Naming
    process: Process
    size: TaskSize
    image: str
    user: str
    variables: Mapping[str, pulumi.Input[str]]
    secret_arns: Mapping[str, pulumi.Input[str]]
    task_role_arn: pulumi.Input[str]
    execution_role_arn: pulumi.Input[str]
    log_key_arn: pulumi.Input[str]
    log_retention_days: int
    data_protection_policy: Mapping[str, Any]
    health_command: tuple[str, ...] = ()
    collector_image: str = ""


class TaskDefinition(pulumi.ComponentResource):
    """A Fargate task definition: read-only, without capabilities, as a numeric user, with its own log group, in which
    credentials are masked.

    Why: what a process is told comes from the contract and nothing else; secrets are named, never held. Cost: none
    by itself: the tasks are priced with Service, and a migration is below 0.01 USD. Controls: GH-ECS-001 to GH-ECS-006,
    GH-ECS-011, GH-ECS-014 to GH-ECS-016, GH-CW-001, GH-CW-002, GH-CW-006.
    """

    definition_arn: pulumi.Output[str]
    log_group: pulumi.Output[str]

    def __init__(self, name: str, args: TaskDefinitionArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gatehouse:compute:TaskDefinition", name, component_inputs(args), opts)
        group = aws.cloudwatch.LogGroup(
            name,
            name=args.names.log_group(name),
            retention_in_days=args.log_retention_days,
            kms_key_id=args.log_key_arn,
            tags=tags("log"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        masked = aws.cloudwatch.LogDataProtectionPolicy(
            name,
            log_group_name=group.name,
            policy_document=pulumi.Output.json_dumps(args.data_protection_policy),
            opts=pulumi.ResourceOptions(parent=self),
        )
        definition = container_definition(
            args.process,
            image=args.image,
            user=args.user,
            region=args.names.region,
            log_group=args.names.log_group(name),
            variables=args.variables,
            secret_arns=args.secret_arns,
            health=args.health_command,
        )
        beside = [
            collector(
                image=args.collector_image,
                region=args.names.region,
                environment=args.names.environment,
                process=name,
                services=args.process.services,
                log_group=args.names.log_group(name),
            )
        ]
        task = aws.ecs.TaskDefinition(
            name,
            family=args.names.name(name),
            container_definitions=pulumi.Output.json_dumps([definition, *(beside if args.collector_image else [])]),
            cpu=str(args.size.cpu),
            memory=str(args.size.memory_mib),
            network_mode="awsvpc",
            requires_compatibilities=["FARGATE"],
            runtime_platform=aws.ecs.TaskDefinitionRuntimePlatformArgs(cpu_architecture="ARM64", operating_system_family="LINUX"),
            volumes=[aws.ecs.TaskDefinitionVolumeArgs(name=SCRATCH)],
            task_role_arn=args.task_role_arn,
            execution_role_arn=args.execution_role_arn,
            # Every change is a new revision, which replaces this resource; the revision before it stays active, for ECS goes back
            # to it when a deployment fails, and so does `make rollback`.
            skip_destroy=True,
            tags=tags("internal"),
            # Both are named in no property, so say that they must exist first: what is logged before the group is masked
            # stays readable for ever.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[group, masked]),
        )
        self.definition_arn, self.log_group = task.arn, group.name
        self.register_outputs({"definitionArn": self.definition_arn})
