"""A Fargate service: keeps tasks of one kind running, replaces them by the rollout that the settings ask for, and grows
with the load."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
from pulumi_aws import appautoscaling as scaling

from components.component import component_inputs
from components.edge.target_groups import TargetGroups
from components.naming import Naming
from components.settings.workloads import ROLLING, RolloutSettings, ScalingSettings, ServiceSettings
from components.tags import tags

GRACE_S = 60
"""How long a new task may fail health checks of the load balancer."""
START_MINUTES = 20
"""How long tasks may take to start and become healthy, beside what the rollout waits on purpose."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many tasks there are: at least and at most, and the load that auto scaling aims at.

    cpu_percent: average CPU. requests: requests a minute and task at the first service, 0 for a service without services.
    """

    tasks_min: int
    tasks_max: int
    cpu_percent: int
    requests: int = 0

    @classmethod
    def of(cls, settings: ScalingSettings) -> "Capacity":
        """What the settings of a process, or of a Core, say."""
        requests = settings.requests_target if isinstance(settings, ServiceSettings) else 0
        return cls(settings.tasks_min, settings.tasks_max, settings.cpu_target_percent, requests)


@dataclass(frozen=True, kw_only=True)
class EcsServiceArgs:
    """What a service is told. Its container is called like the service.

    names: the stack's names. capacity: number of tasks and when there are more. rollout: how a new version comes.
    cluster_arn, cluster_name: where it runs. definition_arn: what runs.
    subnet_ids: the app tier. security_group_id: who may connect.
    target_groups: by port, the way to each service; empty for a service that the load balancer does not reach.
    load_balancer_label: the load balancer as CloudWatch names it. mover_arn: the role that moves traffic in a rollout.
    rollback_alarms: names of the alarms that roll a deployment back. registry_arn: where its tasks' addresses are published.
    """

    names: Naming
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


class EcsService(pulumi.ComponentResource):
    """An ECS service on Fargate over all zones, replaced in one of four ways, with rollback and auto scaling.

    Why: a deployment that does not become healthy, or sets off an alarm, goes back by itself; with any rollout but the
    rolling one the old tasks are still there then. A service without services always rolls: there is no traffic to move.
    Cost: about 9 USD a month for 0.25 vCPU and 0.5 GB on ARM, in proportion for more; twice that during a deployment.
    Controls: GH-ECS-007, GH-ECS-008, GH-ECS-010, GH-ECS-012, GH-ECS-013.
    """

    name: pulumi.Output[str]

    def __init__(self, name: str, args: EcsServiceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gatehouse:compute:EcsService", name, component_inputs(args), opts)
        moves = bool(args.target_groups) and args.rollout.strategy != ROLLING
        patience = f"{START_MINUTES + (args.rollout.minutes if moves else 0)}m"
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
            load_balancers=[_balanced(name, port, route, args, moves) for port, route in args.target_groups.items()] or None,
            service_registries=aws.ecs.ServiceServiceRegistriesArgs(registry_arn=args.registry_arn)
            if args.registry_arn
            else None,
            deployment_configuration=_moving(args.rollout) if moves else None,
            deployment_circuit_breaker=aws.ecs.ServiceDeploymentCircuitBreakerArgs(enable=True, rollback=True),
            alarms=aws.ecs.ServiceAlarmsArgs(enable=True, rollback=True, alarm_names=list(args.rollback_alarms))
            if args.rollback_alarms
            else None,
            deployment_minimum_healthy_percent=100,
            deployment_maximum_percent=200,
            health_check_grace_period_seconds=GRACE_S if args.target_groups else None,
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
                custom_timeouts=pulumi.CustomTimeouts(create=patience, update=patience, delete=f"{START_MINUTES}m"),
            ),
        )
        self.name = service.name
        self._scale(name, args)
        self.register_outputs({"name": self.name})

    def _scale(self, name: str, args: EcsServiceArgs) -> None:
        target = aws.appautoscaling.Target(
            name,
            service_namespace="ecs",
            scalable_dimension="ecs:service:DesiredCount",
            resource_id=pulumi.Output.format("service/{}/{}", args.cluster_name, self.name),
            min_capacity=args.capacity.tasks_min,
            max_capacity=args.capacity.tasks_max,
            opts=pulumi.ResourceOptions(parent=self),
        )
        for measure, configuration in _measures(args):
            aws.appautoscaling.Policy(
                f"{name}-{measure}",
                name=args.names.name(f"{name}-{measure}"),
                policy_type="TargetTrackingScaling",
                service_namespace=target.service_namespace,
                scalable_dimension=target.scalable_dimension,
                resource_id=target.resource_id,
                target_tracking_scaling_policy_configuration=configuration,
                opts=pulumi.ResourceOptions(parent=self),
            )


def _balanced(name: str, port: int, route: TargetGroups, args: EcsServiceArgs, moves: bool) -> aws.ecs.ServiceLoadBalancerArgs:
    other = aws.ecs.ServiceLoadBalancerAdvancedConfigurationArgs(
        alternate_target_group_arn=route.green, production_listener_rule=route.rule, role_arn=args.infrastructure_role_arn
    )
    return aws.ecs.ServiceLoadBalancerArgs(
        target_group_arn=route.blue,
        container_name=name,
        container_port=port,
        advanced_configuration=other if moves else None,
    )


def _moving(rollout: RolloutSettings) -> aws.ecs.ServiceDeploymentConfigurationArgs:
    share, minutes = float(rollout.step_percent), str(rollout.step_minutes)
    canary = aws.ecs.ServiceDeploymentConfigurationCanaryConfigurationArgs(
        canary_percent=share, canary_bake_time_in_minutes=minutes
    )
    linear = aws.ecs.ServiceDeploymentConfigurationLinearConfigurationArgs(step_percent=share, step_bake_time_in_minutes=minutes)
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


def _measures(args: EcsServiceArgs) -> Iterator[tuple[str, _Tracking]]:
    """What auto scaling follows; whichever asks for more tasks wins."""
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
        route = next(iter(args.target_groups.values()))
        yield (
            "requests",
            _Tracking(
                target_value=args.capacity.requests,
                scale_in_cooldown=300,
                scale_out_cooldown=30,
                customized_metric_specification=_Custom(metrics=_requests(route, args.load_balancer_label)),
            ),
        )


def _requests(route: TargetGroups, balancer: pulumi.Input[str]) -> list[_Query]:
    """Requests a task at both target groups together: the predefined metric follows one alone, and a rollout moves the
    traffic away from it."""
    groups = [
        _Query(
            id=colour,
            metric_stat=_Stat(
                stat="Sum",
                metric=_Metric(
                    namespace="AWS/ApplicationELB",
                    metric_name="RequestCountPerTarget",
                    dimensions=[_Dimension(name="LoadBalancer", value=balancer), _Dimension(name="TargetGroup", value=label)],
                ),
            ),
            return_data=False,
        )
        for colour, label in zip(("blue", "green"), route.labels, strict=True)
    ]
    total = _Query(id="both", expression="FILL(blue, 0) + FILL(green, 0)", label="Requests a task", return_data=True)
    return [*groups, total]
