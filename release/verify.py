"""Verifies that ECS runs the expected task definitions, and with the deployed probe that each URL
is healthy and that the canary key works.

`pulumi up` succeeds even if ECS rolled the deployment back (pulumi-aws issue 4487).
"""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import WaiterError

from release.errors import ServicesFailed, step
from release.pulumi.stack import Stack
from release.pulumi.state import State

ATTEMPTS = 6
"""A new target is in service after at most two health checks by the load balancer."""
POLL_S = 10
ROLLOUT = {"Delay": POLL_S, "MaxAttempts": 90}


def verify(stack: Stack, state: State) -> None:
    """Raises ServicesFailed, ValueError for a stack that is not deployed, and ClientError."""
    step("verifying")
    rows = state.output("services").values()
    expected = {str(row["service"]): str(row["taskDefinition"]) for row in rows}
    errors = rollout_errors(stack.client("ecs"), stack.cluster, expected)
    # Report whether clients reach the services even if a deployment failed.
    errors += probe_errors(stack, state, attempts=1 if errors else ATTEMPTS)
    if errors:
        raise ServicesFailed("\n".join(errors))
    step("verified")


def rollout_errors(ecs: Any, cluster: str, expected: Mapping[str, str]) -> list[str]:
    """Wait until every rollout has ended. expected: ARN of the task definition by service. Returns
    one message for each service that runs another.
    """
    services = {"cluster": cluster, "services": list(expected)}
    try:
        ecs.get_waiter("services_stable").wait(**services, WaiterConfig=ROLLOUT)
    except WaiterError as exc:
        step(str(exc))
    rows = {row["serviceName"]: row for row in ecs.describe_services(**services)["services"]}
    errors = {name: rollout_error(rows.get(name, {}), arn) for name, arn in expected.items()}
    return [f"{name}: {error}" for name, error in errors.items() if error]


def rollout_error(service: Mapping[str, Any], expected: str) -> str:
    """Why a service (a row of DescribeServices) does not run the expected task definition."""
    rows: list[dict[str, Any]] = service.get("deployments", [])
    primary = next((row for row in rows if row["status"] == "PRIMARY"), {})
    reasons = "; ".join(filter(None, (row.get("rolloutStateReason") for row in rows)))
    # Deployment controllers other than ECS report no rollout state.
    rollout = primary.get("rolloutState", "COMPLETED")
    running, desired = primary.get("runningCount", 0), primary.get("desiredCount", 0)
    if primary.get("taskDefinition") == expected and rollout == "COMPLETED" and running >= desired:
        return ""
    return (
        f"ECS runs {primary.get('taskDefinition', 'no task')} ({rollout}, {running} of {desired} "
        f"tasks) instead of {expected}. {reasons} See the events of the service, and make logs"
    )


def probe_errors(
    stack: Stack, state: State, *, attempts: int, sleep: Callable[[float], None] = time.sleep
) -> list[str]:
    """One message for each service that the deployed probe cannot request, and for the canary key.
    Only the probe is where clients are: in the network of an internal load balancer, with the
    certificates of a private CA, and before the records of a foreign zone exist.
    """
    if not (probe := state.output("probe", {})):
        step("the services were not requested: the stack has no synthetic probe")
        return []
    function, event = str(probe["function"]), {**probe["event"], "heartbeat": ""}
    if addresses := probe.get("addresses"):
        event["addresses"] = addresses
        step("requested at the load balancer: clients need the records of the output `records`")
    for remaining in reversed(range(attempts)):
        reply = stack.client("lambda").invoke(
            FunctionName=function, Payload=json.dumps(event).encode()
        )
        results = json.loads(reply["Payload"].read())
        failed = [name for name in (*event["services"], "canary") if results.get(name) is not True]
        if not failed or not remaining:
            break
        sleep(POLL_S)
    return [
        f"{name}: {event['services'].get(name, 'the key')} failed. The log group of the function "
        f"{function} names the problem"
        for name in failed
    ]
