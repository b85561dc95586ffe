"""Deploys a stack: preview, infrastructure with the migration, functions, ECS services,
verification."""

from collections.abc import Callable

from release.errors import AWS_ERRORS, CommandFailed, ServicesFailed, step
from release.function_traffic import shift_traffic
from release.image import mark_deployed
from release.pulumi.cli import CONFIRMED, packs, update, without_services
from release.pulumi.stack import ACCOUNT, Stack, read_stack
from release.pulumi.state import State, read_state
from release.verify import verify


def deploy(
    stack: Stack, state: State, confirm: Callable[[], bool], *, at_once: bool = False
) -> None:
    """Deploy a stack and verify it; update one without services (project `account`). Raises
    CommandFailed if it is not confirmed or a step fails, ServicesFailed if the last update or the
    verification fails, and ClientError. Pulumi locks the stack only during each update.

    at_once: with one update, without a canary of functions.
    """
    update(stack, "preview", *packs(stack))
    if not confirm():
        raise CommandFailed("not confirmed; nothing was changed")
    check_unchanged(stack, state)
    if stack.project == ACCOUNT:
        return update(stack, "up", *CONFIRMED, *packs(stack))
    if not at_once:
        _deploy_infrastructure(stack, state)
    step("deploying the ECS services")
    update(stack, "up", *CONFIRMED, *packs(stack), error=ServicesFailed)
    verify(stack, read_state(stack))
    try:
        mark_deployed(stack)
    except AWS_ERRORS as exc:
        step(f"the image was not marked as deployed, so the registry can expire it: {exc}")
    return None


def _deploy_infrastructure(stack: Stack, state: State) -> None:
    functions = [name for name, row in state.output("functions", {}).items() if "alias" in row]
    step("deploying everything except the ECS services, and migrating the database")
    update(stack, "up", *CONFIRMED, *without_services(functions))
    state = read_state(stack)
    for name, row in state.output("functions", {}).items():
        if name in functions:
            shift_traffic(stack, name, row)
    check_unchanged(stack, state)


def check_unchanged(stack: Stack, state: State) -> None:
    """Raises CommandFailed if the state or the stack file is another one than before."""
    settings = read_stack(stack.name, stack.root, stack.project).settings
    if read_state(stack) != state or settings != stack.settings:
        raise CommandFailed(f"the stack {stack.name} or its file was changed after the preview")
