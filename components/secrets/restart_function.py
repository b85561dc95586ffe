"""The Lambda function that restarts services after the rotation of a secret."""

from typing import Any

import pulumi

from components.compute.python_function import FunctionResources, PythonFunction
from components.context import Stack
from components.contract import Contract
from components.monitoring.cloudwatch_alarm import (
    alarm_description,
    function_alarm,
    metric_alarm,
    undelivered_alarm,
)
from components.monitoring.events import deployment_pattern, rotation_pattern
from components.naming import Naming

FIRST_SERVICE = "console"
"""Restarted before the other services: consoles must know a pepper generation before gateways use
the generation (record 7).
"""


class RestartFunction(PythonFunction):
    """A Lambda function that replaces the tasks of a service after the rotation of one of its
    secrets, one service at a time.

    Why: ECS injects secrets when a task starts, so a task uses the previous value until it is
    replaced. EventBridge invokes the function after each rotation and after each completed
    deployment. Each restart is a deployment with its alarms and rollback.
    """

    def __init__(
        self, name: str, stack: Stack, resources: FunctionResources, opts: pulumi.ResourceOptions
    ) -> None:
        super().__init__(
            name,
            stack,
            resources,
            opts,
            description="Restarts services after the rotation of a secret, one service at a time",
            timeout_s=60,
        )
        description = alarm_description(
            "Invokes the function that restarts services after the rotation of a secret.",
            "rotation-failure",
            stack,
        )
        alarms = [
            function_alarm(
                name,
                "The function that restarts services after a rotation failed. Tasks can use the "
                "previous value of a secret. Check the log group of the function.",
                "rotation-failure",
                self.names,
            )
        ]
        for rule, pattern in event_patterns(self.names).items():
            event = restart_event(self.names, self.contract)
            self.invoke(name, rule, description, event, pattern=pattern)
            alarms.append(undelivered_alarm(f"{name}-{rule}", self.names))
        for alarm in alarms:
            metric_alarm(alarm, stack, resources.topics, self)
        self.register_outputs({})


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
