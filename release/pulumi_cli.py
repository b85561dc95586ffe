"""Command lines and environment variables for the Pulumi CLI, and the outputs of a deployed stack."""

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components import contract
from release.stack_file import ROOT, Stack

PACKS = ("policies/security", "policies/resilience")
_UV = ROOT / ".gatehouse" / "tools" / "bin"
_UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""Pulumi's text for a value that is not known yet (`pulumi.runtime.rpc.UNKNOWN`)."""


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
    """A command line for preview, deploy or destroy. preview and deploy run both policy packs.

    without_services: exclude the ECS services and their task definitions, so that they keep running unchanged. The packs do not
    run, because the engine passes no inputs for excluded resources that do not exist yet, and the packs reject such resources.
    The preview and the deployment of the services evaluate all resources.
    without_aliases: with `without_services`, exclude the aliases of these functions, so that their current versions continue to
    receive all requests.
    diff: print the changed properties of each resource.
    save_plan: file to which a preview writes its operations. plan: file with the operations to which a deployment is limited.
    """
    verb = {"preview": "preview", "deploy": "up", "destroy": "destroy"}[command]
    options = [*(["--diff"] if diff else []), *(["--yes", "--skip-preview"] if yes else [])]
    if save_plan:
        options += ["--save-plan", str(save_plan)]
    if plan:
        options += ["--plan", str(plan)]
    if without_services:
        for suffix in excluded_urns(without_aliases):
            options += ["--exclude", f"**{suffix}"]
        # An ECS service depends on its task definition, and auto scaling on the ECS service. A REST API depends on the alias.
        options.append("--exclude-dependents")
    elif command != "destroy":
        for pack in PACKS:
            options += ["--policy-pack", f"{stack.project.repository}{pack}"]
    return ["pulumi", verb, "--stack", stack.name, *options]


def excluded_urns(aliases: Sequence[str] = ()) -> tuple[str, ...]:
    """URN suffixes that `without_services` excludes: the task definitions of the ECS services, and `aliases` of functions."""
    return (
        *(f"aws:ecs/taskDefinition:TaskDefinition::{process}" for process in contract.read().ecs_services),
        *(f"aws:lambda/alias:Alias::{function}" for function in aliases),
    )


def run(arguments: list[str], root: Path = ROOT) -> int:
    """Run a command line of the CLI. Returns its exit code."""
    return subprocess.run(arguments, cwd=root, env=environment(), check=False).returncode


def query(*arguments: str, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a non-interactive CLI command and return the exit code and the output."""
    command = ["pulumi", *arguments, "--non-interactive"]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=root, env=environment())


def environment() -> dict[str, str]:
    """The environment for the CLI. With `toolchain: uv`, the engine runs `uv sync`.

    `UV_LOCKED` makes uv fail on an outdated uv.lock instead of changing the file. Without uv on PATH, the engine uses the copy
    that scripts/setup.sh installed.
    """
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), str(_UV)])
    return {**os.environ, "PATH": path, "UV_LOCKED": "1"}


def stack_output(stack: Stack, name: str, root: Path = ROOT) -> Any:
    """An output of the deployed stack.

    Raises ValueError if the stack or the output does not exist, or if a part of the output is not deployed yet.
    """
    result = query("stack", "output", name, "--json", "--stack", stack.name, root=root)
    if result.returncode != 0:
        raise ValueError(f"the stack {stack.name} has no output {name!r}. Is it deployed? Run: make deploy {stack.target}")
    value = json.loads(result.stdout)
    if _has_unknown(value):
        raise ValueError(f"the output {name!r} of the stack {stack.name} is not deployed yet. Run: make deploy {stack.target}")
    return value


def _has_unknown(value: Any) -> bool:
    """True if a value contains null, which stands for an output of an excluded resource, or Pulumi's text for unknown values."""
    if isinstance(value, dict):
        return any(_has_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(_has_unknown(item) for item in value)
    return value is None or value == _UNKNOWN
