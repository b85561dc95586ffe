"""Tells whether a deployment really arrived: what ECS runs is what the stack asked for, and every door answers.

`pulumi up` alone does not tell: when ECS gives a deployment up and goes back, the service is steady again, and that is all the
provider waits for (pulumi-aws issue 4487).
"""

from __future__ import annotations

import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

HEALTH = "/healthz"
SMOKE_TIMEOUT_S = 10.0
SMOKE_TRIES = 6
"""A new target is taken into service within two health checks of the load balancer."""

WAIT_S_MAX = 900.0
POLL_S = 10.0


@dataclass(frozen=True, slots=True)
class Seen:
    """One ECS service as it stands: its PRIMARY deployment, what that runs, and how far it is.

    rollout: COMPLETED, IN_PROGRESS or FAILED. reason: what ECS says about it.
    """

    deployment: str
    definition: str
    rollout: str
    running: int
    desired: int
    reason: str = ""

    @property
    def settled(self) -> bool:
        return self.rollout == "FAILED" or (self.rollout == "COMPLETED" and self.running >= self.desired)


def look(ecs: Any, cluster: str, services: list[str]) -> dict[str, Seen]:
    """The services that exist, by name; none when there is no cluster yet. Raises botocore's ClientError."""
    try:
        answer = ecs.describe_services(cluster=cluster, services=services)
    except ecs.exceptions.ClusterNotFoundException:
        return {}
    return {row["serviceName"]: _seen(row) for row in answer["services"] if row.get("status") == "ACTIVE"}


def settle(
    ecs: Any, cluster: str, services: list[str], *, wait_s_max: float = WAIT_S_MAX, pause: Callable[[float], None] = time.sleep
) -> dict[str, Seen]:
    """The services once each deployment has ended, one way or the other, or when the time is up."""
    waited = 0.0
    while True:
        seen = look(ecs, cluster, services)
        if waited >= wait_s_max or all(service.settled for service in seen.values()):
            return seen
        pause(POLL_S)
        waited += POLL_S


def faults(before: Mapping[str, Seen], after: Mapping[str, Seen], wanted: Mapping[str, str]) -> list[str]:
    """One sentence for each service that does not run what the stack asked for. wanted: service to task definition ARN."""
    found = []
    for service, definition in wanted.items():
        now = after.get(service)
        if now is None:
            found.append(f"{service}: ECS has no such service")
        elif now.definition != definition:
            found.append(
                f"{service}: ECS went back: it runs {_revision(now.definition)}, the stack asked for {_revision(definition)}. "
                f"{now.reason or 'No reason was given.'} See the service's events, and: make logs"
            )
        elif now.rollout == "FAILED":
            found.append(f"{service}: the deployment of {_revision(definition)} failed. {now.reason}".rstrip())
        elif not now.settled:
            found.append(
                f"{service}: the deployment of {_revision(definition)} has not ended: {now.running} of {now.desired} tasks run"
            )
        elif service in before and before[service].definition != definition and before[service].deployment == now.deployment:
            found.append(f"{service}: {_revision(definition)} was asked for, but no new deployment was started")
    return found


def smoke(
    urls: Mapping[str, str],
    *,
    tries: int = SMOKE_TRIES,
    timeout_s: float = SMOKE_TIMEOUT_S,
    pause: Callable[[float], None] = time.sleep,
) -> list[str]:
    """One sentence for each door whose health path does not answer 200 within `tries`. urls: door to its public address."""
    found = []
    for door, url in urls.items():
        answer = ""
        for attempt in range(tries):
            if attempt:
                pause(POLL_S)
            answer = _health(url.rstrip("/") + HEALTH, timeout_s)
            if not answer:
                break
        if answer:
            found.append(f"{door}: {url}{HEALTH} {answer}")
    return found


class _Stay(urllib.request.HTTPRedirectHandler):
    """A door that sends its callers elsewhere is not healthy."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


_DIRECT = urllib.request.build_opener(_Stay, urllib.request.HTTPSHandler(context=ssl.create_default_context()))


def _health(url: str, timeout_s: float) -> str:
    """ "" when it is well, else what is wrong."""
    try:
        with _DIRECT.open(url, timeout=timeout_s) as answer:
            return "" if answer.status == 200 else f"answers {answer.status}"
    except urllib.error.HTTPError as refusal:
        return f"answers {refusal.code}"
    except (urllib.error.URLError, OSError) as problem:
        return f"does not answer ({getattr(problem, 'reason', '') or type(problem).__name__})"


def _seen(row: Mapping[str, Any]) -> Seen:
    primary: Mapping[str, Any] = next((item for item in row["deployments"] if item["status"] == "PRIMARY"), {})
    failed = next((item for item in row["deployments"] if item.get("rolloutState") == "FAILED"), primary)
    return Seen(
        deployment=str(primary.get("id", "")),
        definition=str(primary.get("taskDefinition", "")),
        # A deployment controller other than ECS reports no rollout; then running tasks are all there is to see.
        rollout=str(primary.get("rolloutState", "COMPLETED")),
        running=int(primary.get("runningCount", 0)),
        desired=int(primary.get("desiredCount", 0)),
        reason=str(failed.get("rolloutStateReason", "")),
    )


def _revision(arn: str) -> str:
    return arn.rpartition("/")[2] or "nothing"
