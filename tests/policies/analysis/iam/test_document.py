"""IAM policy documents."""

import json
from typing import Any

import pytest
from gatehouse_policies.analysis.iam import document as iam
from gatehouse_policies.analysis.iam.bucket_policy import denies_plain_http, denies_policy_changes
from gatehouse_policies.analysis.iam.grammar import Document, DocumentError, parse
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.policies.rules.builders import tls_only

ACCOUNT = "123456789012"
RESTRICTED = {"StringEquals": {"aws:SourceAccount": ACCOUNT}}


def statement(**changes: Any) -> dict[str, Any]:
    valid = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::acme/*",
    }
    return {key: value for key, value in {**valid, **changes}.items() if value is not None}


def parsed(**changes: Any) -> Document:
    return parse({"Statement": [statement(**changes)]})


@given(
    actions=st.lists(
        st.sampled_from(["s3:GetObject", "s3:*", "kms:Decrypt"]), min_size=1, max_size=1
    ),
    as_text=st.booleans(),
    bare=st.booleans(),
    bare_statement=st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_equivalent_documents_are_parsed_alike(
    actions: list[str], as_text: bool, bare: bool, bare_statement: bool
) -> None:
    inner = statement(
        Action=actions[0] if bare else actions, Principal={"AWS": "*" if bare else ["*"]}
    )
    document: Any = {"Version": "2012-10-17", "Statement": inner if bare_statement else [inner]}

    result = parse(json.dumps(document) if as_text else document)
    assert result == parse(
        {**document, "Statement": [statement(Action=actions, Principal={"AWS": ["*"]})]}
    )


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["Statement", "Effect", "Action", "Principal", "Resource", "Condition", "Bool"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(value=_JSON)
@settings(max_examples=150, deadline=None)
def test_arbitrary_json_is_parsed_or_rejected(value: Any) -> None:
    for document in (value, json.dumps(value), {"Statement": value}):
        try:
            result = parse(document)
        except DocumentError:
            continue
        iam.allows_public(result)
        denies_plain_http(result)
        iam.allows_everything(result)


MALFORMED = [
    ("{", "the policy document is not JSON"),
    (None, "the policy document must be an object"),
    ({}, "the policy document has no Statement"),
    ({"Statement": ["x"]}, "Statement[0] must be an object"),
    ({"Statement": [statement(Effect="allow")]}, "Statement[0].Effect must be Allow or Deny"),
    ({"Statement": [statement(NotAction="s3:*")]}, "Statement[0] has both Action and NotAction"),
    ({"Statement": [statement(Action=None)]}, "Statement[0] has neither Action nor NotAction"),
    (
        {"Statement": [statement(action="*")]},
        "Statement[0] has an element that a policy cannot have",
    ),
    (
        {"Statement": [statement()], "statement": []},
        "the policy document has an element that a policy cannot have",
    ),
    (
        {"Statement": [statement(Action=[1])]},
        "Statement[0].Action must be a string or a list of strings",
    ),
    ({"Statement": [statement(Principal="me")]}, "Statement[0].Principal must be * or an object"),
    (
        {"Statement": [statement(Condition=["x"])]},
        "Statement[0].Condition must map operators to keys",
    ),
]


@pytest.mark.parametrize(("document", "error"), MALFORMED)
def test_malformed_document_is_rejected(document: Any, error: str) -> None:
    with pytest.raises(DocumentError) as caught:
        parse(document)
    assert str(caught.value) == error


PUBLIC = [
    ({}, True),
    ({"Principal": {"AWS": "*"}}, True),
    ({"Principal": {"AWS": ["*"]}}, True),
    ({"Principal": None, "NotPrincipal": {"AWS": "arn:aws:iam::1:root"}}, True),
    ({"Effect": "Deny"}, False),
    ({"Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}}, False),
    ({"Principal": {"Service": "s3.amazonaws.com"}}, False),
    ({"Condition": RESTRICTED}, False),
    ({"Condition": {"StringEquals": {"AWS:sourceaccount": ACCOUNT}}}, False),
    ({"Condition": {"StringEqualsIfExists": {"aws:SourceAccount": ACCOUNT}}}, True),
    ({"Condition": {"ForAllValues:StringEquals": {"aws:PrincipalOrgID": "o-1"}}}, True),
    ({"Condition": {"StringNotEquals": {"aws:SourceAccount": ACCOUNT}}}, True),
    ({"Condition": {"StringLike": {"aws:PrincipalArn": "*"}}}, True),
    (
        {"Condition": {"ArnLike": {"aws:SourceArn": f"arn:aws:cloudtrail:*:{ACCOUNT}:trail/*"}}},
        False,
    ),
    ({"Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:s3:::acme"}}}, False),
    ({"Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:s3:*:*:storage-lens/*"}}}, True),
    ({"Condition": {"Bool": {"aws:SecureTransport": "true"}}}, True),
    ({"Condition": {"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}}}, True),
    ({"Condition": {"IpAddress": {"aws:SourceIp": ["0.0.0.0/8", "1.0.0.0/8"]}}}, True),
    ({"Condition": {"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}}, False),
    ({"Condition": {"NotIpAddress": {"aws:SourceIp": "203.0.113.0/24"}}}, True),
    ({"Condition": {"StringEquals": {"kms:ViaService": "s3.eu-west-1.amazonaws.com"}}}, True),
    ({"Condition": {"StringEquals": {"kms:CallerAccount": ACCOUNT}}}, False),
]


@pytest.mark.parametrize(("changes", "public"), PUBLIC)
def test_public_access(changes: dict[str, Any], public: bool) -> None:
    assert iam.allows_public(parsed(**changes)) is public


@pytest.mark.parametrize(
    ("service", "condition", "unrestricted"),
    [
        ("cognito-idp.amazonaws.com", {"StringEquals": {"sts:ExternalId": "8f3c"}}, False),
        ("cognito-idp.amazonaws.com", {"StringEquals": {"aws:SourceAccount": ACCOUNT}}, False),
        ("cognito-idp.amazonaws.com", {"StringEqualsIfExists": {"sts:ExternalId": "8f3c"}}, True),
        ("cognito-idp.amazonaws.com", None, True),
        ("sns.amazonaws.com", {"StringEquals": {"sts:ExternalId": "8f3c"}}, True),
    ],
)
def test_external_id_restricts_services_that_send_it(
    service: str, condition: dict[str, Any] | None, unrestricted: bool
) -> None:
    document = parsed(
        Principal={"Service": service}, Action="sts:AssumeRole", Resource=None, Condition=condition
    )
    assert iam.unrestricted_services(document) == ((service,) if unrestricted else ())


STRANGERS = {"111111111111", "222222222222"}


FOREIGN = [
    ({}, STRANGERS),
    # A principal of another account than the condition names has no access.
    ({"Condition": RESTRICTED}, set()),
    ({"Condition": {"StringEquals": {"aws:PrincipalAccount": "111111111111"}}}, {"111111111111"}),
    ({"Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}}}, set()),
    # The endpoint can be in the network of the principal.
    ({"Condition": {"StringEquals": {"aws:SourceVpce": "vpce-1"}}}, STRANGERS),
    ({"Condition": {"StringEquals": {"aws:VpceAccount": ACCOUNT}}}, STRANGERS),
    ({"Condition": {"StringEquals": {"aws:VpceOrgID": "o-a1b2c3d4e5"}}}, STRANGERS),
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
def test_allowed_accounts_are_those_of_principals_and_conditions(
    changes: dict[str, Any], foreign: set[str]
) -> None:
    principals = [
        "111111111111",
        f"arn:aws:iam::{ACCOUNT}:role/a",
        "arn:aws:iam::222222222222:role/b",
    ]
    document = parsed(**{"Principal": {"AWS": principals}, **changes})

    assert iam.allowed_accounts(document) - {ACCOUNT} == foreign


def without_tls(**changes: Any) -> Document:
    return parse({"Statement": [{**tls_only("acme")[0], **changes}]})


@pytest.mark.parametrize(
    ("changes", "denies"),
    [
        ({}, True),
        ({"Action": "*"}, True),
        ({"Principal": {"AWS": "*"}}, True),
        ({"Resource": "*"}, True),
        ({"Condition": {"Bool": {"aws:SecureTransport": [False]}}}, True),
        ({"Effect": "Allow"}, False),
        ({"Action": "s3:GetObject"}, False),
        ({"Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}}, False),
        ({"Resource": "arn:aws:s3:::acme"}, False),
        ({"Resource": "arn:aws:s3:::acme/*"}, False),
        ({"Resource": ["arn:aws:s3:::other", "arn:aws:s3:::other/*"]}, False),
        ({"Condition": {"Bool": {"aws:SecureTransport": "true"}}}, False),
        ({"Condition": {"Bool": {"aws:SecureTransport": "false"}, **RESTRICTED}}, False),
    ],
)
def test_plain_http_denial_covers_bucket_and_objects(changes: dict[str, Any], denies: bool) -> None:
    assert denies_plain_http(without_tls(**changes), "acme") is denies


def test_two_statements_can_cover_bucket_and_objects() -> None:
    statements = [
        {**tls_only("acme")[0], "Resource": arn}
        for arn in ("arn:aws:s3:::acme", "arn:aws:s3:::acme/*")
    ]

    assert denies_plain_http(parse({"Statement": statements}), "acme")


@pytest.mark.parametrize(
    ("changes", "locked"),
    [
        ({"Action": "s3:*"}, True),
        ({"Action": "s3:Put*"}, True),
        ({"Action": None, "NotAction": "s3:GetObject"}, True),
        ({"Action": "s3:*", "Condition": {"StringNotEquals": {"aws:SourceVpce": "vpce-1"}}}, True),
        ({"Action": "s3:*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}, False),
        ({"Action": "s3:GetObject"}, False),
        ({"Action": "s3:*", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:role/a"}}, False),
        (
            {
                "Action": "s3:*",
                "Condition": {
                    "StringNotEquals": {"aws:SourceVpce": "vpce-1"},
                    "ArnNotEquals": {"aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT}:role/deploy"},
                },
            },
            False,
        ),
    ],
)
def test_policy_change_denial(changes: dict[str, Any], locked: bool) -> None:
    assert denies_policy_changes(parsed(Effect="Deny", **changes)) is locked
