"""Gives the stack's secrets their first values, by the deployed rotation function itself, with its own role."""

import json
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sandbox import process
from sandbox.errors import SandboxError
from sandbox.journal import REPOSITORY
from sandbox.task import Aws

_FOLDER = REPOSITORY / "runtime" / "functions"
# AWS Secrets Manager User Guide, "Rotation by Lambda function": the four steps, in this order.
_STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")


def first_values(aws: Aws, rotation: Mapping[str, Any], base: Mapping[str, str], log: Path) -> None:
    """Run all four steps for each secret of the export `rotation`. Raises SandboxError with the handler's last line.

    base: the environment without credentials. One process serves all events, as a warm function does.
    """
    if not _FOLDER.is_dir():
        raise SandboxError(f"{_FOLDER.relative_to(REPOSITORY)} is missing: the rotation function's code lives there.")
    name = str(rotation["function"])
    deployed = aws.client("lambda").get_function_configuration(FunctionName=name)
    if deployed["Role"] != rotation["role"]:
        raise SandboxError(f"{name} runs with {deployed['Role']}, but the stack exports {rotation['role']} as its role.")
    environment = {
        **base,
        **deployed.get("Environment", {}).get("Variables", {}),
        **aws.assume(deployed["Role"], "rotation").environment(),
        # Lambda sets both names of the region itself (Lambda developer guide, "Defined runtime environment variables").
        "AWS_DEFAULT_REGION": aws.region,
        "AWS_LAMBDA_FUNCTION_NAME": name,
    }
    events = [
        {"Step": step, "SecretId": arn, "ClientRequestToken": token}
        for arn in dict(rotation["secrets"]).values()
        for token in [str(uuid.uuid4())]
        for step in _STEPS
    ]
    command = [sys.executable, "-m", "sandbox.lambda_host", str(_FOLDER), str(deployed["Handler"]), json.dumps(events)]
    process.run("the rotation function", command, log=log, env=environment, cwd=_FOLDER)
