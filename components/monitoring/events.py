"""Patterns of the events of a stack, and rules that invoke a function of the stack.

Sources: Secrets Manager User Guide, "AWS CloudTrail entries for Secrets Manager"; ECS Developer
Guide, "Amazon ECS service deployment state change events"; EventBridge User Guide, "Amazon
EventBridge event patterns".
"""

from typing import Any

import pulumi_aws as aws

from components.component import Component
from components.iam.documents import render
from components.naming import Naming, tags


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


def invoke(
    name: str,
    function: aws.lambda_.Function,
    parent: Component,
    names: Naming,
    *,
    description: str,
    target: str,
    event: dict[str, Any],
    schedule: str | None = None,
    pattern: dict[str, Any] | None = None,
) -> None:
    """Create a rule that invokes a function with an event on a schedule or for a pattern. target:
    ID of the target.
    """
    rule = aws.cloudwatch.EventRule(
        name,
        name=names.name(name),
        description=description,
        schedule_expression=schedule,
        event_pattern=render(pattern) if pattern else None,
        tags=tags("none"),
        opts=parent.child,
    )
    suffix = name.removeprefix(target).removeprefix("-").title()
    aws.lambda_.Permission(
        name,
        statement_id=f"AllowEventBridge{suffix}",
        action="lambda:InvokeFunction",
        function=function.name,
        principal="events.amazonaws.com",
        source_arn=names.arn("events", f"rule/{names.name(name)}"),
        opts=parent.child,
    )
    aws.cloudwatch.EventTarget(
        name,
        rule=rule.name,
        arn=function.arn,
        target_id=target,
        input=render(event),
        opts=parent.child,
    )
