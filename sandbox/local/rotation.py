"""Gives the stack's secrets their first values, by the deployed rotation function itself, with its own role."""

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sandbox.local import lambda_functions
from sandbox.local.ecs_task import Aws

# AWS Secrets Manager User Guide, "Rotation by Lambda function": the four steps, in this order.
_STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")


def first_values(aws: Aws, rotation: Mapping[str, Any], base: Mapping[str, str], log: Path) -> None:
    """Run all four steps for each secret of the export `rotation`. Raises SandboxError with the handler's last line.

    base: the environment without credentials. One process serves all events, as a warm function does.
    """
    events = [
        {"Step": step, "SecretId": arn, "ClientRequestToken": token}
        for arn in dict(rotation["secrets"]).values()
        for token in [str(uuid.uuid4())]
        for step in _STEPS
    ]
    lambda_functions.call(aws, rotation, events, base, log, "the rotation function")
