"""IAM policy documents."""

import json
from typing import Any

import pytest
from gatehouse_policies.analysis.iam import document as iam
from gatehouse_policies.analysis.iam.denials import denies_plain_http, denies_policy_changes
from gatehouse_policies.analysis.iam.grammar import Document, DocumentError, parse
from gatehouse_policies.analysis.iam.strangers import access
from hypothesis import given, settings
from hypothesis import strategies as st
from pulumi_local.outputs.policy_documents import policy_document

from tests.cases import cases
from tests.policies.rules.builders import tls_only

_CASES = cases(__file__)

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
        access(result)
        denies_plain_http(result)
        iam.allows_everything(result)


MALFORMED: list[Any] = [*_CASES["malformed"], (None, "the policy document must be an object")]


@pytest.mark.parametrize(("document", "error"), MALFORMED)
def test_malformed_document_is_rejected(document: Any, error: str) -> None:
    with pytest.raises(DocumentError) as caught:
        parse(document)
    assert str(caught.value) == error


def without_tls(**changes: Any) -> Document:
    return parse({"Statement": [{**tls_only("acme")[0], **changes}]})


@pytest.mark.parametrize(
    ("changes", "denies"), _CASES["plain_http_denial_covers_bucket_and_objects"]
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
    [*_CASES["policy_change_denial"], ({"Action": None, "NotAction": "s3:GetObject"}, True)],
)
def test_policy_change_denial(changes: dict[str, Any], locked: bool) -> None:
    assert denies_policy_changes(parsed(Effect="Deny", **changes)) is locked


WORDS = st.lists(st.text("abc:*-/", min_size=1, max_size=8), min_size=1, max_size=3)


@given(
    st.lists(st.fixed_dictionaries({"actions": WORDS, "resources": WORDS}), min_size=1, max_size=4)
)
def test_documents_of_the_provider_function_are_parsed(statements: list[dict[str, Any]]) -> None:
    assert len(parse(policy_document({"statements": statements})["json"]).allows) == len(statements)
