"""Runs the Pulumi CLI."""

import os
import signal
import subprocess
from collections.abc import Sequence

from components import contract
from release.errors import CommandFailed, last_line
from release.pulumi.stack import ROOT, Stack

PACKS = ("policies/security", "policies/resilience")
QUERY_TIMEOUT_S = 120
DIFF = ("--diff", "--show-replacement-steps")
"""--diff alone omits the deletion of replaced resources."""
CONFIRMED = ("--yes", "--skip-preview")


def packs(stack: Stack) -> list[str]:
    """Options that evaluate both policy packs."""
    root = "../" if stack.project.folder else ""
    return [word for pack in PACKS for word in ("--policy-pack", f"{root}{pack}")]


def without_services(aliases: Sequence[str] = ()) -> list[str]:
    """Options that leave the ECS services, which depend on their task definitions, and `aliases` of
    functions as they are. The packs reject excluded resources, which have no inputs yet.
    """
    processes = contract.read().ecs_services
    urns = [f"aws:ecs/taskDefinition:TaskDefinition::{process}" for process in processes]
    urns += [f"aws:lambda/alias:Alias::{function}" for function in aliases]
    return ["--exclude-dependents", *(word for urn in urns for word in ("--exclude", f"**{urn}"))]


def update(
    stack: Stack, command: str, *options: str, error: type[CommandFailed] = CommandFailed
) -> None:
    if code := run(stack, command, *options):
        raise error(f"pulumi {command} exited with {code}; see its output above")


def run(stack: Stack, command: str, *options: str) -> int:
    """The exit code of a command. Raises KeyboardInterrupt after the end of the CLI, which saves
    the state after the first signal, and stops at once after the second
    (pkg/backend/cancellation_scope.go). Therefore, it has its own process group, and later signals
    are ignored.
    """
    words = ["pulumi", command, "--stack", stack.name, "--non-interactive", *options]
    if stack.config_file:
        words += ["--config-file", str(stack.config_file)]
    process = subprocess.Popen(words, cwd=stack.root, stdin=subprocess.DEVNULL, process_group=0)
    try:
        return process.wait()
    except KeyboardInterrupt:
        for number in _interrupts():
            signal.signal(number, signal.SIG_IGN)
        process.terminate()
        process.wait()
        raise


def _interrupts() -> list[signal.Signals]:
    """With nohup, the end of the terminal (SIGHUP) does not interrupt a command."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    return [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]


def prepare_process() -> None:
    """Let signals interrupt this process like Ctrl-C. The engine runs `uv sync`, which does not
    change uv.lock, by default with the uv that scripts/setup.sh installed.
    """
    for number in _interrupts():
        signal.signal(number, signal.default_int_handler)
    os.environ["UV_LOCKED"] = "1"
    os.environ["PATH"] += f"{os.pathsep}{ROOT / '.gatehouse' / 'tools' / 'bin'}"


def query(stack: Stack, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The result of a command that changes no resource."""
    return subprocess.run(
        ["pulumi", *arguments, "--non-interactive"],
        capture_output=True,
        text=True,
        timeout=QUERY_TIMEOUT_S,
        check=False,
        cwd=stack.root,
    )


def missing(stack: Stack) -> str:
    """The error of the CLI if it does not find the stack, or "". `pulumi stack ls` would read the
    state of other stacks, which the delivery roles must not do.
    """
    result = query(stack, "stack", "--show-name", "--stack", stack.name)
    return last_line(result.stderr) if result.returncode else ""
