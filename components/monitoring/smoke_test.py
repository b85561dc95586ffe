"""The smoke test of a deployment: a Lambda function that ECS invokes before it shifts production
traffic to new tasks.
"""

from typing import Any

import pulumi

from components.component import TEST_HEADER, DeploymentHook
from components.compute.python_function import FunctionResources, PythonFunction
from components.context import Stack
from components.contract import ContractService
from components.iam.documents import allow, document, trust
from components.iam.role_policies import (
    SMOKE_TEST,
    RoleDefinition,
    probe_definition,
    read_canary_key,
)
from components.monitoring.cloudwatch_alarm import function_alarm, metric_alarm

NAME = SMOKE_TEST
HOOK_ROLE = "ecs-hooks"
TIMEOUT_S = 60
"""The function sends at most eight requests in sequence, and two with the canary key, each with a
timeout of five seconds.
"""


class SmokeTest(PythonFunction):
    """A Lambda function that ECS invokes when only test traffic reaches the new tasks of a service.

    Why: Health checks run in the VPC. The smoke test uses the certificate, the web ACL, the load
    balancer and its connection to the new tasks, before a client does. With the canary key, it
    verifies a key and sends a request to a Core through the new tasks. A failed test rolls the
    deployment back without an effect on clients. The function runs where the probe
    does, and its only permissions are for its log, the canary key and its network interfaces.
    """

    def __init__(
        self,
        name: str,
        stack: Stack,
        resources: FunctionResources,
        hook_role_arn: pulumi.Input[str],
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__(
            name,
            stack,
            resources,
            opts,
            description=(
                "Requests the new tasks of a deployment before production traffic reaches them"
            ),
            timeout_s=TIMEOUT_S,
        )
        alarm = function_alarm(
            NAME,
            "The smoke test of a deployment did not complete, so ECS rolled the deployment back. "
            "Check the log group of the function.",
            "errors",
            self.names,
        )
        metric_alarm(alarm, stack, resources.topics, self)
        self._hook_role_arn = hook_role_arn
        self.register_outputs({})

    def hook(
        self, checks: list[dict[str, Any]], canary: dict[str, Any] | None = None
    ) -> DeploymentHook:
        """Return the hook of a service. canary: use of the canary key; None for a service that does
        not verify keys.
        """
        name, value = TEST_HEADER
        details = pulumi.Output.json_dumps(
            {
                "header": {"name": name, "value": value},
                "checks": checks,
                **({"canary": canary} if canary else {}),
            }
        )
        return DeploymentHook(self._function.arn, self._hook_role_arn, details)


def checks(
    service: ContractService, url: str, address: pulumi.Input[str], *, protected: bool = True
) -> list[dict[str, Any]]:
    """Return the requests to a service: its readiness, and a path that requires a credential.

    address: DNS name of the load balancer or of the distribution in front of the load balancer.
    protected: Whether to request the path that requires a credential. A disabled feature can remove
        the path, and the web ACL can reject requests from addresses of AWS.
    """
    expected = {service.ready: 200, **({service.protected: 401} if protected else {})}
    return [
        {"address": address, "url": f"{url}{path}", "status": status}
        for path, status in expected.items()
        if path
    ]


def role_definitions(stack: Stack) -> dict[str, RoleDefinition]:
    """Return the role of the function, and the role with which ECS invokes the function, keyed by
    resource name.
    """
    names = stack.names
    if not stack.settings.rollout.tests_traffic:
        return {}
    function = names.arn("lambda", f"function:{names.name(NAME)}")
    return {
        NAME: probe_definition(
            stack, NAME, "Role of the smoke test of deployments", read_canary_key(names)
        ),
        # The documented trust policy has no conditions. Source: ECS Developer Guide, "Permissions
        # required for Lambda functions in Amazon ECS blue/green deployments".
        HOOK_ROLE: RoleDefinition(
            "Invokes the smoke test of a deployment",
            trust("ecs.amazonaws.com"),
            document(allow("InvokeSmokeTest", "lambda:InvokeFunction", [function])),
        ),
    }
