"""Events that restart services after a rotation: documented events match the patterns, and the order of the services."""

import json
from typing import Any

import pytest
from moto.events.models import EventPattern

from components.secrets.restart_function import event_patterns
from tests.components.program import run
from tests.components.settings.stack_settings import STACKS
from tests.components.test_documents import NAMES

SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:gatehouse/{}/pepper-a1B2c3"
SERVICE = "arn:aws:ecs:eu-west-1:123456789012:service/gatehouse-{}-main/gatehouse-{}-console"


def rotation(name: str, stack: str) -> dict[str, Any]:
    """Source: Secrets Manager User Guide, "AWS CloudTrail entries for Secrets Manager"."""
    return {
        "source": "aws.secretsmanager",
        "detail-type": "AWS Service Event via CloudTrail",
        "detail": {"eventName": name, "additionalEventData": {"SecretId": SECRET.format(stack)}},
    }


def deployment(name: str, stack: str) -> dict[str, Any]:
    """Source: ECS Developer Guide, "Amazon ECS service deployment state change events"."""
    return {
        "source": "aws.ecs",
        "detail-type": "ECS Deployment State Change",
        "resources": [SERVICE.format(stack, stack)],
        "detail": {"eventType": "INFO", "eventName": name, "deploymentId": "ecs-svc/123"},
    }


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
    assert EventPattern.load(json.dumps(event_patterns(NAMES)[rule])).matches_event(event) is matches


@pytest.mark.parametrize("stack", STACKS)
def test_console_is_restarted_first_and_secrets_exist(stack: str) -> None:
    program = run(stack)
    inputs = {
        json.dumps(json.loads(program.get("cloudwatch/eventTarget:EventTarget", f"restart-{rule}").inputs["input"]))
        for rule in ("rotated", "deployed")
    }
    (event,) = (json.loads(text) for text in inputs)
    assert [entry["service"] for entry in event["services"]][:2] == [f"gatehouse-{stack}-console", f"gatehouse-{stack}-gateway"]
    names = {secret.inputs["name"] for secret in program.of_type("secretsmanager/secret:Secret")}
    used = {secret for entry in event["services"] for secret in entry["secrets"]}
    assert used
    assert used <= names
