"""The ECS cluster and its Fargate services, with blue/green deployments and auto scaling."""

from collections.abc import Sequence

import pulumi
import pulumi_aws as aws

from components.component import DeploymentHook, Placement, StackComponent, TargetGroups
from components.context import Stack
from components.naming import tags
from components.settings.rollout import ROLLING, STEP_MINUTES, STEP_PERCENT, RolloutSettings
from components.settings.workloads import CPU_TARGET_PERCENT

HEALTH_CHECK_GRACE_S = 60
START_MINUTES = 20
"""Time for tasks to start and become healthy, excluding the wait times of the rollout."""


class EcsCluster(StackComponent):
    """An ECS cluster with Container Insights.

    Why: Fargate runs the tasks, so there are no hosts to patch. Container Insights records CPU,
        memory and network per task.
    """

    def __init__(self, name: str, stack: Stack, opts: pulumi.ResourceOptions) -> None:
        super().__init__(name, stack, opts)
        cluster = aws.ecs.Cluster(
            name,
            name=self.names.name("main"),
            settings=[{"name": "containerInsights", "value": self.settings.telemetry.insights}],
            tags=tags("none"),
            opts=self.child,
        )
        self.name, self.arn = cluster.name, cluster.arn
        self.register_outputs({})


class EcsService(StackComponent):
    """An ECS service on Fargate in all zones, with a deployment strategy, automatic rollback and
    auto scaling.

    Why: A deployment rolls back if an alarm is raised, and with the rolling strategy also if tasks
    do not become healthy (tests/external_contracts.toml). With every other strategy, the previous
    tasks are still running at that point. A service without target groups always uses the rolling
    strategy.

    target_groups: Container ports with their target groups; empty for a service without a load
        balancer.
    smoke_test: Test of the new tasks before production traffic shifts; None for no test.
    """

    def __init__(
        self,
        name: str,
        stack: Stack,
        cluster: EcsCluster,
        opts: pulumi.ResourceOptions,
        *,
        task_definition_arn: pulumi.Input[str],
        placement: Placement,
        target_groups: Sequence[tuple[int, TargetGroups]],
        infrastructure_role_arn: pulumi.Input[str],
        rollback_alarms: Sequence[pulumi.Input[str]],
        registry_arn: pulumi.Input[str] | None,
        smoke_test: DeploymentHook | None,
    ) -> None:
        super().__init__(name, stack, opts)
        rollout, scaling = self.settings.rollout, self.settings.scaling(name)
        shifts_traffic = bool(target_groups) and rollout.strategy != ROLLING
        timeout = f"{START_MINUTES + (rollout.minutes if shifts_traffic else 0)}m"
        load_balancers: list[aws.ecs.ServiceLoadBalancerArgsDict] = [
            {
                "target_group_arn": groups.blue,
                "container_name": name,
                "container_port": port,
                "advanced_configuration": {
                    "alternate_target_group_arn": groups.green,
                    "production_listener_rule": groups.rule,
                    "role_arn": infrastructure_role_arn,
                    "test_listener_rule": groups.test_rule if smoke_test else None,
                }
                if shifts_traffic
                else None,
            }
            for port, groups in target_groups
        ]
        service = aws.ecs.Service(
            name,
            name=self.names.name(name),
            cluster=cluster.arn,
            task_definition=task_definition_arn,
            desired_count=scaling.tasks_min,
            launch_type="FARGATE",
            platform_version="LATEST",
            network_configuration={
                "subnets": list(placement.subnet_ids),
                "security_groups": [placement.security_group_id],
                "assign_public_ip": self.settings.network.has_public_tasks,
            },
            load_balancers=load_balancers or None,
            service_registries={"registry_arn": registry_arn} if registry_arn else None,
            deployment_configuration=_deployment_configuration(rollout, smoke_test)
            if shifts_traffic
            else None,
            deployment_circuit_breaker={"enable": True, "rollback": True},
            alarms={"enable": True, "rollback": True, "alarm_names": list(rollback_alarms)}
            if rollback_alarms
            else None,
            deployment_minimum_healthy_percent=100,
            deployment_maximum_percent=200,
            health_check_grace_period_seconds=HEALTH_CHECK_GRACE_S if target_groups else None,
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
                # ECS rejects a second service with the same name.
                delete_before_replace=True,
                custom_timeouts=pulumi.CustomTimeouts(
                    create=timeout, update=timeout, delete=f"{START_MINUTES}m"
                ),
            ),
        )
        self.name = service.name
        target = aws.appautoscaling.Target(
            name,
            service_namespace="ecs",
            scalable_dimension="ecs:service:DesiredCount",
            resource_id=pulumi.Output.format("service/{}/{}", cluster.name, self.name),
            min_capacity=scaling.tasks_min,
            max_capacity=scaling.tasks_max,
            opts=self.child,
        )
        aws.appautoscaling.Policy(
            f"{name}-cpu",
            name=self.names.name(f"{name}-cpu"),
            policy_type="TargetTrackingScaling",
            service_namespace=target.service_namespace,
            scalable_dimension=target.scalable_dimension,
            resource_id=target.resource_id,
            target_tracking_scaling_policy_configuration={
                "target_value": CPU_TARGET_PERCENT,
                "scale_in_cooldown": 300,
                "scale_out_cooldown": 30,
                "predefined_metric_specification": {
                    "predefined_metric_type": "ECSServiceAverageCPUUtilization"
                },
            },
            opts=self.child,
        )
        self.register_outputs({})


def _deployment_configuration(
    rollout: RolloutSettings, smoke_test: DeploymentHook | None
) -> aws.ecs.ServiceDeploymentConfigurationArgsDict:
    configuration: aws.ecs.ServiceDeploymentConfigurationArgsDict = {
        "strategy": "CANARY" if rollout.strategy == "canary" else "BLUE_GREEN",
        "bake_time_in_minutes": str(rollout.bake_minutes),
    }
    if rollout.strategy == "canary":
        configuration["canary_configuration"] = {
            "canary_percent": float(STEP_PERCENT),
            "canary_bake_time_in_minutes": str(STEP_MINUTES),
        }
    if smoke_test:
        configuration["lifecycle_hooks"] = [
            {
                "lifecycle_stages": ["POST_TEST_TRAFFIC_SHIFT"],
                "hook_target_arn": smoke_test.function_arn,
                "role_arn": smoke_test.role_arn,
                "hook_details": smoke_test.details,
            }
        ]
    return configuration
