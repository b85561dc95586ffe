"""EventBridge rules for failures that no metric counts."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from components.naming import Naming


@dataclass(frozen=True, slots=True)
class EventRule:
    """An event rule that notifies the alarm topic.

    name: Resource name.
    description: Condition that the rule reports.
    runbook: File name in docs/runbooks, without extension.
    pattern: Event pattern. Source: EventBridge User Guide, "Amazon EventBridge event patterns".
    """

    name: str
    description: str
    runbook: str
    pattern: dict[str, Any]


def event_rules(names: Naming) -> Iterator[EventRule]:
    """Yield the event rules. Each matches resources of this stack only."""
    yield EventRule(
        "deployment-failed",
        "A deployment failed and ECS rolls it back.",
        "errors",
        {
            "source": ["aws.ecs"],
            "detail-type": ["ECS Deployment State Change"],
            "resources": [{"prefix": names.arn("ecs", f"service/{names.name('main')}/")}],
            "detail": {"eventName": ["SERVICE_DEPLOYMENT_FAILED"]},
        },
    )
    yield EventRule(
        "rotation-failed",
        "Secrets Manager could not rotate a secret. The previous value remains in use.",
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
    yield EventRule(
        "backup-failed",
        "A backup job failed, expired or was aborted. The previous recovery point is the latest.",
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
