"""ECS services on Fargate with blue/green deployments and auto scaling."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
from pulumi_aws import appautoscaling as scaling

from components.component import Component, StackArgs
from components.edge.target_groups import TargetGroups
from components.settings.workloads import ROLLING, RolloutSettings, ScalingSettings, ServiceSettings
from components.tags import tags

HEALTH_CHECK_GRACE_S = 60
START_MINUTES = 20
"""Time for tasks to start and become healthy, without the wait times of the rollout."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """Minimum and maximum number of tasks, and the target values of auto scaling.

    cpu_percent: Target of the average CPU utilization.
    requests: Target of requests per minute and task; 0 without target groups.
    """

    tasks_min: int
    tasks_max: int
    cpu_percent: int
    requests: int = 0

    @classmethod
    def of(cls, settings: ScalingSettings) -> "Capacity":
        """Return the capacity in the settings of a process or a Core."""
        requests = settings.requests_target if isinstance(settings, ServiceSettings) else 0
        return cls(settings.tasks_min, settings.tasks_max, settings.cpu_target_percent, requests)


@dataclass(frozen=True, slots=True, kw_only=True)
class EcsServiceArgs(StackArgs):
    """Arguments of `EcsService`.

    capacity: Number of tasks and auto scaling targets.
    rollout: Deployment strategy.
    cluster_arn: ECS cluster.
    cluster_name: Name of the ECS cluster.
    task_definition_arn: Task definition, whose container has the name of the ECS service.
    subnet_ids: Subnets of the app tier.
    security_group_id: Security group of the tasks.
    target_groups: Target groups by container port; empty for a service that the load balancer does not reach.
    load_balancer_label: CloudWatch dimension of the load balancer.
    infrastructure_role_arn: Role with which ECS shifts traffic.
    rollback_alarms: Names of the alarms that roll back a deployment.
    registry_arn: Cloud Map service that registers the tasks.
    """

    capacity: Capacity
    rollout: RolloutSettings
    cluster_arn: pulumi.Input[str]
    cluster_name: pulumi.Input[str]
    task_definition_arn: pulumi.Input[str]
    subnet_ids: Sequence[pulumi.Input[str]]
    security_group_id: pulumi.Input[str]
    target_groups: Mapping[int, TargetGroups]
    load_balancer_label: pulumi.Input[str]
    infrastructure_role_arn: pulumi.Input[str]
    rollback_alarms: Sequence[pulumi.Input[str]]
    registry_arn: pulumi.Input[str] | None = None


class EcsService(Component):
    """An ECS service on Fargate in all zones, with a deployment strategy, automatic rollback and auto scaling.

    Why: A deployment rolls back if tasks do not become healthy or an alarm is raised. With every strategy but rolling, the
    previous tasks still run at that time. A service without target groups always uses the rolling strategy.
    Cost: about 9 USD a month for 0.25 vCPU and 0.5 GB on ARM, twice that during a deployment.
    Controls: GH-ECS-007, GH-ECS-008, GH-ECS-010, GH-ECS-012, GH-ECS-013.
    """

    name: pulumi.Output[str]

    def __init__(self, name: str, args: EcsServiceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gatehouse:compute:EcsService", name, args, opts)
        shifts_traffic = bool(args.target_groups) and args.rollout.strategy != ROLLING
        timeout = f"{START_MINUTES + (args.rollout.minutes if shifts_traffic else 0)}m"
        service = aws.ecs.Service(
            name,
            name=args.names.name(name),
            cluster=args.cluster_arn,
            task_definition=args.task_definition_arn,
            desired_count=args.capacity.tasks_min,
            launch_type="FARGATE",
            platform_version="LATEST",
            network_configuration=aws.ecs.ServiceNetworkConfigurationArgs(
                subnets=list(args.subnet_ids), security_groups=[args.security_group_id], assign_public_ip=False
            ),
            load_balancers=[
                _load_balancer(name, port, groups, args, shifts_traffic) for port, groups in args.target_groups.items()
            ]
            or None,
            service_registries=aws.ecs.ServiceServiceRegistriesArgs(registry_arn=args.registry_arn)
            if args.registry_arn
            else None,
            deployment_configuration=_deployment_configuration(args.rollout) if shifts_traffic else None,
            deployment_circuit_breaker=aws.ecs.ServiceDeploymentCircuitBreakerArgs(enable=True, rollback=True),
            alarms=aws.ecs.ServiceAlarmsArgs(enable=True, rollback=True, alarm_names=list(args.rollback_alarms))
            if args.rollback_alarms
            else None,
            deployment_minimum_healthy_percent=100,
            deployment_maximum_percent=200,
            health_check_grace_period_seconds=HEALTH_CHECK_GRACE_S if args.target_groups else None,
            availability_zone_rebalancing="ENABLED",
            enable_execute_command=False,
            enable_ecs_managed_tags=True,
            propagate_tags="SERVICE",
            wait_for_steady_state=True,
            tags=tags("internal"),
            # Auto scaling changes the number of tasks after the first deployment.
            opts=pulumi.ResourceOptions(
                parent=self,
                ignore_changes=["desired_count"],
                custom_timeouts=pulumi.CustomTimeouts(create=timeout, update=timeout, delete=f"{START_MINUTES}m"),
            ),
        )
        self.name = service.name
        self._auto_scaling(name, args)
        self.register_outputs({"name": self.name})

    def _auto_scaling(self, name: str, args: EcsServiceArgs) -> None:
        target = aws.appautoscaling.Target(
            name,
            service_namespace="ecs",
            scalable_dimension="ecs:service:DesiredCount",
            resource_id=pulumi.Output.format("service/{}/{}", args.cluster_name, self.name),
            min_capacity=args.capacity.tasks_min,
            max_capacity=args.capacity.tasks_max,
            opts=self.child,
        )
        for metric, configuration in _scaling_policies(args):
            aws.appautoscaling.Policy(
                f"{name}-{metric}",
                name=args.names.name(f"{name}-{metric}"),
                policy_type="TargetTrackingScaling",
                service_namespace=target.service_namespace,
                scalable_dimension=target.scalable_dimension,
                resource_id=target.resource_id,
                target_tracking_scaling_policy_configuration=configuration,
                opts=self.child,
            )


def _load_balancer(
    name: str, port: int, groups: TargetGroups, args: EcsServiceArgs, shifts_traffic: bool
) -> aws.ecs.ServiceLoadBalancerArgs:
    advanced = aws.ecs.ServiceLoadBalancerAdvancedConfigurationArgs(
        alternate_target_group_arn=groups.green, production_listener_rule=groups.rule, role_arn=args.infrastructure_role_arn
    )
    return aws.ecs.ServiceLoadBalancerArgs(
        target_group_arn=groups.blue,
        container_name=name,
        container_port=port,
        advanced_configuration=advanced if shifts_traffic else None,
    )


def _deployment_configuration(rollout: RolloutSettings) -> aws.ecs.ServiceDeploymentConfigurationArgs:
    percent, minutes = float(rollout.step_percent), str(rollout.step_minutes)
    canary = aws.ecs.ServiceDeploymentConfigurationCanaryConfigurationArgs(
        canary_percent=percent, canary_bake_time_in_minutes=minutes
    )
    linear = aws.ecs.ServiceDeploymentConfigurationLinearConfigurationArgs(
        step_percent=percent, step_bake_time_in_minutes=minutes
    )
    return aws.ecs.ServiceDeploymentConfigurationArgs(
        strategy=rollout.strategy.upper(),
        bake_time_in_minutes=str(rollout.bake_minutes),
        canary_configuration=canary if rollout.strategy == "canary" else None,
        linear_configuration=linear if rollout.strategy == "linear" else None,
    )


_Tracking = scaling.PolicyTargetTrackingScalingPolicyConfigurationArgs
_Predefined = scaling.PolicyTargetTrackingScalingPolicyConfigurationPredefinedMetricSpecificationArgs
_Custom = scaling.PolicyTargetTrackingScalingPolicyConfigurationCustomizedMetricSpecificationArgs
_Query = scaling.PolicyTargetTrackingScalingPolicyConfigurationCustomizedMetricSpecificationMetricArgs
_Stat = scaling.PolicyTargetTrackingScalingPolicyConfigurationCustomizedMetricSpecificationMetricMetricStatArgs
_Metric = scaling.PolicyTargetTrackingScalingPolicyConfigurationCustomizedMetricSpecificationMetricMetricStatMetricArgs
_Dimension = (
    scaling.PolicyTargetTrackingScalingPolicyConfigurationCustomizedMetricSpecificationMetricMetricStatMetricDimensionArgs
)


def _scaling_policies(args: EcsServiceArgs) -> Iterator[tuple[str, _Tracking]]:
    """Yield the target tracking policies. Auto scaling uses the largest desired count."""
    cpu = _Predefined(predefined_metric_type="ECSServiceAverageCPUUtilization")
    yield (
        "cpu",
        _Tracking(
            target_value=args.capacity.cpu_percent,
            scale_in_cooldown=300,
            scale_out_cooldown=30,
            predefined_metric_specification=cpu,
        ),
    )
    if args.target_groups:
        groups = next(iter(args.target_groups.values()))
        yield (
            "requests",
            _Tracking(
                target_value=args.capacity.requests,
                scale_in_cooldown=300,
                scale_out_cooldown=30,
                customized_metric_specification=_Custom(metrics=_requests(groups, args.load_balancer_label)),
            ),
        )


def _requests(groups: TargetGroups, load_balancer: pulumi.Input[str]) -> list[_Query]:
    """Return the requests per task of both target groups. The predefined metric covers one group only, and a deployment
    shifts the traffic to the other."""
    queries = [
        _Query(
            id=color,
            metric_stat=_Stat(
                stat="Sum",
                metric=_Metric(
                    namespace="AWS/ApplicationELB",
                    metric_name="RequestCountPerTarget",
                    dimensions=[
                        _Dimension(name="LoadBalancer", value=load_balancer),
                        _Dimension(name="TargetGroup", value=label),
                    ],
                ),
            ),
            return_data=False,
        )
        for color, label in zip(("blue", "green"), groups.labels, strict=True)
    ]
    total = _Query(id="both", expression="FILL(blue, 0) + FILL(green, 0)", label="Requests per task", return_data=True)
    return [*queries, total]
