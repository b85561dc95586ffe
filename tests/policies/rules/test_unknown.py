"""An unknown property never hides a defect: each rule reports a violation or is undecided, for every property of its subject."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from pulumi_policy.proxy import UNKNOWN_STRING_VALUE

from policies import catalogue
from policies.analysis.properties import Properties
from policies.analysis.resources import Resource, Stack
from policies.engine.guard import Decision, evaluate
from policies.engine.rule import Rule
from policies.testing.pack_process import ACCOUNT, Declared, Ref, Unknown, urn
from tests.policies.rules.builders import Case
from tests.policies.rules.test_rules import CASES

_OTHER_RESOURCE = "the rule reads the resource to which the property refers, and an unknown reference has no source in this test"
_PRESENCE = "the rule requires a value of the program, and IDs of resources are unknown in every first preview"
_OWN_ARN = "an unknown ARN is that of a resource in the program, or a later preview decides"
ACCEPTED: dict[tuple[str, str], str] = {
    ("GH-ALB-011", "listenerArn"): _OTHER_RESOURCE,
    ("GH-CT-006", "s3BucketName"): _OTHER_RESOURCE,
    ("GH-CW-003", "alarmActions"): _PRESENCE,
    ("GH-DDB-006", "eventSourceArn"): _OTHER_RESOURCE,
    ("GH-KIN-001", "kmsKeyId"): _PRESENCE,
    ("GH-KMS-008", "kmsKeyId"): _PRESENCE,
    ("GH-KMS-010", "kmsMasterKeyId"): _OTHER_RESOURCE,
    ("GH-LAM-002", "environment"): _OTHER_RESOURCE,
    ("GH-LAM-003", "environment"): "the name of the variable does not indicate a secret",
    ("GH-LAM-004", "sourceAccount"): _PRESENCE,
    ("GH-PUL-005", "database"): "the name of the output does not indicate a secret",
    ("GH-PUL-006", "kmsKeyArn"): _OWN_ARN,
    ("GH-PUL-006", "rules"): _OWN_ARN,
    ("GH-RDS-016", "dbSubnetGroupName"): _OTHER_RESOURCE,
    ("GH-RDS-016", "vpcSecurityGroupIds"): _OTHER_RESOURCE,
    ("GH-RDS-019", "parameterGroupName"): _OTHER_RESOURCE,
    ("GH-SQS-004", "redrivePolicy"): _PRESENCE,
    ("GH-SSM-001", "name"): "the name of the resource in the program takes the place of an unknown name",
    ("GH-VPC-010", "networkConfiguration"): _OTHER_RESOURCE,
    ("GH-VPC-010", "subnetIds"): _OTHER_RESOURCE,
}
"""Unknown properties with which a rule passes, each with the reason."""


def stack_of(program: list[Declared]) -> Stack:
    """The resources of a program as a pack evaluates them in a first preview."""
    by_name = {resource.name: resource for resource in program}

    def resolved(value: Any) -> Any:
        if isinstance(value, Ref | Unknown):
            return UNKNOWN_STRING_VALUE
        if isinstance(value, dict):
            return {key: resolved(inner) for key, inner in value.items()}
        return [resolved(inner) for inner in value] if isinstance(value, list) else value

    def sources(value: Any) -> Iterator[str]:
        if isinstance(value, Ref):
            yield urn(by_name[value.to])
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            yield from sources(inner)

    provider = Properties({"region": "eu-west-1", "allowedAccountIds": f'["{ACCOUNT}"]'}, "provider")
    return Stack(
        Resource(
            urn=urn(resource),
            type=resource.type,
            name=resource.name,
            props=Properties(resolved(dict(resource.inputs))),
            protect=resource.protect,
            parent=urn(by_name[resource.parent]) if resource.parent else "",
            property_dependencies={key: tuple(sources(value)) for key, value in resource.inputs.items()},
            dependencies=tuple(urn(by_name[name]) for name in resource.depends_on),
            provider=provider if resource.type.startswith("aws:") else None,
        )
        for resource in program
    )


def decide(rule: Rule, program: list[Declared], name: str) -> Decision:
    stack = Stack(replace(item, settings=rule.defaults("prod"), lists=rule.lists) for item in stack_of(program))
    subjects = [item for item in stack if item.name == name and (item.type in rule.types or not rule.types)]
    assert len(subjects) == 1
    return evaluate(rule, subjects[0], stack)


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The paths of all scalars, lists and objects of a value."""
    if path:
        yield path
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from leaves(inner, (*path, key))


def with_unknown(value: Any, path: tuple[str | int, ...]) -> Any:
    if not path:
        return Unknown()
    items: Any = value.items() if isinstance(value, dict) else enumerate(value)
    changed = [(key, with_unknown(inner, path[1:]) if key == path[0] else inner) for key, inner in items]
    return dict(changed) if isinstance(value, dict) else [inner for _, inner in changed]


def outcome(decision: Decision) -> bool:
    return bool(decision.violations or decision.undecided or decision.allowed)


def subjects(case: Case) -> list[Declared]:
    types = catalogue.rule(case.rule).types
    return [item for item in case.program if item.name == case.name and (item.type in types or not types)]


SUBJECT_CASES = [case for case in CASES if len(subjects(case)) == 1]


def test_most_cases_have_one_subject() -> None:
    assert len(SUBJECT_CASES) > 0.8 * len(CASES)


@pytest.mark.parametrize("rule_id", sorted({case.rule for case in SUBJECT_CASES}))
def test_unknown_property_is_never_a_pass(rule_id: str) -> None:
    rule = catalogue.rule(rule_id)
    silent = set()
    for case in (case for case in SUBJECT_CASES if case.rule == rule_id):
        [subject] = subjects(case)
        program = list(case.program)
        if not outcome(decide(rule, program, case.name)):
            continue
        for path in leaves(dict(subject.inputs)):
            inputs = with_unknown(dict(subject.inputs), path)
            changed = [
                Declared(item.type, item.name, inputs, item.parent, item.protect) if item is subject else item for item in program
            ]
            place = ".".join(map(str, path))
            if not outcome(decide(rule, changed, case.name)):
                silent.add(place.partition(".")[0])
    assert silent == {place for accepted, place in ACCEPTED if accepted == rule_id}
