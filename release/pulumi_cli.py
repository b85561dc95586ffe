"""Command lines and environment variables for the Pulumi CLI, and the outputs of a deployed
stack.
"""

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FrameType
from typing import Any

from gatehouse_policies.analysis.properties import UNKNOWN, leaves

from components import contract
from release.stack_file import ROOT, Stack

PACKS = ("policies/security", "policies/resilience")
QUERY_TIMEOUT_S = 120
_UV = ROOT / ".gatehouse" / "tools" / "bin"
_PROVIDER_INPUTS = {
    *("allowedAccountIds", "defaultTags", "region"),
    *("skipCredentialsValidation", "skipRegionValidation", "version", "__internal"),
}
"""Inputs of the program's providers. With others, such as `endpoints`, even a preview can send
local files elsewhere."""

_CONTROL = re.compile(r"(?<!\\)(?:\\\\)*\\(?:[bfr]|u(?:00[0189]|007f|202[a-e]|206[6-9]))|<\{%")
"""Escaped control characters except tabs and line feeds in JSON text, and color tags of the CLI
(sdk/go/common/diag/colors)."""
_STATE_PARTS = {"manifest", "metadata", "pending_operations", "resources", "secrets_providers"}


def command_line(
    command: str,
    stack: Stack,
    *,
    yes: bool = False,
    without_services: bool = False,
    without_aliases: Sequence[str] = (),
    diff: bool = False,
    save_plan: Path | None = None,
    plan: Path | None = None,
) -> list[str]:
    """A command line for preview, drift, deploy or destroy. preview and deploy run both policy
    packs. drift compares AWS with the program, and fails if there is a difference.

    The CLI is not interactive: its display would read Ctrl-C, and this process would not know that
    the user stops the command.

    yes: skip the prompt. Without it, destroy is only a preview.
    without_services: exclude the ECS services and their task definitions, so that they keep running
    unchanged. The packs do not run, because the engine passes no inputs for excluded resources that
    do not exist yet, and the packs reject such resources. The preview and the deployment of the
    services evaluate all resources.
    without_aliases: with `without_services`, exclude the aliases of these functions, so that their
    current versions continue to receive all requests.
    diff: print the changed properties of each resource.
    save_plan: file to which a preview writes its operations. plan: file with the operations to
        which a deployment is limited.
    """
    verb = {"drift": "preview", "deploy": "up"}.get(command, command)
    options = ["--non-interactive"]
    if diff or command == "drift":  # --diff alone omits the deletion of replaced resources
        options += ["--diff", "--show-replacement-steps"]
    if command == "drift":
        options += ["--refresh", "--expect-no-changes"]
    if command == "destroy":
        # The CLI previews again: `--skip-preview` would delete what protected resources need.
        options.append("--yes" if yes else "--preview-only")
    elif yes:
        options += ["--yes", "--skip-preview"]
    if save_plan:
        options += ["--save-plan", str(save_plan)]
    if plan:
        options += ["--plan", str(plan)]
    if without_services:
        for suffix in excluded_urns(without_aliases):
            options += ["--exclude", f"**{suffix}"]
        # An ECS service depends on its task definition, and auto scaling on the ECS service. A REST
        # API depends on the alias.
        options.append("--exclude-dependents")
    elif command in ("preview", "deploy"):
        for pack in PACKS:
            options += ["--policy-pack", f"{stack.project.repository}{pack}"]
    return ["pulumi", verb, "--stack", stack.name, *options]


def excluded_urns(aliases: Sequence[str] = ()) -> tuple[str, ...]:
    """URN suffixes that `without_services` excludes: the task definitions of the ECS services, and
    `aliases` of functions.
    """
    return (
        *(
            f"aws:ecs/taskDefinition:TaskDefinition::{process}"
            for process in contract.read().ecs_services
        ),
        *(f"aws:lambda/alias:Alias::{function}" for function in aliases),
    )


