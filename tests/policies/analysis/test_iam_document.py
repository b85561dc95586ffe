"""IAM documents: every legal spelling means the same, and each question has examples of yes and no."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.analysis.iam import document as iam
from policies.analysis.iam.document import DocumentError, parse
from tests.policies.programs import github_trust, tls_only

ACCOUNT = "123456789012"
NARROW = {"StringEquals": {"aws:SourceAccount": ACCOUNT}}


def statement(**changed: Any) -> dict[str, Any]:
    clean = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::acme/*"}
    return {key: value for key, value in {**clean, **changed}.items() if value is not None}


def one(**changed: Any) -> iam.Document:
    return parse({"Statement": [statement(**changed)]})


# --- Parsing


@given(
    actions=st.lists(st.sampled_from(["s3:GetObject", "s3:*", "kms:Decrypt"]), min_size=1, max_size=1),
    as_text=st.booleans(),
    bare=st.booleans(),
    bare_statement=st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_every_legal_spelling_of_a_document_is_the_same_document(
    actions: list[str], as_text: bool, bare: bool, bare_statement: bool
) -> None:
    inner = statement(Action=actions[0] if bare else actions, Principal={"AWS": "*" if bare else ["*"]})
    document: Any = {"Version": "2012-10-17", "Statement": inner if bare_statement else [inner]}

    parsed = parse(json.dumps(document) if as_text else document)
    assert parsed == parse({"Statement": [statement(Action=actions, Principal={"AWS": ["*"]})]})


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["Statement", "Effect", "Action", "Principal", "Resource", "Condition", "Bool"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(value=_JSON)
@settings(max_examples=150, deadline=None)
def test_anything_else_is_refused_as_a_document_and_never_crashes(value: Any) -> None:
    for document in (value, json.dumps(value), {"Statement": value}):
        try:
            parsed = parse(document)
        except DocumentError:
            continue
        iam.allows_public(parsed)
        iam.denies_plain_http(parsed)
        iam.allows_everything(parsed)


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ("{", "the policy document is not JSON"),
        (None, "the policy document must be an object"),
        ({}, "the policy document needs a Statement"),
        ({"Statement": ["x"]}, "Statement[0] must be an object"),
        ({"Statement": [statement(Effect="allow")]}, "Statement[0].Effect must be Allow or Deny"),
        ({"Statement": [statement(NotAction="s3:*")]}, "Statement[0] has both Action and NotAction"),
        ({"Statement": [statement(Action=None)]}, "Statement[0] needs Action or NotAction"),
        ({"Statement": [statement(Action=[1])]}, "Statement[0].Action must be a string or a list of strings"),
        ({"Statement": [statement(Principal="me")]}, "Statement[0].Principal must be * or an object"),
        ({"Statement": [statement(Condition=["x"])]}, "Statement[0].Condition must map operators to keys"),
    ],
)
def test_a_document_that_breaks_the_grammar_is_refused_with_the_place(document: Any, says: str) -> None:
    with pytest.raises(DocumentError) as refused:
        parse(document)
    assert str(refused.value) == says


# --- Who is let in


@pytest.mark.parametrize(
    ("changed", "public"),
    [
        ({}, True),
        ({"Principal": {"AWS": "*"}}, True),
        ({"Principal": {"AWS": ["*"]}}, True),
        ({"Principal": None, "NotPrincipal": {"AWS": "arn:aws:iam::1:root"}}, True),
        ({"Effect": "Deny"}, False),
        ({"Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}}, False),
        ({"Principal": {"Service": "s3.amazonaws.com"}}, False),
        ({"Condition": NARROW}, False),
        ({"Condition": {"StringEquals": {"AWS:sourceaccount": ACCOUNT}}}, False),
        ({"Condition": {"StringEqualsIfExists": {"aws:SourceAccount": ACCOUNT}}}, True),
        ({"Condition": {"ForAllValues:StringEquals": {"aws:PrincipalOrgID": "o-1"}}}, True),
        ({"Condition": {"StringNotEquals": {"aws:SourceAccount": ACCOUNT}}}, True),
        ({"Condition": {"StringLike": {"aws:PrincipalArn": "*"}}}, True),
        ({"Condition": {"ArnLike": {"aws:SourceArn": f"arn:aws:cloudtrail:*:{ACCOUNT}:trail/*"}}}, False),
        ({"Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:s3:::acme"}}}, False),
        ({"Condition": {"Bool": {"aws:SecureTransport": "true"}}}, True),
        ({"Condition": {"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}}}, True),
        ({"Condition": {"IpAddress": {"aws:SourceIp": ["203.0.113.0/24", "0.0.0.0/1"]}}}, True),
        ({"Condition": {"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}}, False),
        ({"Condition": {"NotIpAddress": {"aws:SourceIp": "203.0.113.0/24"}}}, True),
        ({"Condition": {"StringEquals": {"kms:ViaService": "s3.eu-west-1.amazonaws.com"}}}, True),
        ({"Condition": {"StringEquals": {"kms:CallerAccount": ACCOUNT}}}, False),
    ],
)
def test_a_statement_is_public_unless_it_names_somebody_or_a_condition_does(changed: dict[str, Any], public: bool) -> None:
    assert iam.allows_public(one(**changed)) is public


@pytest.mark.parametrize("operator", ["StringEquals", "StringLike", "ArnEquals"])
@given(values=st.lists(st.text(alphabet="abc0*?", min_size=1, max_size=4), min_size=1, max_size=3))
@settings(max_examples=30, deadline=None)
def test_a_wildcard_in_an_organisation_or_account_never_narrows(operator: str, values: list[str]) -> None:
    open_values = [*values, "*"]
    assert iam.allows_public(one(Condition={operator: {"aws:PrincipalOrgID": open_values}}))


def test_foreign_accounts_are_those_that_are_not_ours() -> None:
    principals = ["111111111111", f"arn:aws:iam::{ACCOUNT}:role/a", "arn:aws:iam::222222222222:role/b"]
    document = one(Principal={"AWS": principals})

    assert iam.foreign_accounts(document, {ACCOUNT}) == ("111111111111", "222222222222")
    assert iam.foreign_accounts(one(Principal={"AWS": principals}, Condition=NARROW), {ACCOUNT}) == ()


# --- What is refused


def without_tls(**changed: Any) -> iam.Document:
    return parse({"Statement": [{**tls_only("acme")[0], **changed}]})


@pytest.mark.parametrize(
    ("changed", "denies"),
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
        ({"Condition": {"Bool": {"aws:SecureTransport": "false"}, **NARROW}}, False),
    ],
)
def test_plain_http_is_refused_only_for_everyone_on_bucket_and_objects(changed: dict[str, Any], denies: bool) -> None:
    assert iam.denies_plain_http(without_tls(**changed), "acme") is denies


def test_bucket_and_objects_may_be_covered_by_two_statements() -> None:
    halves = [{**tls_only("acme")[0], "Resource": arn} for arn in ("arn:aws:s3:::acme", "arn:aws:s3:::acme/*")]

    assert iam.denies_plain_http(parse({"Statement": halves}), "acme")


@pytest.mark.parametrize(
    ("changed", "locked"),
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
def test_a_deny_locks_out_when_nobody_may_take_it_back(changed: dict[str, Any], locked: bool) -> None:
    assert iam.denies_policy_changes(one(Effect="Deny", **changed)) is locked


# --- What an identity may do


@pytest.mark.parametrize(
    ("changed", "everything"),
    [
        ({"Action": "*", "Resource": "*"}, True),
        ({"Action": ["s3:Get*", "*:*"], "Resource": ["*"]}, True),
        ({"Action": None, "NotAction": "iam:*", "Resource": "*"}, True),
        ({"Action": "s3:*", "Resource": "*"}, False),
        ({"Action": "*"}, False),
        ({"Action": "*", "Resource": "*", "Effect": "Deny"}, False),
    ],
)
def test_everything_means_every_action_on_every_resource(changed: dict[str, Any], everything: bool) -> None:
    assert iam.allows_everything(one(Principal=None, **changed)) is everything


@pytest.mark.parametrize(
    ("action", "resource", "every_key"),
    [
        ("kms:Decrypt", "*", True),
        ("kms:*", "*", True),
        ("KMS:decrypt", "arn:aws:kms:*:*:key/*", True),
        ("*", "arn:aws:kms:eu-west-1:123456789012:key/*", True),
        ("kms:ReEncrypt*", "*", True),
        ("kms:Encrypt", "*", False),
        ("kms:Decrypt", "arn:aws:kms:eu-west-1:123456789012:key/1", False),
        ("s3:*", "*", False),
    ],
)
def test_decrypting_with_every_key_is_seen_through_wildcards(action: str, resource: str, every_key: bool) -> None:
    assert iam.allows_on_all_keys(one(Principal=None, Action=action, Resource=resource)) is every_key


@given(verb=st.sampled_from(["Decrypt", "DescribeKey", "GenerateDataKey"]), cut=st.integers(0, 11))
@settings(max_examples=30, deadline=None)
def test_a_prefix_with_a_star_covers_the_action(verb: str, cut: int) -> None:
    action = f"kms:{verb}"
    pattern = action[: min(cut, len(action))] + "*"

    assert one(Action=pattern).statements[0].covers_action(action)


# --- GitHub

HOST = "token.actions.githubusercontent.com"
AUDIENCE = {f"{HOST}:aud": "sts.amazonaws.com"}
LOOSE_AUDIENCE = "the audience (aud) is not tied to sts.amazonaws.com with StringEquals"
LOOSE_SUBJECT = "the subject (sub) is not tied with StringEquals"
WIDE_SUBJECT = "the subject (sub) does not name one repository and one environment or ref"


@pytest.mark.parametrize(
    ("operators", "faults"),
    [
        ({}, ()),
        ({"StringEquals": {f"{HOST}:sub": "repo:acme/gateway:environment:prod"}}, (LOOSE_AUDIENCE,)),
        ({"StringEquals": AUDIENCE}, (LOOSE_SUBJECT,)),
        ({"StringEquals": AUDIENCE, "StringLike": {f"{HOST}:sub": "repo:acme/gateway:*"}}, (LOOSE_SUBJECT,)),
        ({"StringEquals": {**AUDIENCE, f"{HOST}:sub": "repo:acme/*"}}, (WIDE_SUBJECT,)),
        (
            {
                "ForAllValues:StringEquals": AUDIENCE,
                "StringEquals": {f"{HOST}:sub": "repo:acme/gateway:ref:refs/heads/main"},
            },
            (LOOSE_AUDIENCE,),
        ),
    ],
)
def test_github_is_tied_to_one_repository_and_environment(operators: dict[str, Any], faults: tuple[str, ...]) -> None:
    assert iam.github_trust_defects(parse(github_trust(**operators))) == faults
