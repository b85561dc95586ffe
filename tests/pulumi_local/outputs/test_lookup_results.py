"""Results of provider functions."""

import json
from typing import Any

import pytest
from pulumi_local.aws_location import AwsLocation
from pulumi_local.errors import CommandError
from pulumi_local.outputs import invented
from pulumi_local.outputs.lookup_results import invoke, invoke_or_fake
from pulumi_local.outputs.policy_documents import policy_document

ACCOUNT = "123456789012"
LOCATION = AwsLocation()
TOKEN = "aws:iam/getPolicyDocument:getPolicyDocument"


def document(**arguments: Any) -> Any:
    return json.loads(policy_document(arguments)["json"])


def test_policy_document() -> None:
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
        policyId="Id",
        statements=[
            statement,
            {
                "effect": "Deny",
                "notActions": ["iam:*"],
                "notResources": ["*"],
                "principals": [{"type": "*", "identifiers": ["*"]}],
            },
        ],
    ) == {
        "Version": "2012-10-17",
        "Id": "Id",
        "Statement": [
            {
                "Sid": "Read",
                "Effect": "Allow",
                "Action": ["s3:GetObject", "s3:ListBucket"],
                "Resource": "arn:aws:s3:::files/${aws:username}/*",
                "Principal": {
                    "AWS": "arn:aws:iam::123456789012:root",
                    "Service": ["a.amazonaws.com", "b.amazonaws.com"],
                },
                "Condition": {
                    "StringEquals": {
                        "aws:SourceAccount": ACCOUNT,
                        "aws:PrincipalTag/team": ["x", "y"],
                    }
                },
            },
            {"Effect": "Deny", "NotAction": "iam:*", "NotResource": "*", "Principal": "*"},
        ],
    }


def test_source_and_override_documents() -> None:
    merged = document(
        sourcePolicyDocuments=[
            json.dumps(
                {"Statement": {"Sid": "A", "Effect": "Allow", "Action": "a:a", "Resource": "*"}}
            )
        ],
        statements=[{"sid": "B", "actions": ["b:b"], "resources": ["*"]}],
        overridePolicyDocuments=[
            json.dumps(
                {"Statement": [{"Sid": "A", "Effect": "Deny", "Action": "a:*", "Resource": "*"}]}
            )
        ],
    )
    assert [(one["Sid"], one["Effect"]) for one in merged["Statement"]] == [
        ("A", "Deny"),
        ("B", "Allow"),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"statements": [{"sid": "A", "actions": ["a:a"]}, {"sid": "A", "actions": ["a:b"]}]},
            "getPolicyDocument: duplicate statement ID (Sid) 'A'. Use unique IDs.",
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
def test_invalid_document_is_rejected(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(CommandError) as caught:
        invoke(TOKEN, arguments, LOCATION)
    assert caught.value.message == message


def test_lookups_have_fake_results_and_are_recorded() -> None:
    faked: set[str] = set()
    vpc = invoke_or_fake("aws:ec2/getVpc:getVpc", {"default": True}, faked, LOCATION)
    subnets = invoke_or_fake("aws:ec2/getSubnets:getSubnets", {}, faked, LOCATION)
    zone = invoke_or_fake("aws:route53/getZone:getZone", {"name": "example.com"}, faked, LOCATION)
    caller = invoke_or_fake("aws:index/getCallerIdentity:getCallerIdentity", {}, faked, LOCATION)
    policy = invoke_or_fake(
        "aws:iam/getPolicy:getPolicy", {"name": "AdministratorAccess"}, faked, LOCATION
    )
    assert vpc["default"] is True
    assert vpc["id"].startswith("vpc-")
    # A VPC can belong to another account.
    assert vpc["arn"].startswith(f"arn:aws:ec2:eu-west-1:{invented.ACCOUNT}:")
    assert isinstance(subnets["ids"], list)
    assert zone["name"] == "example.com"
    assert caller["accountId"] == ACCOUNT
    assert policy["arn"] == "arn:aws:iam::aws:policy/AdministratorAccess"
    assert faked == {
        "aws:iam/getPolicy:getPolicy",
        "aws:ec2/getVpc:getVpc",
        "aws:ec2/getSubnets:getSubnets",
        "aws:route53/getZone:getZone",
    }


@pytest.mark.parametrize(
    "token",
    [
        "aws:ec2/getNothing:getNothing",
        "other:x/getVpc:getVpc",
        "aws:nothing/getVpc:getVpc",
        "nonsense",
    ],
)
def test_unknown_function_is_rejected(token: str) -> None:
    with pytest.raises(CommandError, match=r"the function .* is not supported"):
        invoke_or_fake(token, {}, set(), LOCATION)


def test_deployment_has_no_fake_results() -> None:
    with pytest.raises(CommandError, match="the function aws:ec2/getVpc:getVpc is not supported"):
        invoke("aws:ec2/getVpc:getVpc", {}, LOCATION)
    assert "json" in invoke(TOKEN, {"statements": []}, LOCATION)


def test_accounts_that_deliver_logs_are_those_of_aws() -> None:
    location = AwsLocation(region="eu-west-1")
    account = invoke("aws:elb/getServiceAccount:getServiceAccount", {}, location)
    assert account["arn"] == "arn:aws:iam::156460612806:root"
    elsewhere = {"region": "me-central-1"}
    with pytest.raises(CommandError, match="no account that delivers logs in me-central-1"):
        invoke("aws:elb/getServiceAccount:getServiceAccount", elsewhere, location)
