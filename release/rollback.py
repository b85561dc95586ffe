"""Rolls back to an earlier image: stops what ECS deploys, then deploys the image at once."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from components.settings.loader import parse
from components.settings.rollout import AT_ONCE, ROLLING
from release.deploy import deploy
from release.errors import CommandFailed, step
from release.image import is_deployed, unverified_signature
from release.pulumi.stack import DIGEST, Stack, read_stack, with_setting, write_digest
from release.pulumi.state import State, read_state

REVISIONS_MAX = 50
STOPPABLE = ["PENDING", "IN_PROGRESS", "ROLLBACK_REQUESTED", "ROLLBACK_IN_PROGRESS"]
"""A deployment is IN_PROGRESS until the old tasks stop after the bake time.

Source: ECS Developer Guide, "Stopping Amazon ECS service deployments".
"""
STOP_TIMEOUT_S, POLL_S = 600, 10


def rollback(
    stack: Stack, state: State, digest: str, confirm: Callable[[], bool], *, unsigned: bool
) -> None:
    """Write a digest, by default of the previous image, to the stack file and deploy it, without a
    canary. An earlier image runs with the newer schema, which its migration does not change. Raises
    as `deploy`, and ValueError if there is no such image.
    """
    services = state.output("services")
    process, service = next(iter(services.items()))
    digest = digest or previous_digest(stack, process, service["taskDefinition"])
    if not DIGEST.fullmatch(digest) or digest == stack.image_digest:
        raise ValueError(f"{digest} is not a digest, or is that of {stack.file} (make deploy)")
    stop_deployments(stack, [row["service"] for row in services.values()], confirm)
    state = read_state(stack)  # the command that waited for the deployments may have ended
    if message := state.unfinished(stack):
        raise CommandFailed(message)
    write_digest(stack.path, digest)
    step(f"{stack.file}: image.digest {stack.image_digest} -> {digest}. Commit the change.")
    try:
        target = read_stack(stack.name, stack.root)
        # Others can set the tags of images, and register task definitions.
        if not unsigned and (problem := unverified_signature(target)):
            raise CommandFailed(problem)
        with _at_once(target) as target:
            deploy(target, state, confirm, at_once=True)
    except BaseException:
        # Otherwise, the next rollback would take the image that this one replaces.
        write_digest(stack.path, stack.image_digest)
        step(f"{stack.file}: image.digest {digest} -> {stack.image_digest}")
        raise


def stop_deployments(
    stack: Stack,
    services: Sequence[str],
    confirm: Callable[[], bool],
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Let ECS roll back the deployments in progress, whose previous tasks still run, and wait."""
    ecs = stack.client("ecs")

    def in_progress() -> dict[str, str]:
        filters = {"cluster": stack.cluster, "status": STOPPABLE}
        pages = [ecs.list_service_deployments(service=name, **filters) for name in services]
        rows = [row for page in pages for row in page["serviceDeployments"]]
        return {row["serviceDeploymentArn"]: row["serviceArn"] for row in rows}

    if not (deployments := in_progress()):
        return
    step(f"stopping the deployments of {', '.join(deployments.values())}")
    if not confirm():
        raise CommandFailed("not confirmed; nothing was changed")
    for arn in deployments:
        try:
            ecs.stop_service_deployment(serviceDeploymentArn=arn, stopType="ROLLBACK")
        except ecs.exceptions.ConflictException as exc:  # it has ended
            step(str(exc))
    for _ in range(STOP_TIMEOUT_S // POLL_S):
        if not in_progress():
            return
        sleep(POLL_S)
    raise CommandFailed(f"ECS has not rolled back {', '.join(in_progress().values())}")


@contextmanager
def _at_once(stack: Stack) -> Iterator[Stack]:
    """The stack with another strategy for one update."""
    if parse(stack.settings, stack.name).rollout.strategy == ROLLING:
        yield stack
        return
    with with_setting(stack, "rollout", "strategy", AT_ONCE) as changed:
        yield changed


def previous_digest(stack: Stack, process: str, definition: str) -> str:
    """The newest digest in the revisions of a task definition that is not that of the stack file,
    and was deployed successfully. Raises ValueError if there is none.

    definition: ARN of the newest revision, which a failed deployment leaves.
    """
    ecs = stack.client("ecs")
    family, _, newest = definition.rpartition(":")
    for revision in range(int(newest), max(0, int(newest) - REVISIONS_MAX), -1):
        row = ecs.describe_task_definition(taskDefinition=f"{family}:{revision}")["taskDefinition"]
        # AWS adds containers.
        images = [each["image"] for each in row["containerDefinitions"] if each["name"] == process]
        digest = "".join(images).rpartition("@")[2]
        if digest not in ("", stack.image_digest) and is_deployed(stack, digest):
            return digest
    raise ValueError(f"{process} has no earlier image that was deployed. Use DIGEST=sha256:...")
