"""A Fargate service: keeps tasks of one process running behind the load balancer, and grows with the load."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components import sections
from components.contract import Process
from components.naming import Naming
from components.props import props
from components.tags import tags

GRACE_S = 60
"""How long a new task may fail health checks of the load balancer."""


@dataclass(frozen=True)
class ServiceArgs:
    """What a service is told.

    names: the stack's names. process: its doors. scale: number of tasks and when there are more.
    cluster_arn, cluster_name: where it runs. definition_arn: what runs.
    subnet_ids: the app tier. security_group_id: who may connect.
    target_groups: ARN by door, each already behind a listener rule. request_label: load balancer and target group as
    auto scaling names them.
    alarms: names of the alarms that roll a deployment back.
    """

    names: Naming
    process: Process
    scale: sections.Scale
    cluster_arn: pulumi.Input[str]
    cluster_name: pulumi.Input[str]
    definition_arn: pulumi.Input[str]
    subnet_ids: Sequence[pulumi.Input[str]]
    security_group_id: pulumi.Input[str]
    target_groups: Mapping[str, pulumi.Input[str]]
    request_label: pulumi.Input[str]
    alarms: Sequence[pulumi.Input[str]]


class Service(pulumi.ComponentResource):
    """An ECS service on Fargate over all zones, with rollback and auto scaling on CPU and requests.

    Why: a deployment that does not become healthy, or sets off an alarm, goes back by itself. Cost: about 9 USD a month
    for 0.25 vCPU and 0.5 GB on ARM, in proportion for more. Controls: GH-ECS-007, GH-ECS-008, GH-ECS-010, GH-ECS-012,
    GH-ECS-013.
    """

    name: pulumi.Output[str]

    def __init__(self, name: str, args: ServiceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gatehouse:service:Service", name, props(args), opts)
        service = aws.ecs.Service(
            name,
            name=args.names.name(name),
            cluster=args.cluster_arn,
            task_definition=args.definition_arn,
            desired_count=args.scale.tasks_min,
            launch_type="FARGATE",
            platform_version="LATEST",
            network_configuration=aws.ecs.ServiceNetworkConfigurationArgs(
                subnets=list(args.subnet_ids), security_groups=[args.security_group_id], assign_public_ip=False
            ),
            load_balancers=[
                aws.ecs.ServiceLoadBalancerArgs(
                    target_group_arn=args.target_groups[door.name],
                    container_name=args.process.name,
                    container_port=door.port,
                )
                for door in args.process.doors
            ],
            deployment_circuit_breaker=aws.ecs.ServiceDeploymentCircuitBreakerArgs(enable=True, rollback=True),
            alarms=aws.ecs.ServiceAlarmsArgs(enable=True, rollback=True, alarm_names=list(args.alarms)),
            deployment_minimum_healthy_percent=100,
            deployment_maximum_percent=200,
            health_check_grace_period_seconds=GRACE_S,
            availability_zone_rebalancing="ENABLED",
            enable_execute_command=False,
            enable_ecs_managed_tags=True,
            propagate_tags="SERVICE",
            wait_for_steady_state=True,
            tags=tags("internal"),
            # Auto scaling owns the number of tasks after the first deployment.
            opts=pulumi.ResourceOptions(
                parent=self,
                ignore_changes=["desired_count"],
                custom_timeouts=pulumi.CustomTimeouts(create="20m", update="20m", delete="20m"),
            ),
        )
        self.name = service.name
        self._scale(name, args)
        self.register_outputs({"name": self.name})

    def _scale(self, name: str, args: ServiceArgs) -> None:
        target = aws.appautoscaling.Target(
            name,
            service_namespace="ecs",
            scalable_dimension="ecs:service:DesiredCount",
            resource_id=pulumi.Output.format("service/{}/{}", args.cluster_name, self.name),
            min_capacity=args.scale.tasks_min,
            max_capacity=args.scale.tasks_max,
            opts=pulumi.ResourceOptions(parent=self),
        )
        measures = {
            "cpu": ("ECSServiceAverageCPUUtilization", args.scale.cpu_target_percent, None),
            "requests": ("ALBRequestCountPerTarget", args.scale.requests_target, args.request_label),
        }
        for measure, (metric, value, label) in measures.items():
            aws.appautoscaling.Policy(
                f"{name}-{measure}",
                name=args.names.name(f"{name}-{measure}"),
                policy_type="TargetTrackingScaling",
                service_namespace=target.service_namespace,
                scalable_dimension=target.scalable_dimension,
                resource_id=target.resource_id,
                target_tracking_scaling_policy_configuration=aws.appautoscaling.PolicyTargetTrackingScalingPolicyConfigurationArgs(
                    target_value=value,
                    scale_in_cooldown=300,
                    scale_out_cooldown=30,
                    predefined_metric_specification=aws.appautoscaling.PolicyTargetTrackingScalingPolicyConfigurationPredefinedMetricSpecificationArgs(
                        predefined_metric_type=metric, resource_label=label
                    ),
                ),
                opts=pulumi.ResourceOptions(parent=self),
            )
