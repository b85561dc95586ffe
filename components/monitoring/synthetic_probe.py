"""The synthetic probe: a scheduled Lambda function that requests each service, and uses the canary
key, as clients do.
"""

from collections.abc import Iterator
from typing import Any

import pulumi

from components.compute.python_function import FunctionResources, PythonFunction
from components.context import Stack
from components.iam.documents import allow
from components.iam.role_policies import (
    CANARY_KEY,
    PROBE,
    RoleDefinition,
    probe_definition,
    read_canary_key,
)
from components.monitoring.cloudwatch_alarm import Alarm, function_alarm, metric_alarm
from components.monitoring.service_alarms import canary_alarm, probe_alarm
from components.naming import PAGES

NAME = PROBE
TIMEOUT_S = 30
"""The function requests the three services, and uses the canary key twice, in sequence, each with a
timeout of five seconds.
"""


class SyntheticProbe(PythonFunction):
    """A Lambda function that EventBridge invokes at a fixed interval, and availability alarms for
    each service and for the use of a key.

    Why: All other metrics are reported by the stack's own resources. A request from outside depends
    on DNS, the certificate, the web ACL, the load balancer and the task. A missing measurement also
    raises the alarm. With the canary key, the function verifies a key and sends a request to a Core
    of the gateway, as clients do. It runs outside the VPC or, if the load balancer is internal, in
    the app subnets, and has no environment variables; the event contains the URLs and the name of
    the secret.
    """

    event: dict[str, Any]
    """Event with which the function is invoked."""
    alarms: list[pulumi.Resource]
    gateway_alarms: list[pulumi.Output[str]]
    """Names of the alarms that roll back a deployment of the gateway."""

    def __init__(
        self, name: str, stack: Stack, resources: FunctionResources, opts: pulumi.ResourceOptions
    ) -> None:
        super().__init__(
            name,
            stack,
            resources,
            opts,
            description=(
                "Requests each service and uses the canary key, and records availability and "
                "response times"
            ),
            timeout_s=TIMEOUT_S,
        )
        urls = self.contract.health_urls
        self.event = {"namespace": self.names.namespace, "services": urls, "canary": canary(stack)}
        if region := self.settings.heartbeat_region:
            self.event["heartbeat"] = region
        self.invoke(
            name, "", "Schedule of the synthetic probe", self.event, schedule="rate(1 minute)"
        )
        alarms = probe_alarms(stack)
        created = [metric_alarm(alarm, stack, resources.topics, self) for alarm in alarms]
        self.alarms, self.gateway_alarms = list(created), [created[-1].name]
        self.register_outputs({})


def canary(stack: Stack) -> dict[str, Any]:
    """Return the name of the secret with the canary key, and the URLs at which it is used: to
    verify it and, unless the proxy is disabled, to send a request to a Core.
    """
    gateway, url = stack.contract.services["gateway"], stack.contract.urls["gateway"]
    echo = {"echo": f"{url}{gateway.echo}"} if stack.forwards_requests else {}
    secret = stack.names.secret(CANARY_KEY)
    return {"name": secret, "verify": f"{url}{gateway.protected}", **echo}


def probe_alarms(stack: Stack) -> Iterator[Alarm]:
    """Yield an alarm for the probe, and one for each service and for the use of the canary key. The
    canary key is the last.
    """
    yield function_alarm(
        NAME,
        "The synthetic probe failed. Services may be reported as unreachable although they are "
        "not. Check the log group of the probe.",
        "unreachable",
        stack.names,
    )
    for service in stack.contract.health_urls:
        yield probe_alarm(service, None if service == "gateway" else PAGES, stack.names)
    yield canary_alarm(stack.names)


def role_definitions(stack: Stack) -> dict[str, RoleDefinition]:
    names = stack.names
    if not stack.settings.monitoring.probe:
        return {}
    statements = [read_canary_key(names)]
    if stack.settings.heartbeat_region:
        # PutMetricData does not support resource-level permissions (Service Authorization
        # Reference, Amazon CloudWatch).
        namespace = {"StringEquals": {"cloudwatch:namespace": names.namespace}}
        put = allow("PutHeartbeat", "cloudwatch:PutMetricData", ["*"], conditions=namespace)
        statements.append(put)
    return {NAME: probe_definition(stack, NAME, "Role of the synthetic probe", *statements)}
