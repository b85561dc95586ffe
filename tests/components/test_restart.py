"""Events that restart services after a rotation: documented events match the patterns, and the
order of the services.
"""

import json
from typing import Any

import pytest
from moto.events.models import EventPattern

from components.secrets.restart_function import event_patterns
from tests.components.documented_events import deployment, rotation
from tests.components.program import run
from tests.components.settings.stack_settings import STACKS
from tests.components.test_documents import NAMES


@pytest.mark.parametrize(
    ("rule", "event", "matches"),
    [
        ("rotated", rotation("RotationSucceeded", "dev"), True),
        ("rotated", rotation("RotationFailed", "dev"), False),
        ("rotated", rotation("RotationSucceeded", "prod"), False),
        ("rotated", deployment("SERVICE_DEPLOYMENT_COMPLETED", "dev"), False),
        ("deployed", deployment("SERVICE_DEPLOYMENT_COMPLETED", "dev"), True),
        ("deployed", deployment("SERVICE_DEPLOYMENT_FAILED", "dev"), False),
        ("deployed", deployment("SERVICE_DEPLOYMENT_COMPLETED", "prod"), False),
    ],
)
def test_documented_events_match(rule: str, event: Any, matches: bool) -> None:
    assert (
        EventPattern.load(json.dumps(event_patterns(NAMES)[rule])).matches_event(event) is matches
    )


@pytest.mark.parametrize("stack", STACKS)
def test_console_is_restarted_first_and_secrets_exist(stack: str) -> None:
    program = run(stack)
    inputs = {
        json.dumps(
            json.loads(
                program.get("cloudwatch/eventTarget:EventTarget", f"restart-{rule}").inputs["input"]
            )
        )
        for rule in ("rotated", "deployed")
    }
    (event,) = (json.loads(text) for text in inputs)
    assert [entry["service"] for entry in event["services"]][:2] == [
        f"gatehouse-{stack}-console",
        f"gatehouse-{stack}-gateway",
    ]
    names = {secret.inputs["name"] for secret in program.of_type("secretsmanager/secret:Secret")}
    used = {secret for entry in event["services"] for secret in entry["secrets"]}
    assert used
    assert used <= names
