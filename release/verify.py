"""Verifies that ECS runs the expected task definitions and that every public URL is healthy.

`pulumi up` succeeds even if ECS rolled the deployment back, because the provider only waits until
the service is steady (pulumi-aws issue 4487).
"""

import http.client
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

HEALTH_PATH = "/healthz"
HEALTH_CHECK_TIMEOUT_S = 10.0
HEALTH_CHECK_ATTEMPTS = 6
"""A new target is in service after at most two health checks by the load balancer."""

ROLLOUT_TIMEOUT_S = 900.0
POLL_S = 10.0


@dataclass(frozen=True, slots=True)
class ServiceState:
    """The PRIMARY deployment of an ECS service.

    deployment: ID of the deployment.
    definition: ARN of the task definition.
    rollout: COMPLETED, IN_PROGRESS or FAILED.
    running, desired: number of running and desired tasks.
    reason: reason for the rollout state, or "".
    """

    deployment: str
    definition: str
    rollout: str
    running: int
    desired: int
    reason: str = ""

    @property
    def settled(self) -> bool:
        return self.rollout == "FAILED" or (
            self.rollout == "COMPLETED" and self.running >= self.desired
        )


def describe_services(ecs: Any, cluster: str, services: list[str]) -> dict[str, ServiceState]:
    """The active services by name; empty if the cluster does not exist. Raises ClientError."""
    try:
        response = ecs.describe_services(cluster=cluster, services=services)
    except ecs.exceptions.ClusterNotFoundException:
        return {}
    return {
        row["serviceName"]: _state(row)
        for row in response["services"]
        if row.get("status") == "ACTIVE"
    }


def wait_for_rollouts(
    ecs: Any,
    cluster: str,
    services: list[str],
    *,
    timeout_s: float = ROLLOUT_TIMEOUT_S,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, ServiceState]:
    """Wait until every rollout has ended or the timeout expires. Returns the services. Raises
    ClientError.
    """
    waited_s = 0.0
    while True:
        states = describe_services(ecs, cluster, services)
        if waited_s >= timeout_s or all(state.settled for state in states.values()):
            return states
        sleep(POLL_S)
        waited_s += POLL_S


def deployment_errors(
    before: Mapping[str, ServiceState],
    after: Mapping[str, ServiceState],
    expected: Mapping[str, str],
) -> list[str]:
    """One message for each service that does not run the expected task definition. expected: task
    definition ARN by service.
    """
    errors = []
    for service, definition in expected.items():
        state = after.get(service)
        if state is None:
            errors.append(f"{service}: the ECS service does not exist")
        elif state.definition != definition:
            errors.append(
                f"{service}: ECS rolled the deployment back. The service runs "
                f"{_revision(state.definition)} instead of "
                f"{_revision(definition)}. {state.reason or 'No reason given.'} See the events "
                f"of the service and run: make logs"
            )
        elif state.rollout == "FAILED":
            errors.append(
                (
                    f"{service}: the deployment of {_revision(definition)} failed. {state.reason}"
                ).rstrip()
            )
        elif not state.settled:
            errors.append(
                f"{service}: the deployment of {_revision(definition)} is still in progress: "
                f"{state.running} of {state.desired} tasks"
            )
        elif (
            service in before
            and before[service].definition != definition
            and before[service].deployment == state.deployment
        ):
            errors.append(f"{service}: no new deployment was started for {_revision(definition)}")
    return errors


def check_health(
    urls: Mapping[str, str],
    *,
    attempts: int = HEALTH_CHECK_ATTEMPTS,
    sleep: Callable[[float], None] = time.sleep,
) -> list[str]:
    """One message for each service whose health path does not return 200. urls: public URL by
    service.
    """
    errors = []
    for service, url in urls.items():
        problem = ""
        for attempt in range(attempts):
            if attempt:
                sleep(POLL_S)
            problem = _request(url.rstrip("/") + HEALTH_PATH)
            if not problem:
                break
        if problem:
            errors.append(f"{service}: {url}{HEALTH_PATH} {problem}")
    return errors


def check_canary(lambda_: Any, probe: Mapping[str, Any]) -> list[str]:
    """One message if the canary key cannot be used. The deployed probe uses it at the public URL,
    so no other principal needs to read the token. probe: output of the stack. Raises ClientError.
    """
    function = str(probe["function"])
    reply = lambda_.invoke(FunctionName=function, Payload=json.dumps(probe["event"]).encode())
    content = json.loads(reply["Payload"].read())
    if "FunctionError" in reply:
        return [f"canary key: the function {function} failed; see its log group"]
    if content.get("canary") is not True:
        return [
            "canary key: it could not be verified, or a request with it did not reach a Core. The "
            f"log group of the function {function} names the problem"
        ]
    return []


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(
    _NoRedirect, urllib.request.HTTPSHandler(context=ssl.create_default_context())
)


def _request(url: str) -> str:
    try:
        with _OPENER.open(url, timeout=HEALTH_CHECK_TIMEOUT_S) as response:
            return "" if response.status == 200 else f"returned {response.status}"
    except urllib.error.HTTPError as error:
        return f"returned {error.code}"
    except (OSError, http.client.HTTPException) as error:
        return f"did not respond ({getattr(error, 'reason', '') or type(error).__name__})"


def _state(row: Mapping[str, Any]) -> ServiceState:
    primary: Mapping[str, Any] = next(
        (item for item in row["deployments"] if item["status"] == "PRIMARY"), {}
    )
    failed = next(
        (item for item in row["deployments"] if item.get("rolloutState") == "FAILED"), primary
    )
    return ServiceState(
        deployment=str(primary.get("id", "")),
        definition=str(primary.get("taskDefinition", "")),
        # Deployment controllers other than ECS report no rollout state.
        rollout=str(primary.get("rolloutState", "COMPLETED")),
        running=int(primary.get("runningCount", 0)),
        desired=int(primary.get("desiredCount", 0)),
        reason=str(failed.get("rolloutStateReason", "")),
    )


def _revision(arn: str) -> str:
    return arn.rpartition("/")[2] or "no task definition"
