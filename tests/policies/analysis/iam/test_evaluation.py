"""IAM evaluation: test vectors from AWS documentation, and properties of conditions."""

from typing import Any

import pytest
from gatehouse_policies.analysis.iam.conditions import Context, holds
from gatehouse_policies.analysis.iam.grammar import DocumentError, matches, parse_conditions
from hypothesis import given
from hypothesis import strategies as st

from tests.iam_evaluation import Call, Effect, decide

ACCOUNT = "123456789012"
OTHER = "999999999999"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/app"
ROOT = f"arn:aws:iam::{ACCOUNT}:root"
OBJECT = "arn:aws:s3:::papers/open/a.txt"
TEAMS = {"aws:PrincipalTag/team": ["finance", "legal"]}
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


# IAM user guide, "Condition operators" and "Single-valued vs. multivalued context keys"

VECTORS: list[tuple[str, dict[str, Any], Context, bool]] = [
    ("values are alternatives", {"StringEquals": TEAMS}, {"aws:PrincipalTag/team": "legal"}, True),
    (
        "keys of one operator must all match",
        {"StringEquals": {**TEAMS, "a:b": "c"}},
        {"aws:PrincipalTag/team": "legal"},
        False,
    ),
    (
        "operators must all match",
        {"StringEquals": TEAMS, "Bool": {"a:b": "true"}},
        {"aws:PrincipalTag/team": "legal"},
        False,
    ),
    (
        "the name of a key has no case",
        {"StringEquals": {"AWS:sourceip": "x"}},
        {"aws:SourceIp": "x"},
        True,
    ),
    ("the value of a key has case", {"StringEquals": {"a:b": "X"}}, {"a:b": "x"}, False),
    ("IgnoreCase", {"StringEqualsIgnoreCase": {"a:b": "X"}}, {"a:b": "x"}, True),
    ("StringEquals knows no wildcard", {"StringEquals": {"a:b": "x*"}}, {"a:b": "xy"}, False),
    ("StringLike does", {"StringLike": {"a:b": "x*?"}}, {"a:b": "xyz"}, True),
    (
        "none of many may match under Not",
        {"StringNotEquals": TEAMS},
        {"aws:PrincipalTag/team": "legal"},
        False,
    ),
    ("an absent key never equals", {"StringEquals": TEAMS}, {}, False),
    ("an absent key is never equal", {"StringNotEquals": TEAMS}, {}, True),
    ("IfExists passes an absent key", {"StringEqualsIfExists": TEAMS}, {}, True),
    (
        "IfExists looks at a present one",
        {"StringEqualsIfExists": TEAMS},
        {"aws:PrincipalTag/team": "sales"},
        False,
    ),
    ("Bool", {"Bool": {"aws:SecureTransport": "false"}}, {"aws:SecureTransport": "false"}, True),
    ("Bool of an absent key", {"Bool": {"aws:SecureTransport": "false"}}, {}, False),
    ("BoolIfExists of an absent key", {"BoolIfExists": {"aws:SecureTransport": "false"}}, {}, True),
    ("Null true: must be absent", {"Null": {"a:b": "true"}}, {}, True),
    ("Null false: must be present", {"Null": {"a:b": "false"}}, {}, False),
    ("Null false of a present key", {"Null": {"a:b": "false"}}, {"a:b": "x"}, True),
    (
        "numbers are compared as numbers",
        {"NumericLessThan": {"s3:TlsVersion": "1.2"}},
        {"s3:TlsVersion": "1.1"},
        True,
    ),
    (
        "a bound is not below itself",
        {"NumericLessThan": {"s3:TlsVersion": "1.2"}},
        {"s3:TlsVersion": "1.2"},
        False,
    ),
    ("text is no number", {"NumericEquals": {"a:b": "1"}}, {"a:b": "one"}, False),
    (
        "dates",
        {"DateGreaterThan": {"a:b": "2020-01-01T00:00:00Z"}},
        {"a:b": "2021-01-01T00:00:00Z"},
        True,
    ),
    (
        "networks",
        {"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}},
        {"aws:SourceIp": "203.0.113.9"},
        True,
    ),
    (
        "not these networks",
        {"NotIpAddress": {"aws:SourceIp": "203.0.113.0/24"}},
        {"aws:SourceIp": "203.0.113.9"},
        False,
    ),
    (
        "IPv6",
        {"IpAddress": {"aws:SourceIp": "2001:db8::/32"}},
        {"aws:SourceIp": "2001:db8::1"},
        True,
    ),
    (
        "ARN parts have wildcards",
        {"ArnLike": {"a:b": "arn:aws:sns:*:1:topic-*"}},
        {"a:b": "arn:aws:sns:eu-west-1:1:topic-9"},
        True,
    ),
    (
        "no wildcard over a colon",
        {"ArnLike": {"a:b": "arn:aws:sns:*:topic"}},
        {"a:b": "arn:aws:sns:eu-west-1:1:topic"},
        False,
    ),
    (
        "ArnEquals is ArnLike",
        {"ArnEquals": {"a:b": "arn:aws:s3:::x*"}},
        {"a:b": "arn:aws:s3:::xyz"},
        True,
    ),
    ("ArnNotLike of an absent key", {"ArnNotLike": {"a:b": "arn:aws:s3:::x"}}, {}, True),
    (
        "ForAnyValue: one is enough",
        {"ForAnyValue:StringEquals": {"aws:TagKeys": ["stage", "x"]}},
        TAGS,
        True,
    ),
    ("ForAnyValue: none", {"ForAnyValue:StringEquals": {"aws:TagKeys": ["x"]}}, TAGS, False),
    (
        "ForAnyValue of an absent key",
        {"ForAnyValue:StringEquals": {"aws:TagKeys": ["x"]}},
        {},
        False,
    ),
    (
        "ForAnyValue Not: one that is none of them",
        {"ForAnyValue:StringNotEquals": {"aws:TagKeys": ["stage"]}},
        TAGS,
        True,
    ),
    (
        "ForAnyValue Not: all are of them",
        {"ForAnyValue:StringNotEquals": {"aws:TagKeys": ["stage", "owner"]}},
        TAGS,
        False,
    ),
    (
        "ForAllValues: every one",
        {"ForAllValues:StringEquals": {"aws:TagKeys": ["stage", "owner", "x"]}},
        TAGS,
        True,
    ),
    (
        "ForAllValues: one is not",
        {"ForAllValues:StringEquals": {"aws:TagKeys": ["stage"]}},
        TAGS,
        False,
    ),
    (
        "ForAllValues of an absent key: the trap",
        {"ForAllValues:StringEquals": {"aws:TagKeys": ["stage"]}},
        {},
        True,
    ),
    (
        "a variable",
        {"StringEquals": {"a:b": "${aws:username}"}},
        {"a:b": "ann", "aws:username": "ann"},
        True,
    ),
    (
        "a variable without value",
        {"StringEquals": {"a:b": "${aws:username}"}},
        {"a:b": "ann"},
        False,
    ),
    (
        "a variable's default",
        {"StringEquals": {"a:b": "${aws:username, 'ann'}"}},
        {"a:b": "ann"},
        True,
    ),
    (
        "a star in a value is no wildcard",
        {"StringLike": {"a:b": "${a:c}"}},
        {"a:b": "xyz", "a:c": "x*"},
        False,
    ),
    ("a star that is meant", {"StringLike": {"a:b": "x${*}"}}, {"a:b": "xy"}, False),
]


@pytest.mark.parametrize(
    ("condition", "context", "expected"),
    [row[1:] for row in VECTORS],
    ids=[row[0] for row in VECTORS],
)
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


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"Effect": "Allow", "NotPrincipal": "*", "Action": "*", "Resource": "*"},
            "unsupported element NotPrincipal",
        ),
        ({"Effect": "allow", "Action": "*", "Resource": "*"}, "Effect must be Allow or Deny"),
        (
            statement("Allow", "*", Condition={"StringIs": {"a": "b"}}),
            "there is no condition operator 'stringis'",
        ),
        (
            statement("Allow", "*", Condition={"ForAnyValue:BoolIfExists": {"a": "b"}}),
            "has no effect with ForAnyValue",
        ),
        (
            statement("Allow", "*", Condition={"StringEquals": {"aws:TagKeys": "a"}}),
            "requires ForAnyValue or ForAllValues",
        ),
    ],
)
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
    """Reference implementation of `*` and `?`."""
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
