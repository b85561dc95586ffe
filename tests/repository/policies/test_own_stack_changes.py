"""Changes of the project's own prod stack that weaken its security are violations."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from gatehouse_policies.analysis.properties import Properties
from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.analysis.type_tokens import aws
from gatehouse_policies.catalogue import rule
from gatehouse_policies.engine.guard import evaluate
from gatehouse_policies.rules.s3 import EPHEMERAL, purpose

from tests.policies.rules.builders import data_events, document, grant
from tests.policies.rules.violations_access import STRANGER, stranger_statement, trust
from tests.repository.policies.test_own_stack import deployment, resources

EVERYTHING = document({"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"})
READ_ONLY = {
    "fieldSelectors": [
        {"field": "eventCategory", "equals": ["Management"]},
        {"field": "readOnly", "equals": ["true"]},
    ]
}

Change = Callable[[Properties], dict[str, Any]]


def unlimited_rate(acl: Properties) -> dict[str, Any]:
    rules = json.loads(json.dumps(acl.value("rules")))
    for item in rules:
        if "rateBasedStatement" in item.get("statement", {}):
            item["statement"]["rateBasedStatement"]["limit"] = 2_000_000_000
    return {"rules": rules}


def tagged_as_log_sink(bucket: Properties) -> dict[str, Any]:
    return {"tags": {**bucket.value("tags"), "gatehouse:purpose": "log-sink"}}


def sets(**inputs: Any) -> Change:
    return lambda _: inputs


# Rule that must notice the change, class of the resource, and the changed inputs. None removes an
# input.
CHANGES: list[tuple[str, str, Change]] = [
    (
        "GH-IAM-002",
        "iam.RolePolicy",
        sets(policy=grant(Action=["s3:GetObject", "s3:DeleteObject"], Resource="arn:aws:s3:::*")),
    ),
    (
        "GH-IAM-007",
        "iam.RolePolicy",
        sets(policy=grant(Action="sts:AssumeRole", Resource="arn:aws:iam::*:role/*")),
    ),
    (
        "GH-IAM-007",
        "iam.RolePolicy",
        sets(policy=grant(Action="iam:AttachRolePolicy", Resource="arn:aws:iam::*:role/*")),
    ),
    (
        "GH-IAM-001",
        "iam.RolePolicy",
        sets(policy=grant(Action="*", Resource=None, NotResource="arn:aws:s3:::acme")),
    ),
    (
        "GH-IAM-004",
        "iam.Role",
        sets(assumeRolePolicy=trust({"AWS": f"arn:aws:iam::{STRANGER}:root"})),
    ),
    ("GH-KMS-002", "kms.Key", sets(policy=document(stranger_statement("kms:Decrypt")))),
    (
        "GH-KMS-002",
        "kms.ReplicaKey",
        sets(policy=document(stranger_statement("kms:Decrypt", Principal="*"))),
    ),
    ("GH-CT-007", "cloudtrail.Trail", sets(advancedEventSelectors=[data_events()])),
    ("GH-CT-007", "cloudtrail.Trail", sets(advancedEventSelectors=[data_events(), READ_ONLY])),
    ("GH-VPC-009", "ec2.VpcEndpoint", sets(policy=EVERYTHING)),
    ("GH-VPC-012", "ec2.VpcEndpoint", sets(vpcEndpointType="Interface", privateDnsEnabled=False)),
    ("GH-VPC-012", "ec2.VpcEndpoint", sets(vpcEndpointType="Interface", securityGroupIds=None)),
    ("GH-WAF-001", "wafv2.WebAcl", unlimited_rate),
    (
        "GH-SM-003",
        "secretsmanager.SecretRotation",
        sets(rotationRules={"scheduleExpression": "cron(0 4 1 1 ? *)"}),
    ),
    ("GH-SQS-001", "sqs.Queue", sets(sqsManagedSseEnabled=False, kmsMasterKeyId=None)),
    ("GH-SQS-002", "sqs.QueuePolicy", sets(policy=EVERYTHING)),
    ("GH-S3-012", "s3.BucketPolicy", sets(policy=document(stranger_statement("s3:GetObject")))),
    (
        "GH-SM-004",
        "secretsmanager.SecretPolicy",
        sets(policy=document(stranger_statement("secretsmanager:GetSecretValue"))),
    ),
    ("GH-PUL-003", "dynamodb.Table", sets(replicas=[{"regionName": "us-west-1"}])),
]


@cache
def own_resources() -> tuple[Resource, ...]:
    return tuple(resources(deployment("container")))


def with_change(resource: Resource, change: Change) -> Resource:
    current = {name: resource.props.value(name) for name in resource.props.names()}
    inputs = {
        name: value
        for name, value in {**current, **change(resource.props)}.items()
        if value is not None
    }
    return replace(resource, props=Properties(inputs))


@pytest.mark.parametrize(
    ("id", "resource_class", "change"), CHANGES, ids=[f"{id} {name}" for id, name, _ in CHANGES]
)
def test_change_is_noticed(id: str, resource_class: str, change: Change) -> None:
    own = own_resources()
    target = next((resource for resource in own if resource.type in aws(resource_class)), None)
    assert target is not None
    program = Stack(
        with_change(resource, change) if resource is target else resource for resource in own
    )
    expected = rule(id)
    evaluated = [
        replace(item, settings=expected.defaults("prod"), lists=expected.lists) for item in program
    ]
    selected = [item for item in evaluated if item.type in (expected.types or (item.type,))]

    assert any(evaluate(expected, item, program).violations for item in selected)


def test_bucket_of_data_cannot_be_tagged_as_log_sink() -> None:
    own = own_resources()
    expected = rule("GH-S3-020")
    buckets = [item for item in own if item.type in aws("s3.Bucket") and purpose(item) == EPHEMERAL]
    assert buckets
    for bucket in buckets:
        changed = with_change(bucket, tagged_as_log_sink)
        program = Stack(changed if item is bucket else item for item in own)
        assert evaluate(expected, changed, program).violations
