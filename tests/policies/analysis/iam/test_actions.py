"""IAM actions."""

from typing import Any

import pytest
from gatehouse_policies.analysis.iam import actions
from gatehouse_policies.analysis.iam.grammar import DocumentError, Statement, parse

from tests.cases import cases

_CASES = cases(__file__)


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
    ("action", "resource", "all_resources"), _CASES["statement_reaches_all_resources_of_an_action"]
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
