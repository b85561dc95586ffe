"""What the sandbox answers when a program calls a function of the provider."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.analysis.iam.grammar import parse
from policies.analysis.iam.rendering import policy_document
from sandbox.engine.invokes import invoke, invoke_or_invent
from sandbox.errors import SandboxError

ACCOUNT = "123456789012"
TOKEN = "aws:iam/getPolicyDocument:getPolicyDocument"


def document(**arguments: Any) -> Any:
    return json.loads(policy_document(arguments)["json"])


def test_a_policy_document_is_what_its_arguments_say() -> None:
    statement = {
        "sid": "Read",
        "actions": ["s3:GetObject", "s3:ListBucket"],
        "resources": ["arn:aws:s3:::files/&{aws:username}/*"],
        "principals": [
            {"type": "AWS", "identifiers": ["arn:aws:iam::123456789012:root"]},
            {"type": "Service", "identifiers": ["a.amazonaws.com", "b.amazonaws.com"]},
        ],
        "conditions": [
            {"test": "StringEquals", "variable": "aws:SourceAccount", "values": [ACCOUNT]},
            {"test": "StringEquals", "variable": "aws:PrincipalTag/team", "values": ["x", "y"]},
        ],
    }
    assert document(
        policyId="Id", statements=[statement, {"effect": "Deny", "notActions": ["iam:*"], "notResources": ["*"]}]
    ) == {
        "Version": "2012-10-17",
        "Id": "Id",
        "Statement": [
            {
                "Sid": "Read",
                "Effect": "Allow",
                "Action": ["s3:GetObject", "s3:ListBucket"],
                "Resource": "arn:aws:s3:::files/${aws:username}/*",
                "Principal": {"AWS": "arn:aws:iam::123456789012:root", "Service": ["a.amazonaws.com", "b.amazonaws.com"]},
                "Condition": {"StringEquals": {"aws:SourceAccount": ACCOUNT, "aws:PrincipalTag/team": ["x", "y"]}},
            },
            {"Effect": "Deny", "NotAction": "iam:*", "NotResource": "*"},
        ],
    }


def test_anybody_is_a_star_without_a_type() -> None:
    (statement,) = document(statements=[{"actions": ["a:b"], "principals": [{"type": "*", "identifiers": ["*"]}]}])["Statement"]
    assert statement["Principal"] == "*"


def test_source_documents_come_first_and_an_override_takes_the_place_of_its_sid() -> None:
    found = document(
        sourcePolicyDocuments=[json.dumps({"Statement": {"Sid": "A", "Effect": "Allow", "Action": "a:a", "Resource": "*"}})],
        statements=[{"sid": "B", "actions": ["b:b"], "resources": ["*"]}],
        overridePolicyDocuments=[json.dumps({"Statement": [{"Sid": "A", "Effect": "Deny", "Action": "a:*", "Resource": "*"}]})],
    )
    assert [(one["Sid"], one["Effect"]) for one in found["Statement"]] == [("A", "Deny"), ("B", "Allow")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"statements": [{"sid": "A", "actions": ["a:a"]}, {"sid": "A", "actions": ["a:b"]}]},
            "getPolicyDocument: duplicate statement id (Sid) 'A'. Use unique ids.",
        ),
        (
            {"sourcePolicyDocuments": ["{"]},
            "getPolicyDocument: a source or override document is not a JSON policy document.",
        ),
        (
            {"overridePolicyDocuments": ["[]"]},
            "getPolicyDocument: a source or override document is not a JSON policy document.",
        ),
    ],
)
def test_a_document_that_the_provider_would_refuse_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SandboxError) as caught:
        invoke(TOKEN, arguments, ACCOUNT)
    assert caught.value.message == message


WORDS = st.lists(st.text("abc:*-/", min_size=1, max_size=8), min_size=1, max_size=3)


@given(st.lists(st.fixed_dictionaries({"actions": WORDS, "resources": WORDS}), min_size=1, max_size=4))
def test_every_document_is_read_by_the_rules(statements: list[dict[str, Any]]) -> None:
    assert len(parse(policy_document({"statements": statements})["json"]).allows) == len(statements)


@pytest.mark.requirement("PP-02")
def test_what_needs_an_account_is_made_up_for_a_program_that_is_only_judged_and_told() -> None:
    invented: set[str] = set()
    vpc = invoke_or_invent("aws:ec2/getVpc:getVpc", {"default": True}, ACCOUNT, invented)
    subnets = invoke_or_invent("aws:ec2/getSubnets:getSubnets", {}, ACCOUNT, invented)
    zone = invoke_or_invent("aws:route53/getZone:getZone", {"name": "example.com"}, ACCOUNT, invented)
    caller = invoke_or_invent("aws:index/getCallerIdentity:getCallerIdentity", {}, ACCOUNT, invented)
    assert vpc["default"] is True
    assert vpc["id"].startswith("vpc-")
    assert vpc["arn"].startswith("arn:aws:ec2:eu-west-1:123456789012:")
    assert isinstance(subnets["ids"], list)
    assert zone["name"] == "example.com"
    assert caller["accountId"] == ACCOUNT
    assert invented == {"aws:ec2/getVpc:getVpc", "aws:ec2/getSubnets:getSubnets", "aws:route53/getZone:getZone"}


def test_the_same_question_has_the_same_answer() -> None:
    asked = [invoke_or_invent("aws:ec2/getAmi:getAmi", {"owners": ["amazon"]}, ACCOUNT, set()) for _ in range(2)]
    assert asked[0] == asked[1]


@pytest.mark.parametrize(
    "token", ["aws:ec2/getNothing:getNothing", "other:x/getVpc:getVpc", "aws:nothing/getVpc:getVpc", "nonsense"]
)
def test_a_function_that_does_not_exist_is_refused_by_name(token: str) -> None:
    with pytest.raises(SandboxError, match="which the sandbox has no answer for"):
        invoke_or_invent(token, {}, ACCOUNT, set())


def test_a_deployment_looks_nothing_up_that_is_made_up() -> None:
    with pytest.raises(SandboxError, match=r"aws:ec2/getVpc:getVpc, which the sandbox has no answer for"):
        invoke("aws:ec2/getVpc:getVpc", {}, ACCOUNT)
    assert "json" in invoke(TOKEN, {"statements": []}, ACCOUNT)
