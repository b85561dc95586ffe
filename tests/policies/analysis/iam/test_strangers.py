"""Requests of strangers."""

from typing import Any

import pytest
from gatehouse_policies.analysis.iam.strangers import access

from tests.cases import cases
from tests.policies.analysis.iam.test_document import ACCOUNT, RESTRICTED, parsed

_CASES = cases(__file__)

ORGANIZATION = "o-a1b2c3d4e5"
PUBLIC: list[Any] = [
    *_CASES["public"],
    ({"Principal": None, "NotPrincipal": {"AWS": "arn:aws:iam::1:root"}}, True),
]


@pytest.mark.parametrize(("changes", "public"), PUBLIC)
def test_public_access(changes: dict[str, Any], public: bool) -> None:
    assert access(parsed(**changes)).everyone is public


@pytest.mark.parametrize(
    ("service", "condition", "unrestricted"),
    [
        ("cognito-idp.amazonaws.com", {"StringEquals": {"sts:ExternalId": "8f3c"}}, False),
        ("cognito-idp.amazonaws.com", {"StringEquals": {"aws:SourceAccount": ACCOUNT}}, False),
        ("cognito-idp.amazonaws.com", {"StringEqualsIfExists": {"sts:ExternalId": "8f3c"}}, True),
        ("cognito-idp.amazonaws.com", None, True),
        ("firehose.amazonaws.com", {"StringLike": {"sts:ExternalId": "*"}}, True),
    ],
)
def test_external_id_restricts_services(
    service: str, condition: dict[str, Any] | None, unrestricted: bool
) -> None:
    document = parsed(
        Principal={"Service": service}, Action="sts:AssumeRole", Resource=None, Condition=condition
    )
    assert access(document).services == ((service,) if unrestricted else ())


STRANGERS = {"111111111111", "222222222222"}


FOREIGN = [
    ({}, STRANGERS),
    # A principal of another account than the condition names has no access.
    ({"Condition": RESTRICTED}, set()),
    ({"Condition": {"StringEquals": {"aws:PrincipalAccount": "111111111111"}}}, {"111111111111"}),
    ({"Condition": {"StringEquals": {"aws:PrincipalOrgID": ORGANIZATION}}}, set()),
    # The endpoint can be in the network of the principal.
    ({"Condition": {"StringEquals": {"aws:SourceVpce": "vpce-1"}}}, STRANGERS),
    ({"Condition": {"StringEquals": {"aws:VpceAccount": ACCOUNT}}}, STRANGERS),
    ({"Condition": {"StringEquals": {"aws:VpceOrgID": ORGANIZATION}}}, STRANGERS),
    (
        {"Principal": "*", "Condition": {"StringEquals": {"aws:VpceAccount": "111111111111"}}},
        {"111111111111"},
    ),
    (
        {
            "Principal": "*",
            "Condition": {
                "ArnLike": {"s3:DataAccessPointArn": "arn:aws:s3:*:111111111111:accesspoint/*"}
            },
        },
        {"111111111111"},
    ),
    ({"Principal": {"AWS": "AROAJQABLZS4A3QDU576Q"}}, {"AROAJQABLZS4A3QDU576Q"}),
    ({"Principal": {"Federated": "arn:aws:iam::111111111111:saml-provider/a"}}, {"111111111111"}),
    (
        {"Principal": "*", "Condition": {"StringEquals": {"aws:PrincipalAccount": "111111111111"}}},
        {"111111111111"},
    ),
    (
        {
            "Principal": {"Service": "sns.amazonaws.com"},
            "Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:sns:*:111111111111:*"}},
        },
        {"111111111111"},
    ),
]


@pytest.mark.parametrize(("changes", "foreign"), FOREIGN)
def test_others_are_those_of_principals_and_conditions(
    changes: dict[str, Any], foreign: set[str]
) -> None:
    principals = [
        "111111111111",
        f"arn:aws:iam::{ACCOUNT}:role/a",
        "arn:aws:iam::222222222222:role/b",
    ]
    document = parsed(**{"Principal": {"AWS": principals}, **changes})

    assert {*access(document).others({ACCOUNT, ORGANIZATION})} == foreign
