"""Rotation of secrets."""

import json

from tests.components.program import run


def test_secrets_rotate_in_office_hours() -> None:
    rotations = run("prod").of_type("secretsmanager.SecretRotation")
    assert rotations
    assert {json.dumps(rotation.inputs["rotationRules"]) for rotation in rotations} == {
        '{"duration": "3h", "scheduleExpression": "cron(0 9 ? * TUE#1 *)"}'
    }
