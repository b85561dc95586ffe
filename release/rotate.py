"""Rotates a secret of a stack and, in an incident, stops the tasks that use the earlier value."""

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from components import contract
from components.settings.workloads import CONSOLE
from release.errors import CommandFailed, step
from release.pulumi.stack import Stack

NAMES = tuple(contract.read().rotated_secrets)
VOIDING_ROTATIONS: Mapping[str, int] = {"bootstrap-token": 1, "session-key": 3}
"""Number of rotations after which no new task accepts a value (runtime/functions/rotate.py)."""
POLL_S, ATTEMPTS = 2, 60


def rotate(stack: Stack, name: str, confirm: Callable[[], bool], *, now: bool) -> None:
    """Rotate a secret until the rotation has ended. The restart function then replaces the tasks,
    with the deployment strategy of the stack.

    now: make the current value void at once: rotate until no new task accepts it, and stop the
        tasks that do, in all deployments. The load balancer sends no further requests to a task
        that is stopped (ECS Developer Guide, "Amazon ECS task lifecycle", DEACTIVATING, read
        2026-11-30).

    Raises ValueError for a secret that cannot be made void at once, CommandFailed and ClientError.
    """
    if name not in NAMES:
        raise ValueError(f"NAME={name} is not a secret; allowed: {', '.join(NAMES)}")
    if now and name not in VOIDING_ROTATIONS:
        raise ValueError(
            f"NAME={name} cannot be made void at once, because the gateways would stop. Allowed "
            f"with NOW=1: {', '.join(VOIDING_ROTATIONS)}. For the pepper, see docs/guides/"
            "operate.md, for the canary key, docs/runbooks/canary-key.md"
        )
    if now:
        print(
            f"The {CONSOLE} is not available until ECS has replaced its tasks, about two minutes."
        )
        if not confirm():
            raise ValueError("not confirmed; nothing was changed")
    for _ in range(VOIDING_ROTATIONS[name] if now else 1):
        rotated_at = _rotate_once(stack, stack.names.secret(name))
    if now:
        _stop_tasks(stack, stack.names.name(CONSOLE), rotated_at)


def _rotate_once(stack: Stack, secret: str) -> datetime:
    """The time at which the rotation ended."""
    client = stack.client("secretsmanager")
    version = client.rotate_secret(SecretId=secret)["VersionId"]
    for _ in range(ATTEMPTS):
        row = client.describe_secret(SecretId=secret)
        if "AWSCURRENT" in row.get("VersionIdsToStages", {}).get(version, ()):
            step(f"rotated {secret}")
            rotated_at: datetime = row["LastRotatedDate"]
            return rotated_at
        time.sleep(POLL_S)
    raise CommandFailed(
        f"the rotation of {secret} has not ended: the earlier value is valid. See "
        "docs/runbooks/rotation-failure.md"
    )


def _stop_tasks(stack: Stack, service: str, rotated_at: datetime) -> None:
    ecs, cluster = stack.client("ecs"), {"cluster": stack.cluster}
    pages = ecs.get_paginator("list_tasks").paginate(**cluster, serviceName=service)
    rows: list[dict[str, Any]] = [
        row
        for page in pages
        if page["taskArns"]
        for row in ecs.describe_tasks(**cluster, tasks=page["taskArns"])["tasks"]
    ]
    earlier = [row["taskArn"] for row in rows if row["createdAt"] <= rotated_at]
    for arn in earlier:
        ecs.stop_task(**cluster, task=arn, reason="Rotation of a secret")
    step(f"stopped {len(earlier)} of {len(rows)} tasks of {service}; ECS replaces them")
