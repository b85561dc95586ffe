"""Evaluates a control in a test, without a program and a process.

topic = resource("aws.sns.Topic", "orders", kmsMasterKeyId="alias/aws/sns")
assert evaluate(topics_are_encrypted, topic) == ["the topic is encrypted with ..."]
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from pulumi_local.type_tokens import aws
from pulumi_local.types import UNKNOWN

from gatehouse_policies.analysis.properties import Properties
from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.engine import guard
from gatehouse_policies.engine.rule import Rule

__all__ = ["UNKNOWN", "evaluate", "resource"]


def resource(kind: str, name: str, **inputs: Any) -> Resource:
    """A resource of a class such as "aws.sns.Topic", or of a type token.

    inputs: by the names of the provider's schema. The value `UNKNOWN` is unknown at preview, and a
        resource stands for one of its outputs.
    """
    token = kind if ":" in kind else aws(kind.removeprefix("aws."))[0]
    return Resource(
        f"urn:pulumi:test::test::{token}::{name}",
        token,
        name,
        Properties({key: _value(value) for key, value in inputs.items()}),
        property_dependencies={
            key: tuple(dict.fromkeys(peer.urn for peer in _resources(value)))
            for key, value in inputs.items()
        },
        provider=Properties({"allowedAccountIds": '["123456789012"]'}, "provider"),
    )


def evaluate(rule: Rule, subject: Resource, *others: Resource, env: str = "prod") -> list[str]:
    """The messages of a control for a resource, and "undecided: <property>" for each property that
    it needs and that is unknown.

    others: the other resources of the stack. env: the environment of the parameters.

    Raises RuntimeError if the control raises an exception, or does not evaluate the type.
    """
    if rule.types and subject.type not in rule.types:
        raise RuntimeError(f"{rule.id} does not evaluate {subject.type}")
    subject = replace(subject, settings=rule.defaults(env), lists=rule.lists)
    decision = guard.evaluate(rule, subject, Stack([subject, *others]))
    if decision.broken:
        raise RuntimeError(f"{rule.id} raised {decision.broken} for {subject.name}")
    messages = [violation.message for violation in decision.violations]
    return [*messages, *(f"undecided: {path}" for path in decision.undecided)]


def _value(value: Any) -> Any:
    if isinstance(value, Resource):
        return UNKNOWN
    if isinstance(value, list):
        return [_value(item) for item in value]
    if isinstance(value, dict):
        return {key: _value(item) for key, item in value.items()}
    return value


def _resources(value: Any) -> Iterator[Resource]:
    if isinstance(value, Resource):
        yield value
    elif isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _resources(item)
