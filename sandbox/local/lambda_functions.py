"""Invokes deployed Lambda functions, the rotation function and the probe, with their own code, variables and role."""

import json
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sandbox import child_processes
from sandbox.errors import SandboxError
from sandbox.local.ecs_task import Aws
from sandbox.local.services import LocalServers, function_environment
from sandbox.paths import REPOSITORY

_FOLDER = REPOSITORY / "runtime" / "functions"
# AWS Secrets Manager User Guide, "Rotation by Lambda function": the four steps, in this order.
_ROTATION_STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")


def rotate_secrets(aws: Aws, rotation: Mapping[str, Any], log: Path) -> None:
    """Create the first value of each secret of the export `rotation`, by the deployed rotation function.

    Raises SandboxError with the last line of the handler.
    """
    events = [
        {"Step": step, "SecretId": arn, "ClientRequestToken": token}
        for arn in dict(rotation["secrets"]).values()
        for token in [str(uuid.uuid4())]
        for step in _ROTATION_STEPS
    ]
    _invoke(aws, rotation, events, log, "the rotation function")


def run_probe(aws: Aws, probe: Mapping[str, Any], local: LocalServers, log: Path) -> dict[str, str]:
    """Invoke the function of the export `probe` once, with the event of its EventBridge target and local addresses.

    Returns the URL that it requested for each service. Raises SandboxError if the rule has no target.
    """
    name = str(probe["function"])
    targets = aws.client("events").list_targets_by_rule(Rule=name)["Targets"]
    event = next((json.loads(target["Input"]) for target in targets if target["Arn"].endswith(f":{name}")), None)
    if event is None:
        raise SandboxError(f"The EventBridge rule {name} has no target with an input for the function {name}.")
    urls = {service: f"{local.url(service)}{urlsplit(url).path}" for service, url in event["services"].items()}
    _invoke(aws, probe, [{**event, "services": urls}], log, "the probe")
    return urls


def _invoke(aws: Aws, deployed: Mapping[str, Any], events: Sequence[Mapping[str, Any]], log: Path, title: str) -> None:
    """Invoke a function with each event, in one process like a warm function.

    deployed: an export with `function` (name) and `role` (expected ARN).
    """
    if not _FOLDER.is_dir():
        raise SandboxError(f"{_FOLDER.relative_to(REPOSITORY)}, the code of {title}, does not exist.")
    name = str(deployed["function"])
    configuration = aws.client("lambda").get_function_configuration(FunctionName=name)
    role, handler = str(configuration["Role"]), str(configuration["Handler"])
    if role != deployed["role"]:
        raise SandboxError(f"{name} runs with the role {role}, but the stack exports {deployed['role']}.")
    variables = configuration.get("Environment", {}).get("Variables", {})
    environment = function_environment(aws, name, variables, role, name.rpartition("-")[2])
    command = [sys.executable, "-m", "sandbox.local.lambda_host", str(_FOLDER), handler, json.dumps(list(events))]
    child_processes.run(title, command, log=log, env=environment, cwd=_FOLDER)
