"""The synthetic probe: a scheduled Lambda function that requests each service from outside the
VPC.
"""

from collections.abc import Iterator

import pulumi

from components.compute.python_function import FunctionResources, PythonFunction
from components.iam.documents import allow
from components.iam.role_policies import RoleDefinition, function_definition
from components.monitoring.metric_alarms import UNDER, Alarm, Metric, function_alarm, metric_alarm
from components.naming import Naming
from components.stack import Stack

NAME = "probe"
TIMEOUT_S = 30
"""The function requests the services in sequence, each with a timeout of five seconds."""


class SyntheticProbe(PythonFunction):
    """A Lambda function that EventBridge invokes at a fixed interval, and an availability alarm for
    each service.

    Why: All other metrics are reported by the stack's own resources. A request from outside depends
    on DNS, the certificate, the web ACL, the load balancer and the task. A missing measurement also
    raises the alarm. The function runs outside the VPC and has no environment variables; the event
    contains the URLs.
    Cost: 0.30 USD a month for each of two metrics per service, 0.10 USD per alarm, below 0.10 USD
        for 43,000 invocations.
    Controls: GH-LAM-001, GH-LAM-003 to GH-LAM-005, GH-CW-003, GH-CW-005.
    """

    def __init__(
        self, name: str, stack: Stack, resources: FunctionResources, opts: pulumi.ResourceOptions
    ) -> None:
        super().__init__(
            "gatehouse:monitoring:SyntheticProbe",
            name,
            stack,
            resources,
            opts,
            description=(
                "Requests each service from outside the VPC and records its "
                "availability and response time"
            ),
            timeout_s=TIMEOUT_S,
        )
        minutes = self.settings.monitoring.probe_interval_minutes
        urls = self.contract.health_urls
        self.invoke(
            name,
            "",
            "Schedule of the synthetic probe",
            {"namespace": self.names.namespace, "services": urls},
            schedule=f"rate({minutes} minute{'s' if minutes > 1 else ''})",
        )
        for alarm in probe_alarms(self.names, tuple(urls), minutes):
            metric_alarm(alarm, stack, resources.topic_arn, self)
        self.register_outputs({"function": self.function})


def probe_alarms(
    names: Naming, services: tuple[str, ...], interval_minutes: int
) -> Iterator[Alarm]:
    """Yield an alarm for each service, raised after two consecutive failed or missing measurements,
    and one for the probe.
    """
    yield function_alarm(
        NAME,
        "The synthetic probe failed. Services may be reported as unreachable although they are "
        "not. Check the log group of the probe.",
        "unreachable",
        names,
    )
    for service in services:
        yield Alarm(
            f"{service}-unreachable",
            f"The {service} service did not return 200 to two consecutive external requests, or "
            "was not measured. Check the log group of the probe.",
            "unreachable",
            Metric(names.namespace, "ServiceUp", {"Service": service}, "Minimum"),
            1,
            UNDER,
            evaluation=(60 * interval_minutes, 2, 2),
            missing="breaching",
        )


def role_definitions(stack: Stack) -> dict[str, RoleDefinition]:
    names = stack.names
    if not stack.settings.monitoring.probe_interval_minutes:
        return {}
    # PutMetricData does not support resource-level permissions (Service Authorization Reference,
    # Amazon CloudWatch).
    namespace = {"StringEquals": {"cloudwatch:namespace": names.namespace}}
    put = allow("PutMetrics", "cloudwatch:PutMetricData", ["*"], conditions=namespace)
    return {NAME: function_definition(names, NAME, "Role of the synthetic probe", put)}
