"""Patterns of the events of a stack.

Sources: Secrets Manager User Guide, "AWS CloudTrail entries for Secrets Manager"; ECS Developer
Guide, "Amazon ECS service deployment state change events"; EventBridge User Guide, "Amazon
EventBridge event patterns".
"""

from typing import Any

from components.naming import Naming


def pattern(source: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"source": [f"aws.{source}"], "detail-type": [kind], **more}


def deployment_pattern(names: Naming, event: str) -> dict[str, Any]:
    services = names.arn("ecs", f"service/{names.name('main')}/")
    return pattern(
        "ecs",
        "ECS Deployment State Change",
        resources=[{"prefix": services}],
        detail={"eventName": [event]},
    )


def rotation_pattern(names: Naming, event: str) -> dict[str, Any]:
    secrets = names.arn("secretsmanager", f"secret:{names.secret('')}")
    secret = {"SecretId": [{"prefix": secrets}]}
    detail = {"eventName": [event], "additionalEventData": secret}
    return pattern("secretsmanager", "AWS Service Event via CloudTrail", detail=detail)
