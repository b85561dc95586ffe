"""Deploys a stack: deploys the infrastructure, migrates the database, shifts the traffic of Lambda
functions and deploys the ECS services. The deployment starts with a preview and ends with a
verification.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from components import contract
from release import pulumi_cli
from release.errors import (
    AWS_ERRORS,
    CommandFailed,
    DeploymentFailed,
    ServicesFailed,
    code_of,
    translated,
)
from release.image import mark_deployed
from release.migrate import migrate
from release.pulumi_cli import command_line, deployment, excluded_urns, stack_output
from release.stack_file import ACCOUNT, Stack
from release.traffic import FunctionVersion, shift_traffic
from release.update_plan import mark_executed, operations
from release.verify import (
    HEALTH_CHECK_ATTEMPTS,
    ServiceState,
    check_canary,
    check_health,
    deployment_errors,
    describe_services,
    wait_for_rollouts,
)

SUCCESS = 0


def deploy(
    stack: Stack, *, confirm: Callable[[], bool], again: str, with_migration: bool = True
) -> int:
    """Deploy a stack and verify it. Returns 0. Raises CommandFailed if it is not confirmed,
    ServicesFailed if the last update or the verification fails, and DeploymentFailed if another
    step fails. A stack of the project `account` has no services, and is only updated. again: the
    command that continues.

    The last update executes only operations from the confirmed preview. Pulumi locks the stack
    during each update, not between them, so that the deployment stops if another command has
    updated the stack in the meantime.
    """
    with TemporaryDirectory(prefix="gatehouse-") as folder:
        plan = Path(folder) / "plan.json"
        state = _state(stack)
        _pulumi(stack, again, command_line("preview", stack, save_plan=plan))
        planned = operations(plan)
        print_changes(state, planned)
        if not confirm():
            raise CommandFailed("not confirmed; nothing was changed")
        if stack.project == ACCOUNT:
            check_unchanged(stack, again, state)
            _pulumi(stack, again, command_line("deploy", stack, yes=True, plan=plan))
            return SUCCESS
        before = _current_services(stack)
        if not before:
            _print_name_servers(stack)
        check_unchanged(stack, again, state)
        if with_migration:
            _step("deploying everything except the ECS services")
            functions = _gradual_functions(stack)
            _pulumi(
                stack,
                again,
                command_line(
                    "deploy", stack, yes=True, without_services=True, without_aliases=functions
                ),
            )
            confirmed, state = state, _state(stack)
            _check_ids(stack, again, confirmed, state, planned)
            mark_executed(
                plan, lambda urn: urn.endswith(excluded_urns(functions)), state["resources"]
            )
            _step("running the migration task")
            with _services_unchanged():
                task = migrate(stack, stack.client("ecs"), stack_output(stack, "migration"))
                _step(f"migration task {task} succeeded")
                for name in functions:
                    _shift_traffic(stack, name)
            check_unchanged(stack, again, state)
        _step("deploying the ECS services")
        _pulumi(stack, again, command_line("deploy", stack, yes=True, plan=plan), ServicesFailed)
    status = verify(stack, before)
    _mark_image(stack)
    return status


def verify(stack: Stack, before: dict[str, ServiceState] | None = None) -> int:
    """Compare the running ECS services with the stack, then check the health of every URL and use
    the canary key. Raises ServicesFailed, and DeploymentFailed if AWS cannot be queried."""
    _step("verifying")
    services = {
        str(row["service"]): str(row["taskDefinition"])
        for row in stack_output(stack, "services").values()
    }
    with translated("cannot describe the ECS services ({})", DeploymentFailed):
        after = wait_for_rollouts(stack.client("ecs"), stack.cluster, list(services))
    errors = deployment_errors(before or {}, after, services)
    # Even if a deployment failed, check the health of the services to report whether they are
    # available to clients.
    errors += check_health(
        stack_output(stack, "urls"), attempts=1 if errors else HEALTH_CHECK_ATTEMPTS
    )
    problems, canary = _check_canary(stack)
    errors += problems
    if errors:
        raise ServicesFailed("\n".join(errors))
    _step(
        f"verified: {', '.join(sorted(services))} run the expected task definitions and every "
        f"URL is healthy"
    )
    _step(canary)
    return SUCCESS


def _check_canary(stack: Stack) -> tuple[list[str], str]:
    """The problems of the canary key, and what was done. Raises DeploymentFailed if the probe
    cannot be invoked.
    """
    try:
        probe = stack_output(stack, "probe")
    except ValueError:
        return [], "the canary key was not used, because the stack has no synthetic probe"
    with translated("cannot invoke the synthetic probe ({})", DeploymentFailed):
        problems = check_canary(stack.client("lambda"), probe)
    forwarded = "echo" in probe["event"]["canary"]
    request = ", and a request with it reached the Core of the gateway" if forwarded else ""
    return problems, f"the canary key was verified{request}"


def _current_services(stack: Stack) -> dict[str, ServiceState]:
    """The ECS services before the deployment; empty on the first deployment. Raises
    DeploymentFailed.
    """
    try:
        services = [str(row["service"]) for row in stack_output(stack, "services").values()]
    except ValueError:
        return {}
    message = "cannot describe the ECS services ({}). Nothing was changed."
    with translated(message, DeploymentFailed):
        return describe_services(stack.client("ecs"), stack.cluster, services)


def _print_name_servers(stack: Stack) -> None:
    """Print what the owner of the domain must do before the certificate can be issued. Nothing for
    an existing zone.
    """
    domain = stack.settings.get("domain", "")
    existing = stack.settings.get("existing_resources") or {}
    if existing.get("zone_id"):
        return
    try:
        servers = ", ".join(stack_output(stack, "nameServers"))
    except ValueError:
        servers = "the name servers of its hosted zone (Route 53 > Hosted zones)"
    _step(f"the deployment waits for the certificate until {domain} is delegated to {servers}")


def _mark_image(stack: Stack) -> None:
    try:
        mark_deployed(stack)
    except AWS_ERRORS as exc:
        _step(
            f"the image was not marked as deployed ({code_of(exc)}), so the registry can expire it"
        )


@contextmanager
def _services_unchanged() -> Iterator[None]:
    """Raise DeploymentFailed for every error before the update of the ECS services."""
    try:
        yield
    except (DeploymentFailed, ValueError, *AWS_ERRORS) as exc:
        raise DeploymentFailed(f"{exc}\nThe ECS services were not changed.") from exc


def _gradual_functions(stack: Stack) -> tuple[str, ...]:
    """The functions that are already deployed and remain in the stack. Traffic shifts to their new
    versions gradually.
    """
    if (stack.settings.get("sharing") or {}).get("mode") != "serverless":
        return ()
    try:
        return tuple(
            name for name, row in stack_output(stack, "functions").items() if "alias" in row
        )
    except ValueError:
        return ()  # the first deployment


def _shift_traffic(stack: Stack, name: str) -> None:
    """Shift the requests of a function to its newly published version. The next update declares the
    alias with this version.
    """
    new = FunctionVersion.of(stack_output(stack, "functions")[name])
    if new.function != stack.names.name(name):  # the state may have changed
        raise DeploymentFailed(f"the function {name} of the stack {stack.name} has another name")
    service = contract.read(functions=(name,)).functions[name].service
    _step(f"shifting the traffic of {new.function} to version {new.version}")
    functions, alarms = stack.client("lambda"), stack.client("cloudwatch")
    previous = shift_traffic(functions, alarms, new, service.ready)
    change = f"; the previous version is {previous}" if previous != new.version else " already"
    _step(f"version {new.version} of {new.function} receives all requests{change}")


def _state(stack: Stack) -> dict[str, Any]:
    try:
        return deployment(stack)
    except ValueError as exc:
        raise DeploymentFailed(str(exc)) from exc


def print_changes(state: Mapping[str, Any], planned: Mapping[str, Iterable[str]]) -> None:
    """Print the IDs of the resources that planned operations change. The preview has none."""
    for row in state.get("resources") or ():
        changes = {"delete"} if row.get("delete") else {*planned.get(row["urn"], ())}
        if row.get("id") and (changes := changes - {"same", "read", "create"}):
            _step(f"{', '.join(sorted(changes))}: {row['urn']} ({row['id']})")


def check_unchanged(stack: Stack, again: str, state: dict[str, Any]) -> None:
    """Raise DeploymentFailed if the state of the stack is another one than `state`."""
    if _state(stack) != state:
        raise DeploymentFailed(_changed_by_others(stack, again))


def _check_ids(
    stack: Stack,
    again: str,
    confirmed: dict[str, Any],
    state: dict[str, Any],
    planned: Mapping[str, Iterable[str]],
) -> None:
    """Raise DeploymentFailed if the state after an update has an ID that is neither in the
    confirmed state nor that of a resource whose creation was planned.
    """
    known = {(row["urn"], row.get("id")) for row in confirmed.get("resources") or ()}
    for row in state["resources"]:
        is_planned = any(
            each.startswith(("create", "import")) for each in planned.get(row["urn"], ())
        )
        if (row["urn"], row.get("id")) not in known and (row.get("delete") or not is_planned):
            raise DeploymentFailed(_changed_by_others(stack, again))


def _changed_by_others(stack: Stack, again: str) -> str:
    return (
        f"another command updated the stack {stack.name} after the preview. To continue, run: "
        f"{again}"
    )


def _pulumi(
    stack: Stack, again: str, arguments: list[str], error: type[DeploymentFailed] = DeploymentFailed
) -> None:
    code = pulumi_cli.run(arguments, stack.root)
    if code != 0:
        raise error(
            f"pulumi {arguments[1]} exited with {code}; see its output above. To repeat, run: "
            f"{again}"
        )


def _step(text: str) -> None:
    print(f"> {pulumi_cli.printable(text)}", flush=True)
