"""Rules report or are undecided for every unknown property."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from gatehouse_policies import catalogue
from gatehouse_policies.engine.guard import Decision

from tests.policies.declared import Declared, Unknown
from tests.policies.pack_process import Evaluation
from tests.policies.rules.cases import CASES, Case

_OTHER_RESOURCE = (
    "the rule reads the resource to which the property refers, and an unknown "
    "reference has no source in this test"
)
_PRESENCE = (
    "the rule requires a value of the program, and IDs of resources are unknown in "
    "every first preview"
)
_OWN_ARN = "an unknown ARN is that of a resource in the program, or a later preview decides"
_FEW_VALUES = "few values of an input with this name disable a protection"
_CONDITION = "an unknown value of a condition is that of a resource of the program"
ACCEPTED: dict[tuple[str, str], str] = {
    ("GH-CW-003", "alarmActions"): _PRESENCE,
    ("GH-KIN-001", "kmsKeyId"): _PRESENCE,
    **{
        (rule, "policy"): _CONDITION
        for rule in ("GH-IAM-002", "GH-IAM-010", "GH-IAM-011", "GH-SQS-002")
    },
    ("GH-IAM-004", "assumeRolePolicy"): _CONDITION,
    ("GH-IAM-011", "principal"): _OWN_ARN,
    ("GH-LAM-004", "principalOrgId"): _PRESENCE,
    ("GH-KMS-008", "kmsKeyId"): _PRESENCE,
    ("GH-LAM-003", "environment"): "the name of the variable does not indicate a secret",
    ("GH-EC2-003", "kmsKeyId"): _PRESENCE,
    ("GH-OS-001", "encryptAtRest"): _PRESENCE,
    ("GH-LAM-004", "sourceAccount"): _PRESENCE,
    ("GH-LAM-004", "sourceArn"): _PRESENCE,
    **{
        ("GH-PUL-003", name): "the Regions of replicas are texts of the program"
        for name in (
            *("destinationRegion", "policyDetails", "replicas", "replicationConfiguration"),
            "rules",
        )
    },
    ("GH-PUL-005", "database"): "the name of the output does not indicate a secret",
    ("GH-PUL-009", "callbackUrls"): "AWS assigns addresses with TLS",
    ("GH-PUL-009", "invocationEndpoint"): "AWS assigns addresses with TLS",
    ("GH-PUL-009", "target"): "AWS assigns addresses with TLS",
    **{
        (rule, name): _FEW_VALUES
        for rule, names in {
            "GH-PUL-009": "parameters protocols securityPolicyName serverProtocol",
            "GH-PUL-010": "brokerNodeGroupInfo cors firewallPolicy objectAcl policyDocument "
            "principal serverProperties webserverAccessMode",
            "GH-PUL-011": "connectionLogOptions logsConfig loggingInfo options",
        }.items()
        for name in names.split()
    },
    ("GH-PUL-014", "kmsKeyId"): _PRESENCE,
    ("GH-RDS-002", "replicateSourceDb"): _OWN_ARN,
    ("GH-SM-008", "stages"): "most actions have no variables, and a later preview decides",
    ("GH-SM-009", "source"): "the name of the property does not indicate a secret",
    ("GH-SNS-001", "name"): _OWN_ARN,
    ("GH-SQS-003", "name"): _OWN_ARN,
    ("GH-VPC-014", "destinationCidrBlock"): "an unknown range is that of a network",
    ("GH-SSM-001", "name"): "the name of the resource takes the place of an unknown name",
    **{
        (rule, name): _OTHER_RESOURCE
        for rule, names in {
            "GH-ALB-011": "listenerArn",
            "GH-CT-006": "s3BucketName",
            "GH-DDB-006": "eventSourceArn",
            "GH-EC2-004": "launchTemplate launchTemplateConfigs",
            "GH-KMS-010": "kmsMasterKeyId",
            "GH-LAM-002": "environment",
            "GH-RDS-016": "dbSubnetGroupName vpcSecurityGroupIds",
            "GH-RDS-019": "parameterGroupName",
            "GH-S3-019": "bucket rules",
            "GH-SNS-001": "arn",
            "GH-VPC-002": "securityGroupId",
            "GH-WAF-004": "rules",
            "GH-IAM-007": "permissionsBoundary",
            "GH-IAM-013": "role",
            "GH-VPC-004": "prefixListId prefixListIds securityGroupId securityGroups",
            "GH-VPC-010": "networkConfiguration subnetId subnetIds",
        }.items()
        for name in names.split()
    },
}
"""Unknown properties with which a rule passes, each with the reason."""
OF_ANY_TYPE = tuple(f"GH-PUL-{id}" for id in ("009", "010", "011", "012", "013", "014"))
"""Rules that read inputs of any type by their names, which an unknown object does not have."""
BY_VALUE = ("GH-PUL-006",)
"""Rules that read values of any property. An unknown value is that of a resource of the program."""


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if path:
        yield path
    items: Any = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, inner in items:
        yield from leaves(inner, (*path, key))


def with_unknown(value: Any, path: tuple[str | int, ...]) -> Any:
    if not path:
        return Unknown()
    items: Any = value.items() if isinstance(value, dict) else enumerate(value)
    changed = [
        (key, with_unknown(inner, path[1:]) if key == path[0] else inner) for key, inner in items
    ]
    return dict(changed) if isinstance(value, dict) else [inner for _, inner in changed]


def is_object(value: Any, path: tuple[str | int, ...]) -> bool:
    for step in path:
        value = value[step]
    return isinstance(value, dict | list) or str(value).startswith("{")


def outcome(decision: Decision) -> bool:
    return bool(decision.violations or decision.undecided or decision.allowed)


def subjects(case: Case) -> list[Declared]:
    types = catalogue.rule(case.rule).types
    return [
        item
        for item in case.program
        if item.name == case.name and (item.type in types or not types)
    ]


SUBJECT_CASES = [case for case in CASES if len(subjects(case)) == 1]


def test_most_cases_have_one_subject() -> None:
    assert len(SUBJECT_CASES) > 0.8 * len(CASES)


@pytest.mark.parametrize("rule_id", sorted({case.rule for case in SUBJECT_CASES} - {*BY_VALUE}))
def test_unknown_property_is_never_a_pass(rule_id: str) -> None:
    rule = catalogue.rule(rule_id)
    silent = set()
    for case in (case for case in SUBJECT_CASES if case.rule == rule_id):
        [subject] = subjects(case)
        preview = Evaluation(case.program)
        if not outcome(preview.decide(rule, subject)):
            continue
        for path in leaves(dict(subject.inputs)):
            if rule_id in OF_ANY_TYPE and is_object(subject.inputs, path):
                continue
            inputs = with_unknown(dict(subject.inputs), path)
            if not outcome(preview.decide(rule, replace(subject, inputs=inputs))):
                silent.add(str(path[0]))
    assert silent == {place for accepted, place in ACCEPTED if accepted == rule_id}
