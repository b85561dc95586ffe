"""The Lambda function that restarts services after the rotation of a secret."""

from dataclasses import dataclass
from typing import Any

import pulumi

from components.component import Component
from components.compute.python_function import PythonFunctionArgs, python_function
from components.contract import Contract
from components.iam.role_policies import RESTART_FUNCTION
from components.monitoring.events import deployment_pattern, invoke, rotation_pattern
from components.monitoring.metric_alarms import (
    LAMBDA,
    ONCE,
    Alarm,
    Metric,
    alarm_description,
    event_rule_alarm,
    metric_alarm,
)
from components.naming import Naming
from components.settings.operations import MonitoringSettings

FIRST_SERVICE = "console"
"""Restarted before the other services: consoles must know a pepper generation before gateways use
the generation (record 7).
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartFunctionArgs(PythonFunctionArgs):
    """Arguments of `RestartFunction`.

    contract: Services of the stack and the secrets of each service.
    monitoring: URL of the runbooks.
    topic_arn: Topic of the alarm.
    """

    contract: Contract
    monitoring: MonitoringSettings
    topic_arn: pulumi.Input[str]


class RestartFunction(Component):
    """A Lambda function that replaces the tasks of a service after the rotation of one of its
    secrets, one service at a time.

    Why: ECS injects secrets when a task starts, so a task uses the previous value until it is
    replaced. EventBridge invokes the function after each rotation and after each completed
    deployment. Each restart is a deployment with its alarms and rollback.
    Cost: 0.10 USD a month for each of three alarms. Controls: GH-LAM-001, GH-LAM-003 to GH-LAM-005,
        GH-CW-005.
    """

    def __init__(
        self, name: str, args: RestartFunctionArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("gatehouse:secrets:RestartFunction", name, args, opts)
        function = python_function(
            name,
            args,
            self,
            description="Restarts services after the rotation of a secret, one service at a time",
            timeout_s=60,
            memory_mib=128,
            data_class="internal",
        )
        description = alarm_description(
            "Invokes the function that restarts services after the rotation of a secret.",
            "rotation-failure",
            args.monitoring.runbooks_url,
        )
        for rule, pattern in event_patterns(args.names).items():
            invoke(
                f"{name}-{rule}",
                function,
                self,
                args.names,
                description=description,
                target=name,
                event=restart_event(args.names, args.contract),
                pattern=pattern,
            )
            self._alarm(event_rule_alarm(f"{name}-{rule}", args.names), args)
        alarm = Alarm(
            "restart-errors",
            "The function that restarts services after a rotation failed. Tasks can use the "
            "previous value of a secret. Check the log group of the function.",
            "rotation-failure",
            Metric(LAMBDA, "Errors", [{"FunctionName": args.names.name(RESTART_FUNCTION)}]),
            evaluation=ONCE,
        )
        self._alarm(alarm, args)
        self.register_outputs({"function": function.name})

    def _alarm(self, alarm: Alarm, args: RestartFunctionArgs) -> None:
        metric_alarm(alarm, args.names, args.monitoring.runbooks_url, args.topic_arn, self)


def event_patterns(names: Naming) -> dict[str, dict[str, Any]]:
    """Return the patterns of the events that invoke the function, keyed by name of the rule."""
    return {
        "rotated": rotation_pattern(names, "RotationSucceeded"),
        "deployed": deployment_pattern(names, "SERVICE_DEPLOYMENT_COMPLETED"),
    }


def restart_event(names: Naming, contract: Contract) -> dict[str, Any]:
    """Return the event for the function: the services in the order of their restarts, with the
    secrets that they load.
    """
    services = {
        process.name: [
            names.secret(secret.kind) for secret in process.secrets if not secret.managed
        ]
        for process in contract.ecs_services.values()
    }
    ordered = sorted(
        (name for name, secrets in services.items() if secrets),
        key=lambda name: (name != FIRST_SERVICE, name),
    )
    return {
        "cluster": names.name("main"),
        "services": [{"service": names.name(name), "secrets": services[name]} for name in ordered],
    }
