"""IAM evaluation."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from gatehouse_policies.analysis.iam.conditions import Context, holds
from gatehouse_policies.analysis.iam.grammar import DocumentError, matches, parse_conditions
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import cases
from tests.iam_evaluation import Call, Effect, decide

_CASES = cases(__file__)

ACCOUNT = "123456789012"
OTHER = "999999999999"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/app"
ROOT = f"arn:aws:iam::{ACCOUNT}:root"
OBJECT = "arn:aws:s3:::papers/open/a.txt"
VECTORS: dict[str, tuple[dict[str, Any], Context, bool]] = tomllib.loads(
    Path(__file__).with_name("condition_vectors.toml").read_text()
)
TAGS = {"aws:TagKeys": ["stage", "owner"]}


def statement(effect: str, action: Any, resource: Any = "*", **elements: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": action, "Resource": resource, **elements}


def document(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(rows)}


def call(
    action: str = "s3:GetObject", resource: str = OBJECT, *, principal: str = ROLE, **context: str
) -> Call:
    return Call(
        principal,
        action,
        resource,
        {key.replace("__", ":"): value for key, value in context.items()},
    )


def for_principal(principal: str, action: str = "s3:GetObject") -> dict[str, Any]:
    return document(statement("Allow", action, Principal={"AWS": principal}))


READ, KEY_USE = (
    document(statement("Allow", "s3:GetObject")),
    document(statement("Allow", "kms:Decrypt")),
)
OWN, FOREIGN = {"owner": ACCOUNT}, {"owner": OTHER}


# IAM user guide, "Policy evaluation logic" and "Cross-account policy evaluation logic"
@pytest.mark.parametrize(
    ("policies", "allowed"),
    [
        ({}, False),
        ({"identity": [READ]}, True),
        ({"resource": for_principal(ROLE), **OWN}, True),
        ({"resource": for_principal(ROOT), **OWN}, False),
        ({"identity": [READ], "resource": for_principal(ROLE), **FOREIGN}, True),
        ({"identity": [READ], **FOREIGN}, False),
        ({"resource": for_principal(ROLE), **FOREIGN}, False),
        (FOREIGN, False),
    ],
)
def test_allowing_policies(policies: dict[str, Any], allowed: bool) -> None:
    assert decide(call(), **policies) is (Effect.ALLOWED if allowed else Effect.NOT_ALLOWED)


# KMS developer guide, "Key policies" and "Determining access to AWS KMS keys"
@pytest.mark.parametrize(
    ("identity", "key_policy", "allowed"),
    [
        ([document(statement("Allow", "kms:*"))], document(), False),
        ([KEY_USE], for_principal(ROOT, "kms:*"), True),
        ([], for_principal(ROOT, "kms:*"), False),
        ([], for_principal(ROLE, "kms:Decrypt"), True),
    ],
)
def test_key_policy_decides(
    identity: list[dict[str, Any]], key_policy: dict[str, Any], allowed: bool
) -> None:
    assert (
        decide(
            call("kms:Decrypt", "key"),
            identity=identity,
            resource=key_policy,
            resource_decides=True,
        ).allowed
        is allowed
    )


@pytest.mark.parametrize("side", ["identity", "resource", "limits"])
def test_explicit_deny_overrides_allow(side: str) -> None:
    allowing = document(statement("Allow", "s3:*"))
    denying = document(statement("Allow", "s3:*"), statement("Deny", "s3:GetObject"))
    on_resource = document(
        *(
            {**row, "Principal": "*"}
            for row in (denying if side == "resource" else allowing)["Statement"]
        )
    )
    decision = decide(
        call(),
        identity=[denying if side == "identity" else allowing],
        resource=on_resource,
        limits=[denying if side == "limits" else allowing],
    )
    assert decision is Effect.DENIED


def test_permissions_boundary_limits_and_does_not_grant() -> None:
    wide, narrow = (
        document(statement("Allow", "s3:*")),
        document(statement("Allow", "s3:ListBucket")),
    )
    assert not decide(call(), limits=[wide]).allowed
    assert not decide(call(), identity=[wide], limits=[narrow]).allowed
    assert decide(call("s3:ListBucket"), identity=[wide], limits=[narrow]).allowed


def test_service_principal_is_matched_by_name() -> None:
    policy = document(
        statement("Allow", "sts:AssumeRole", Principal={"Service": "ecs-tasks.amazonaws.com"})
    )
    assert decide(
        call("sts:AssumeRole", ROLE, principal="ecs-tasks.amazonaws.com"),
        resource=policy,
        resource_decides=True,
    ).allowed
    assert not decide(
        call("sts:AssumeRole", ROLE, principal="lambda.amazonaws.com"),
        resource=policy,
        resource_decides=True,
    ).allowed


@pytest.mark.parametrize(("condition", "context", "expected"), VECTORS.values(), ids=VECTORS.keys())
def test_condition_vectors(condition: dict[str, Any], context: Context, expected: bool) -> None:
    assert holds(parse_conditions(condition), context, variables=True) is expected


@pytest.mark.parametrize(
    ("resource", "granted"),
    [
        ("arn:aws:s3:::papers/*", True),
        ("arn:aws:s3:::papers/open/?.txt", True),
        ("arn:aws:s3:::Papers/*", False),
        ("arn:aws:s3:::papers", False),
        ("*", True),
    ],
)
def test_resource_matching_is_case_sensitive(resource: str, granted: bool) -> None:
    assert (
        decide(call(), identity=[document(statement("Allow", "s3:GetObject", resource))]).allowed
        is granted
    )


def test_version_2008_document_has_no_variables() -> None:
    row = statement("Allow", "s3:GetObject", "arn:aws:s3:::papers/${aws:username}")
    request = call(resource="arn:aws:s3:::papers/ann", aws__username="ann")
    assert decide(request, identity=[document(row)]).allowed
    assert not decide(request, identity=[{"Version": "2008-10-17", "Statement": row}]).allowed


@pytest.mark.parametrize(("row", "message"), _CASES["unsupported_element_is_an_error"])
def test_unsupported_element_is_an_error(row: dict[str, Any], message: str) -> None:
    with pytest.raises(DocumentError, match=message):
        decide(Call(ROLE, "s3:GetObject", OBJECT, TAGS), identity=[document(row)])


contexts = st.dictionaries(st.sampled_from(["a:b", "a:c"]), st.sampled_from(["true", "false", "x"]))


@pytest.mark.parametrize(
    ("operator", "negation"),
    [
        ("StringEquals", "StringNotEquals"),
        ("StringLike", "StringNotLike"),
        ("ArnLike", "ArnNotLike"),
        ("NumericEquals", "NumericNotEquals"),
        ("IpAddress", "NotIpAddress"),
    ],
)
@given(
    expected=st.lists(st.sampled_from(["x", "1", "x*", "10.0.0.0/8"]), min_size=1), context=contexts
)
def test_operator_and_negation_differ(
    operator: str, negation: str, expected: list[str], context: Context
) -> None:
    results = {
        holds(parse_conditions({name: {"a:c": expected}}), context, variables=True)
        for name in (operator, negation)
    }
    assert results == {True, False}


def matches_recursively(pattern: str, text: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(matches_recursively(pattern[1:], text[index:]) for index in range(len(text) + 1))
    return (
        bool(text)
        and (pattern[0] == "?" or pattern[0] == text[0])
        and matches_recursively(pattern[1:], text[1:])
    )


@given(st.text(alphabet="ab*?.\n(", max_size=7), st.text(alphabet="ab.\n(", max_size=7))
def test_wildcards_match_reference_implementation(pattern: str, text: str) -> None:
    assert matches(text, pattern) is matches_recursively(pattern, text)


def test_many_wildcards_take_no_exponential_time() -> None:
    assert not matches(60 * "a", 60 * "*" + "b")
