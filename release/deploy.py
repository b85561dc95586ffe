"""A release in its order: preview with both packs, everything but the services, migration, services, verification."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from release.migrate import Migration, MigrationFailed, migrate
from release.preflight import PACKS, ROOT, Stack, serving_processes, stack_output
from release.verify import SMOKE_TRIES, Seen, faults, look, settle, smoke

DONE, FAILED = 0, 1


class NotReleased(Exception):
    """A step of the release failed. The text says which one, and what state the stack is in."""


class NotConfirmed(NotReleased):
    """The preview was fine, and nobody said yes."""


def pulumi_command(command: str, stack: Stack, *, yes: bool = False, without_services: bool = False) -> list[str]:
    """The command line of the Pulumi CLI; preview and deploy run both packs with the levels of the environment.

    without_services: leave out the services with their task definitions, so that they keep what they run.
    """
    verb = {"preview": ["preview", "--diff"], "deploy": ["up"], "destroy": ["destroy"]}[command]
    packs: list[str] = []
    if command != "destroy":
        for pack in PACKS:
            packs += ["--policy-pack", pack, "--policy-pack-config", f"{pack}/levels/{stack.name}.json"]
    excluded: list[str] = []
    if without_services:
        for process in serving_processes():
            excluded += ["--exclude", f"**:TaskDefinition::{process}"]
        # A service stands on its task definition, and auto scaling on the service.
        excluded.append("--exclude-dependents")
    return ["pulumi", *verb, "--stack", stack.name, *packs, *excluded, *(["--yes", "--skip-preview"] if yes else [])]


def deploy(stack: Stack, *, confirmed: Callable[[], bool], with_migration: bool = True, root: Path = ROOT) -> int:
    """The whole release; 0 when what runs is what was asked for. Raises NotReleased with what is wrong."""
    _pulumi("preview", pulumi_command("preview", stack), root)
    if not confirmed():
        raise NotConfirmed("not confirmed; nothing was changed")
    before = _before(stack, root)
    if with_migration:
        _step("everything but the services")
        _pulumi("up", pulumi_command("deploy", stack, yes=True, without_services=True), root)
        _step("migration, as a task of its own")
        _step(f"migrated by task {_migrate(stack, root)}")
    _step("services")
    _pulumi("up", pulumi_command("deploy", stack, yes=True), root)
    return verify(stack, before, root=root)


def verify(stack: Stack, before: dict[str, Seen] | None = None, *, root: Path = ROOT) -> int:
    """Compare what runs with what the stack asked for, then ask every door. Raises NotReleased with all that is wrong."""
    _step("verifying")
    cluster = str(stack_output(stack, "cluster", root))
    services = {str(row["service"]): str(row["taskDefinition"]) for row in stack_output(stack, "services", root).values()}
    try:
        after = settle(_ecs(stack), cluster, list(services))
    except (ClientError, BotoCoreError) as exc:
        raise NotReleased(f"ECS did not say what runs ({type(exc).__name__})") from exc
    found = faults(before or {}, after, services)
    # Doors are asked even when a service is wrong: whoever reads this wants to know whether anybody is served.
    found += smoke(stack_output(stack, "urls", root), tries=1 if found else SMOKE_TRIES)
    if found:
        raise NotReleased("\n".join(found))
    _step(f"verified: {', '.join(sorted(services))} run what was asked for, and every door answers")
    return DONE


def _before(stack: Stack, root: Path) -> dict[str, Seen]:
    """What runs before anything is changed; nothing on the first deployment."""
    try:
        cluster = str(stack_output(stack, "cluster", root))
        services = [str(row["service"]) for row in stack_output(stack, "services", root).values()]
        return look(_ecs(stack), cluster, services)
    except (ValueError, ClientError, BotoCoreError):
        return {}


def _migrate(stack: Stack, root: Path) -> str:
    try:
        wanted = Migration.of(str(stack_output(stack, "cluster", root)), stack_output(stack, "migration", root))
        return migrate(_ecs(stack), wanted)
    except (MigrationFailed, ValueError) as exc:
        raise NotReleased(
            f"{exc}\nThe services were not touched and run what they ran. See: make logs ENV={stack.name} PROCESS=migrate"
        ) from exc
    except (ClientError, BotoCoreError) as exc:
        raise NotReleased(f"ECS refused the migration ({exc}). The services were not touched.") from exc


def _pulumi(what: str, command: list[str], root: Path) -> None:
    code = subprocess.run(command, cwd=root, check=False).returncode
    if code != 0:
        raise NotReleased(f"pulumi {what} ended with {code}; its lines above say why")


def _ecs(stack: Stack) -> Any:
    return boto3.client("ecs", region_name=stack.region)


def _step(text: str) -> None:
    print(f"> {text}", flush=True)
