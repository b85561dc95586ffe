"""Patterns of the events of a stack.

Sources: Secrets Manager User Guide, "AWS CloudTrail entries for Secrets Manager"; ECS Developer
Guide, "Amazon ECS service deployment state change events"; EventBridge User Guide, "Amazon
EventBridge event patterns".
"""

from typing import Any

from components.naming import Naming


def deployment_pattern(names: Naming, event: str) -> dict[str, Any]:
    """Return the pattern of an event of the deployments of the stack's ECS services."""
    return {
        "source": ["aws.ecs"],
        "detail-type": ["ECS Deployment State Change"],
        "resources": [{"prefix": names.arn("ecs", f"service/{names.name('main')}/")}],
        "detail": {"eventName": [event]},
    }


def rotation_pattern(names: Naming, event: str) -> dict[str, Any]:
    """Return the pattern of an event of the rotation of the stack's secrets."""
    secrets = names.arn("secretsmanager", f"secret:{names.secret('')}")
    return {
        **secret_pattern(event),
        "detail": {
            "eventName": [event],
            "additionalEventData": {"SecretId": [{"prefix": secrets}]},
        },
    }


def secret_pattern(event: str) -> dict[str, Any]:
    """Return the pattern of an event of any secret of the account and region."""
    return {
        "source": ["aws.secretsmanager"],
        "detail-type": ["AWS Service Event via CloudTrail"],
        "detail": {"eventName": [event]},
    }
