"""One beat of the deployed probe, with its own role, against the services that run here."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sandbox.errors import SandboxError
from sandbox.local import lambda_functions
from sandbox.local.ecs_task import Aws
from sandbox.local.services import Place


def beat(aws: Aws, probe: Mapping[str, Any], place: Place, base: Mapping[str, str], log: Path) -> dict[str, str]:
    """Call the function of the export `probe` with what its EventBridge target holds; returns what each service was asked.

    The event is read back from the emulator, and only the host of each address is this machine's. Raises SandboxError.
    """
    name = str(probe["function"])
    targets = aws.client("events").list_targets_by_rule(Rule=name)["Targets"]
    event = next((json.loads(target["Input"]) for target in targets if target["Arn"].endswith(f":{name}")), None)
    if event is None:
        raise SandboxError(f"Nothing calls {name}: its EventBridge rule has no target with an input.")
    here = {service: f"{place.url(service)}{urlsplit(url).path}" for service, url in event["services"].items()}
    lambda_functions.call(aws, probe, [{**event, "services": here}], base, log, "the probe")
    return here
