"""IAM actions."""

from typing import Any

import pytest
from gatehouse_policies.analysis.iam import actions
from gatehouse_policies.analysis.iam.grammar import DocumentError, Statement, parse

ACCOUNT = "123456789012"


def statement(**elements: Any) -> Statement:
    [parsed] = parse(
        {"Statement": [{"Effect": "Allow", "Action": "s3:GetObject", **elements}]}
    ).statements
    return parsed


@pytest.mark.parametrize(
    ("pattern", "wildcard"),
    [
        ("s3:*", True),
        ("S3:?*", True),
        ("s3:**", True),
        ("s3:Get*", False),
        ("s3:GetObject", False),
        ("no-such-service:*", True),
        ("no-such-service:Get*", False),
        ("*", True),
    ],
)
def test_pattern_matches_all_actions_of_a_service(pattern: str, wildcard: bool) -> None:
    assert actions.is_service_wildcard(pattern) is wildcard


@pytest.mark.parametrize(
    ("action", "resource", "all_resources"),
    [
        ("s3:GetObject", "*", True),
        ("s3:GetObject", "arn:aws:s3:::*", True),
        ("s3:GetObject", "arn:aws:s3:::*/*", True),
        ("s3:GetObject", "arn:aws:s3:::acme-*/*", False),
        ("s3:GetObject", "arn:aws:s3:::acme-files/*", False),
        ("sts:AssumeRole", "arn:aws:iam::*:role/*", True),
        ("sts:AssumeRole", f"arn:aws:iam::{ACCOUNT}:role/*", True),
        ("sts:AssumeRole", f"arn:aws:iam::{ACCOUNT}:role/acme-*", False),
        ("dynamodb:*Item", "arn:aws:dynamodb:*:*:table/*", True),
        ("dynamodb:*Item", f"arn:aws:dynamodb:eu-west-1:{ACCOUNT}:table/acme", False),
        ("logs:PutLogEvents", "arn:aws:logs:*:*:*", True),
        ("logs:PutLogEvents", f"arn:aws:logs:eu-west-1:{ACCOUNT}:log-group:/acme/*", False),
        ("kms:Decrypt", "arn:aws-cn:kms:cn-north-1:*:key/*", True),
        ("kms:Decrypt", "arn:aws:kms:*:*:alias/*", True),
        ("kms:Decrypt", "arn:aws:kms:*:*:key/*-*-*-*-*", True),
        ("kms:Decrypt", "arn:aws:kms:*:*:key/????????-????-*", True),
        # Actions without resource-level permissions require "*".
        ("ecr:GetAuthorizationToken", "*", False),
        ("ec2:Describe*", "*", False),
        # The reference does not contain the action.
        ("s3:NoSuchAction", "*", True),
        ("no-such-service:Get", "*", True),
        ("*", "*", True),
    ],
)
def test_statement_reaches_all_resources_of_an_action(
    action: str, resource: str, all_resources: bool
) -> None:
    assert (
        actions.reaches_all_resources(statement(Action=action, Resource=resource), action)
        is all_resources
    )


def test_key_that_occurs_twice_is_malformed() -> None:
    with pytest.raises(DocumentError, match="the same key twice"):
        parse(
            '{"Statement": [{"Effect": "Deny", "Effect": "Allow", "Action": "s3:GetObject", '
            '"Resource": "*"}]}'
        )