def run(arguments: list[str], root: Path) -> int:
    """Run a command line of the CLI. Returns its exit code. After SIGINT, SIGTERM or the end of the
    terminal (SIGHUP), waits for the end of the CLI and raises KeyboardInterrupt.

    The CLI finishes the operations in progress, saves the state and releases the lock after the
    first signal, and stops at once after the second (pkg/backend/cancellation_scope.go). Therefore,
    the CLI has a process group of its own, and receives one SIGTERM. SIGHUP would end it at once,
    and after SIGINT it would print that the user can press Ctrl-C again.
    """
    process: subprocess.Popen[bytes] | None = None
    received: list[int] = []
    forwarded: list[int] = []

    def forward() -> None:
        if process and received and not forwarded:
            forwarded.append(received[0])
            process.terminate()

    def handle(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        forward()

    with _handled_by(handle):
        process = subprocess.Popen(
            arguments, cwd=root, env=environment(), stdin=subprocess.DEVNULL, process_group=0
        )
        forward()
        code = process.wait()
    if received:
        raise KeyboardInterrupt
    return code


def interrupt_on_signals() -> None:
    """Let SIGTERM and the end of the terminal interrupt this process like Ctrl-C."""
    for number in _signals():
        signal.signal(number, signal.default_int_handler)


def _signals() -> list[signal.Signals]:
    """The signals that interrupt a command. With nohup, the end of the terminal does not."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([] if ignored else [signal.SIGHUP])]


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    previous = {number: signal.signal(number, handler) for number in _signals()}
    try:
        yield
    finally:
        for number, old in previous.items():
            signal.signal(number, old)


def query(*arguments: str, root: Path) -> subprocess.CompletedProcess[str]:
    """Run a non-interactive CLI command and return the exit code and the output."""
    command = ["pulumi", *arguments, "--non-interactive"]
    try:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=QUERY_TIMEOUT_S,
            check=False,
            cwd=root,
            env=environment(),
        )
    except subprocess.TimeoutExpired:
        error = f"the backend did not respond within {QUERY_TIMEOUT_S} s"
        return subprocess.CompletedProcess(command, 1, "", error)


def environment() -> dict[str, str]:
    """The environment for the CLI. With `toolchain: uv`, the engine runs `uv sync`.

    `UV_LOCKED` makes uv fail on an outdated uv.lock instead of changing the file. Without uv on
    PATH, the engine uses the copy that scripts/setup.sh installed.
    """
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), str(_UV)])
    return {**os.environ, "PATH": path, "UV_LOCKED": "1"}


def deployment(stack: Stack) -> dict[str, Any]:
    """The state of a stack: `resources` and `pending_operations`. Raises ValueError, also for
    plugins, their inputs or a KMS key that are not those of the program: the engine would use them.

    Sources: DeploymentV3 in sdk/go/common/apitype/core.go, URN in sdk/go/common/resource/urn.
    """
    result = query("stack", "export", "--stack", stack.name, root=stack.root)
    if result.returncode != 0:
        raise ValueError(
            f"the Pulumi CLI cannot read the state of the stack {stack.name}: "
            f"{last_line(result.stderr)}"
        )
    state: dict[str, Any] = {}
    try:
        state = json.loads(result.stdout)["deployment"]
        change = next(_changes_of_others(stack, state), None)
    except (AttributeError, LookupError, TypeError, RecursionError):
        change = "is malformed"
    if change:
        raise ValueError(
            f"the state of the stack {stack.name} {change}. Find out who changed the state, and "
            "restore an earlier version"
        )
    return state


def _changes_of_others(stack: Stack, state: dict[str, Any]) -> Iterator[str]:
    if _CONTROL.search(json.dumps(state)):  # The CLI prints them, and they hide other text.
        yield "has control characters or color tags"
    secrets = state.get("secrets_providers") or {}
    kind, key = secrets.get("type"), {"url": stack.secrets_provider, "encryptedkey": ""}
    # The URL can name a server, to which the CLI sends requests or a token of the administrator.
    # The CLI ignores the case of the names.
    if (kind == "service" and stack.secrets_provider) or (
        kind == "cloud" and secrets["state"] | {"encryptedkey": ""} != key
    ):
        yield f"names another key for secrets than {stack.file}"
    # The engine evaluates other parts, such as snippets.
    if parts := state.keys() - _STATE_PARTS:
        names = printable(", ".join(sorted(parts)))[:200]
        yield f"has parts that the program does not have: {names}"
    # With other separators, such as ":dev", the engine finds the type in another place.
    start = re.escape(f"urn:pulumi:{stack.name}::{stack.project.name}::")
    form = re.compile(rf"{start}(?:[^:$]+(?::[^:$]+)*\$)*([^:$]+:[^:$]+:[^:$]+)::.*", re.DOTALL)
    providers: dict[str, str] = {}
    pending = [each["resource"] for each in state.get("pending_operations") or ()]
    # Messages contain them in commands.
    if not all(re.fullmatch(r"[\w:/$.-]+", each["urn"]) for each in pending):
        yield "is malformed"
    for row in (*(state.get("resources") or ()), *pending):
        urn = printable(row["urn"])[:200]
        match = form.fullmatch(row["urn"])
        if not match:
            yield f"has a resource of another stack: {urn}"
            return
        package, module, name = match[1].split(":")
        if (package, module) == ("pulumi", "providers"):
            if not _is_of_program(name, row.get("inputs") or {}):
                yield f"configures the plugin {name} otherwise than the program"
            providers[f"{row['urn']}::{row.get('id')}"] = name
        # The engine would run the plugin of the type, or read another stack.
        elif row.get("custom") and providers.get(row.get("provider", "")) != package:
            yield f"has a resource without a provider: {urn}"
        if row["type"] != match[1] or "\n" in row.get("id", ""):
            yield "is malformed"
        if row.get("refreshBeforeUpdate"):
            yield f"reads a resource before an update: {urn}"


def _is_of_program(package: str, inputs: dict[str, Any]) -> bool:
    """True if the package of a provider is installed, and the program can set these inputs.

    Source: gatherPackagesFromSnapshot in pkg/engine/plugins.go, pkg/resource/deploy/providers.
    """
    try:
        version(f"pulumi-{package}")
    except PackageNotFoundError:
        return False
    # The name of a region is part of the names of servers.
    is_region = re.fullmatch(r"[a-z]+(-[a-z]+)+-\d", inputs.get("region", "us-east-1"))
    return inputs.keys() <= _PROVIDER_INPUTS and not inputs.get("__internal") and bool(is_region)


def last_line(errors: str) -> str:
    return (errors.strip().splitlines() or ["no message"])[-1]


def printable(line: str) -> str:
    """A line, which can contain text of others, such as the owner of a lock."""
    return "".join(char if char.isprintable() else "\ufffd" for char in line.expandtabs())


def stack_output(stack: Stack, name: str) -> Any:
    """An output of the deployed stack.

    Raises ValueError if the stack or the output does not exist, or if a part of the output is not
    deployed yet.
    """
    result = query("stack", "output", name, "--json", "--stack", stack.name, root=stack.root)
    if result.returncode != 0:
        raise ValueError(
            f"the stack {stack.name} has no output {name!r}. Is it deployed? Run: make deploy "
            f"{stack.target}"
        )
    value = json.loads(result.stdout)
    # null stands for an output of an excluded resource.
    if any(leaf is None or leaf == UNKNOWN for _, leaf in leaves(value, name)):
        raise ValueError(
            f"the output {name!r} of the stack {stack.name} is not deployed yet. Run: make "
            f"deploy {stack.target}"
        )
    return value
