"""Verifies that ECS runs the expected task definitions, that each URL is healthy, and that the
canary key works.

`pulumi up` succeeds even if ECS rolled the deployment back (pulumi-aws issue 4487).
"""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx
from botocore.exceptions import WaiterError

from release.errors import ServicesFailed, step
from release.pulumi.stack import Stack
from release.pulumi.state import State

HEALTH_PATH, OK = "/healthz", "returned 200"
HEALTH_CHECK_TIMEOUT_S = 10.0
HEALTH_CHECK_ATTEMPTS = 6
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
    attempts = 1 if errors else HEALTH_CHECK_ATTEMPTS
    errors += check_health(state.output("urls"), attempts=attempts) + _check_canary(stack, state)
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


def check_health(
    urls: Mapping[str, str],
    *,
    attempts: int = HEALTH_CHECK_ATTEMPTS,
    sleep: Callable[[float], None] = time.sleep,
) -> list[str]:
    """One message for each service whose health path does not return 200."""
    for remaining in reversed(range(attempts)):
        results = {f"{name}: {url}{HEALTH_PATH}": _health(url) for name, url in urls.items()}
        errors = [f"{service} {result}" for service, result in results.items() if result != OK]
        if not errors or not remaining:
            break
        sleep(POLL_S)
    return errors


def _health(url: str) -> str:
    try:
        status = httpx.get(url + HEALTH_PATH, timeout=HEALTH_CHECK_TIMEOUT_S).status_code
    except httpx.HTTPError as error:
        return f"did not respond ({type(error).__name__}: {error})"
    return f"returned {status}"


def _check_canary(stack: Stack, state: State) -> list[str]:
    """One message if the canary key cannot be used. Only the deployed probe can read its token."""
    if not (probe := state.output("probe", {})):
        step("the canary key was not used: the stack has no synthetic probe")
        return []
    function, event = str(probe["function"]), json.dumps(probe["event"])
    reply = stack.client("lambda").invoke(FunctionName=function, Payload=event.encode())
    if json.loads(reply["Payload"].read()).get("canary") is True:
        return []
    return [f"canary key: the log group of the function {function} names the problem"]
