"""EventBridge rules and their targets."""

import json
from typing import Any

from sandbox.rows.make import Make
from sandbox.rows.row import HOW_PULUMI_WORKS, Row


def _rule(make: Make, parameters: dict[str, Any]) -> None:
    """AWS refuses a pattern that is not a JSON object, or that says something else than a list at its end."""
    pattern = parameters.get("EventPattern")
    if pattern is not None and not _is_pattern(json.loads(pattern)):
        raise make.error("property eventPattern is not an event pattern: every member ends in a list of values.")


def _is_pattern(value: Any) -> bool:
    if isinstance(value, dict):
        return bool(value) and all(_is_pattern(inner) for inner in value.values())
    return isinstance(value, list) and bool(value)


def _target(make: Make) -> tuple[str, dict[str, Any]]:
    rule, arn = make.take("rule"), make.take("arn")
    identity = make.take("targetId") or make.registration.name
    said = {"Input": given} if (given := make.take("input")) else {}
    answer = make.call("events.put_targets", Rule=rule, Targets=[{"Id": identity, "Arn": arn, **said}])
    if answer["FailedEntryCount"]:
        raise make.error(f"AWS (emulated) refuses put_targets: {answer['FailedEntries'][0]['ErrorMessage']}")
    return f"{rule}-{identity}", {"targetId": identity}


ROWS: dict[str, Row] = {
    "aws:cloudwatch/eventRule:EventRule": Row(
        call="events.put_rule",
        id="{name}",
        shape=_rule,
        outputs={"arn": "{RuleArn}"},
        ignored={"forceDestroy": HOW_PULUMI_WORKS},
    ),
    "aws:cloudwatch/eventTarget:EventTarget": Row(make=_target, ignored={"forceDestroy": HOW_PULUMI_WORKS}),
}
