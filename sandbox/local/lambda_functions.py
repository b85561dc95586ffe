"""Calls a deployed Lambda function as AWS would: its own code, handler, variables and role, in a process of its own."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sandbox import child_processes
from sandbox.errors import SandboxError
from sandbox.local.ecs_task import Aws
from sandbox.paths import REPOSITORY

_FOLDER = REPOSITORY / "runtime" / "functions"


def call(
    aws: Aws, deployed: Mapping[str, Any], events: Sequence[Mapping[str, Any]], base: Mapping[str, str], log: Path, what: str
) -> None:
    """Hand the events to a function one after the other, as a warm function takes them.

    deployed: an export with `function` (its name) and `role` (the ARN it must have). base: the environment without credentials.
    what: its name in words. Raises SandboxError with the handler's last line.
    """
    if not _FOLDER.is_dir():
        raise SandboxError(f"{_FOLDER.relative_to(REPOSITORY)} is missing: the code of {what} lives there.")
    name = str(deployed["function"])
    found = aws.client("lambda").get_function_configuration(FunctionName=name)
    if found["Role"] != deployed["role"]:
        raise SandboxError(f"{name} runs with {found['Role']}, but the stack exports {deployed['role']} as its role.")
    environment = {
        **base,
        **found.get("Environment", {}).get("Variables", {}),
        **aws.assume(found["Role"], name.rpartition("-")[2]).environment(),
        # Lambda sets both names of the region itself (Lambda developer guide, "Defined runtime environment variables").
        "AWS_DEFAULT_REGION": aws.region,
        "AWS_LAMBDA_FUNCTION_NAME": name,
    }
    command = [sys.executable, "-m", "sandbox.local.lambda_host", str(_FOLDER), str(found["Handler"]), json.dumps(list(events))]
    child_processes.run(what, command, log=log, env=environment, cwd=_FOLDER)
