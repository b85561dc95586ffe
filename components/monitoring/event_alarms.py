"""The events of AWS services that people are told of: failures that no metric counts."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from components.naming import Naming


@dataclass(frozen=True, slots=True)
class Event:
    """name: of the rule. words: what has happened. runbook: its file in docs/runbooks. pattern: which events (EventBridge
    user guide, "Event patterns")."""

    name: str
    words: str
    runbook: str
    pattern: dict[str, Any]


def told(names: Naming) -> Iterator[Event]:
    """Every event rule of a stack; each matches what belongs to this stack alone."""
    yield Event(
        "deployment-failed",
        "A deployment has failed, and ECS goes back to the tasks before it.",
        "errors",
        {
            "source": ["aws.ecs"],
            "detail-type": ["ECS Deployment State Change"],
            "resources": [{"prefix": names.arn("ecs", f"service/{names.name('main')}/")}],
            "detail": {"eventName": ["SERVICE_DEPLOYMENT_FAILED"]},
        },
    )
    yield Event(
        "rotation-failed",
        "Secrets Manager could not rotate a secret; the old value stays in use.",
        "rotation-failure",
        {
            "source": ["aws.secretsmanager"],
            "detail-type": ["AWS Service Event via CloudTrail"],
            "detail": {
                "eventName": ["RotationFailed"],
                "additionalEventData": {"SecretId": [{"prefix": names.arn("secretsmanager", f"secret:{names.secret('')}")}]},
            },
        },
    )
    yield Event(
        "backup-failed",
        "A backup job has failed, ended too late or was stopped; yesterday's recovery point is the newest.",
        "backup-failure",
        {
            "source": ["aws.backup"],
            "detail-type": ["Backup Job State Change"],
            "detail": {
                "state": ["ABORTED", "EXPIRED", "FAILED"],
                "backupVaultName": [{"prefix": names.name("")}],
            },
        },
    )
