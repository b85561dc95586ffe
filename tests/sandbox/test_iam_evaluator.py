"""The evaluator decides as AWS says that IAM does: published facts as vectors, and laws that hold for every document."""

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.analysis.iam.conditions import Context, UnreadableDocument, glob, holds
from policies.analysis.iam.evaluation import Call, Effect, decide

ACCOUNT = "123456789012"
OTHER = "999999999999"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/app"
ROOT = f"arn:aws:iam::{ACCOUNT}:root"
OBJECT = "arn:aws:s3:::papers/open/a.txt"
TEAMS = {"aws:PrincipalTag/team": ["finance", "legal"]}
TAGS = {"aws:TagKeys": ["stage", "owner"]}


def statement(effect: str, action: Any, resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": action, "Resource": resource, **more}


def document(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(rows)}


def call(action: str = "s3:GetObject", resource: str = OBJECT, *, principal: str = ROLE, **context: str) -> Call:
    return Call(principal, action, resource, {key.replace("__", ":"): value for key, value in context.items()})


# --- IAM user guide, "Policy evaluation logic", and its page for requests within one account


def test_nothing_said_is_nothing_allowed() -> None:
    assert decide(call()).effect is Effect.NOT_ALLOWED


def test_an_identity_policy_alone_is_enough_in_one_account() -> None:
    assert decide(call(), identity=[document(statement("Allow", "s3:GetObject"))]).allowed


def test_a_resource_policy_that_names_the_role_is_enough_in_one_account() -> None:
    policy = document(statement("Allow", "s3:GetObject", Principal={"AWS": ROLE}))
    assert decide(call(), resource=policy, owner=ACCOUNT).allowed


def test_a_resource_policy_that_names_the_account_leaves_it_to_the_identity() -> None:
    policy = document(statement("Allow", "s3:GetObject", Principal={"AWS": ROOT}))
    assert not decide(call(), resource=policy, owner=ACCOUNT).allowed


@pytest.mark.parametrize("side", ["identity", "resource", "limits"])
def test_an_explicit_deny_wins_wherever_it_stands(side: str) -> None:
    allowing = document(statement("Allow", "s3:*"))
    denying = document(statement("Allow", "s3:*"), statement("Deny", "s3:GetObject"))
    on_resource = document(*({**row, "Principal": "*"} for row in (denying if side == "resource" else allowing)["Statement"]))
    decision = decide(
        call(),
        identity=[denying if side == "identity" else allowing],
        resource=on_resource,
        limits=[denying if side == "limits" else allowing],
    )
    assert decision.effect is Effect.DENIED


def test_a_boundary_grants_nothing_and_cuts_what_it_does_not_allow() -> None:
    wide, narrow = document(statement("Allow", "s3:*")), document(statement("Allow", "s3:ListBucket"))
    assert not decide(call(), limits=[wide]).allowed
    assert not decide(call(), identity=[wide], limits=[narrow]).allowed
    assert decide(call("s3:ListBucket"), identity=[wide], limits=[narrow]).allowed


@pytest.mark.parametrize(("identity", "resource", "allowed"), [(1, 1, True), (1, 0, False), (0, 1, False), (0, 0, False)])
def test_across_accounts_both_sides_must_allow(identity: int, resource: int, allowed: bool) -> None:
    mine = [document(statement("Allow", "s3:GetObject"))] if identity else []
    theirs = document(statement("Allow", "s3:GetObject", Principal={"AWS": ROLE})) if resource else None
    assert decide(call(), identity=mine, resource=theirs, owner=OTHER).allowed is allowed


# --- KMS developer guide, "Key policies" and "Determining access to AWS KMS keys"


def test_a_key_is_used_by_nobody_whom_its_policy_does_not_let_in() -> None:
    mine = [document(statement("Allow", "kms:*"))]
    assert not decide(call("kms:Decrypt", "key"), identity=mine, resource=document(), resource_decides=True).allowed


@pytest.mark.parametrize(("identity", "allowed"), [(True, True), (False, False)])
def test_a_key_policy_that_names_the_account_hands_the_decision_to_iam(identity: bool, allowed: bool) -> None:
    policy = document(statement("Allow", "kms:*", Principal={"AWS": ROOT}))
    mine = [document(statement("Allow", "kms:Decrypt"))] if identity else []
    assert decide(call("kms:Decrypt", "key"), identity=mine, resource=policy, resource_decides=True).allowed is allowed


def test_a_key_policy_that_names_the_role_needs_no_identity_policy() -> None:
    policy = document(statement("Allow", "kms:Decrypt", Principal={"AWS": ROLE}))
    assert decide(call("kms:Decrypt", "key"), resource=policy, resource_decides=True).allowed


def test_a_service_is_let_in_by_its_name_alone() -> None:
    policy = document(statement("Allow", "sts:AssumeRole", Principal={"Service": "ecs-tasks.amazonaws.com"}))
    assert decide(
        call("sts:AssumeRole", ROLE, principal="ecs-tasks.amazonaws.com"), resource=policy, resource_decides=True
    ).allowed
    assert not decide(
        call("sts:AssumeRole", ROLE, principal="lambda.amazonaws.com"), resource=policy, resource_decides=True
    ).allowed


# --- IAM user guide, "Condition operators" and "Single-valued vs. multivalued context keys"

VECTORS: list[tuple[str, dict[str, Any], Context, bool]] = [
    ("values are alternatives", {"StringEquals": TEAMS}, {"aws:PrincipalTag/team": "legal"}, True),
    ("keys of one operator must all match", {"StringEquals": {**TEAMS, "a:b": "c"}}, {"aws:PrincipalTag/team": "legal"}, False),
    ("operators must all match", {"StringEquals": TEAMS, "Bool": {"a:b": "true"}}, {"aws:PrincipalTag/team": "legal"}, False),
    ("the name of a key has no case", {"StringEquals": {"AWS:sourceip": "x"}}, {"aws:SourceIp": "x"}, True),
    ("the value of a key has case", {"StringEquals": {"a:b": "X"}}, {"a:b": "x"}, False),
    ("IgnoreCase", {"StringEqualsIgnoreCase": {"a:b": "X"}}, {"a:b": "x"}, True),
    ("StringEquals knows no wildcard", {"StringEquals": {"a:b": "x*"}}, {"a:b": "xy"}, False),
    ("StringLike does", {"StringLike": {"a:b": "x*?"}}, {"a:b": "xyz"}, True),
    ("none of many may match under Not", {"StringNotEquals": TEAMS}, {"aws:PrincipalTag/team": "legal"}, False),
    ("an absent key never equals", {"StringEquals": TEAMS}, {}, False),
    ("an absent key is never equal", {"StringNotEquals": TEAMS}, {}, True),
    ("IfExists passes an absent key", {"StringEqualsIfExists": TEAMS}, {}, True),
    ("IfExists looks at a present one", {"StringEqualsIfExists": TEAMS}, {"aws:PrincipalTag/team": "sales"}, False),
    ("Bool", {"Bool": {"aws:SecureTransport": "false"}}, {"aws:SecureTransport": "false"}, True),
    ("Bool of an absent key", {"Bool": {"aws:SecureTransport": "false"}}, {}, False),
    ("BoolIfExists of an absent key", {"BoolIfExists": {"aws:SecureTransport": "false"}}, {}, True),
    ("Null true: must be absent", {"Null": {"a:b": "true"}}, {}, True),
    ("Null false: must be present", {"Null": {"a:b": "false"}}, {}, False),
    ("Null false of a present key", {"Null": {"a:b": "false"}}, {"a:b": "x"}, True),
    ("numbers are compared as numbers", {"NumericLessThan": {"s3:TlsVersion": "1.2"}}, {"s3:TlsVersion": "1.1"}, True),
    ("a bound is not below itself", {"NumericLessThan": {"s3:TlsVersion": "1.2"}}, {"s3:TlsVersion": "1.2"}, False),
    ("text is no number", {"NumericEquals": {"a:b": "1"}}, {"a:b": "one"}, False),
    ("dates", {"DateGreaterThan": {"a:b": "2020-01-01T00:00:00Z"}}, {"a:b": "2021-01-01T00:00:00Z"}, True),
    ("networks", {"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}, {"aws:SourceIp": "203.0.113.9"}, True),
    ("not these networks", {"NotIpAddress": {"aws:SourceIp": "203.0.113.0/24"}}, {"aws:SourceIp": "203.0.113.9"}, False),
    ("IPv6", {"IpAddress": {"aws:SourceIp": "2001:db8::/32"}}, {"aws:SourceIp": "2001:db8::1"}, True),
    (
        "ARN parts have wildcards",
        {"ArnLike": {"a:b": "arn:aws:sns:*:1:topic-*"}},
        {"a:b": "arn:aws:sns:eu-west-1:1:topic-9"},
        True,
    ),
    ("no wildcard over a colon", {"ArnLike": {"a:b": "arn:aws:sns:*:topic"}}, {"a:b": "arn:aws:sns:eu-west-1:1:topic"}, False),
    ("ArnEquals is ArnLike", {"ArnEquals": {"a:b": "arn:aws:s3:::x*"}}, {"a:b": "arn:aws:s3:::xyz"}, True),
    ("ArnNotLike of an absent key", {"ArnNotLike": {"a:b": "arn:aws:s3:::x"}}, {}, True),
    ("ForAnyValue: one is enough", {"ForAnyValue:StringEquals": {"aws:TagKeys": ["stage", "x"]}}, TAGS, True),
    ("ForAnyValue: none", {"ForAnyValue:StringEquals": {"aws:TagKeys": ["x"]}}, TAGS, False),
    ("ForAnyValue of an absent key", {"ForAnyValue:StringEquals": {"aws:TagKeys": ["x"]}}, {}, False),
    ("ForAnyValue Not: one that is none of them", {"ForAnyValue:StringNotEquals": {"aws:TagKeys": ["stage"]}}, TAGS, True),
    ("ForAnyValue Not: all are of them", {"ForAnyValue:StringNotEquals": {"aws:TagKeys": ["stage", "owner"]}}, TAGS, False),
    ("ForAllValues: every one", {"ForAllValues:StringEquals": {"aws:TagKeys": ["stage", "owner", "x"]}}, TAGS, True),
    ("ForAllValues: one is not", {"ForAllValues:StringEquals": {"aws:TagKeys": ["stage"]}}, TAGS, False),
    ("ForAllValues of an absent key: the trap", {"ForAllValues:StringEquals": {"aws:TagKeys": ["stage"]}}, {}, True),
    ("a variable", {"StringEquals": {"a:b": "${aws:username}"}}, {"a:b": "ann", "aws:username": "ann"}, True),
    ("a variable without value", {"StringEquals": {"a:b": "${aws:username}"}}, {"a:b": "ann"}, False),
    ("a variable's default", {"StringEquals": {"a:b": "${aws:username, 'ann'}"}}, {"a:b": "ann"}, True),
    ("a star in a value is no wildcard", {"StringLike": {"a:b": "${a:c}"}}, {"a:b": "xyz", "a:c": "x*"}, False),
    ("a star that is meant", {"StringLike": {"a:b": "x${*}"}}, {"a:b": "xy"}, False),
]


@pytest.mark.parametrize(("condition", "context", "expected"), [row[1:] for row in VECTORS], ids=[row[0] for row in VECTORS])
def test_a_condition_holds_as_aws_says(condition: dict[str, Any], context: Context, expected: bool) -> None:
    assert holds(condition, context, variables=True) is expected


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
def test_a_resource_is_matched_with_case_and_wildcards(resource: str, granted: bool) -> None:
    assert decide(call(), identity=[document(statement("Allow", "s3:GetObject", resource))]).allowed is granted


def test_an_action_has_no_case_and_may_have_wildcards() -> None:
    assert decide(call(), identity=[document(statement("Allow", "S3:get*"))]).allowed


def test_old_documents_have_no_variables() -> None:
    row = statement("Allow", "s3:GetObject", "arn:aws:s3:::papers/${aws:username}")
    asked = call(resource="arn:aws:s3:::papers/ann", aws__username="ann")
    assert decide(asked, identity=[document(row)]).allowed
    assert not decide(asked, identity=[{"Version": "2008-10-17", "Statement": row}]).allowed


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"Effect": "Allow", "NotPrincipal": "*", "Action": "*", "Resource": "*"}, "cannot read NotPrincipal"),
        ({"Effect": "allow", "Action": "*", "Resource": "*"}, "Effect is 'allow'"),
        (statement("Allow", "*", Condition={"StringIs": {"a": "b"}}), "there is no condition operator 'StringIs'"),
        (statement("Allow", "*", Condition={"ForAnyValue:BoolIfExists": {"a": "b"}}), "has no effect under ForAnyValue"),
        (statement("Allow", "*", Condition={"StringEquals": {"aws:TagKeys": "a"}}), "needs ForAnyValue or ForAllValues"),
    ],
)
def test_what_is_not_understood_is_refused_and_not_guessed(row: dict[str, Any], message: str) -> None:
    with pytest.raises(UnreadableDocument, match=message):
        decide(Call(ROLE, "s3:GetObject", OBJECT, TAGS), identity=[document(row)])


# --- Laws

names = st.sampled_from(["s3:GetObject", "s3:PutObject", "s3:*", "*", "kms:Decrypt", "s3:Get?bject"])
resources = st.sampled_from([OBJECT, "arn:aws:s3:::papers/*", "*", "arn:aws:s3:::others/*"])
conditions = st.sampled_from([{}, {"Bool": {"a:b": "true"}}, {"StringNotEquals": {"a:c": "x"}}, {"Null": {"a:b": "true"}}])
rows = st.builds(
    lambda effect, action, resource, condition: statement(
        effect, action, resource, **({"Condition": condition} if condition else {})
    ),
    st.sampled_from(["Allow", "Deny"]),
    names,
    resources,
    conditions,
)
contexts = st.dictionaries(st.sampled_from(["a:b", "a:c"]), st.sampled_from(["true", "false", "x"]))
calls = st.builds(
    lambda action, context: Call(ROLE, action, OBJECT, context), st.sampled_from(["s3:GetObject", "kms:Decrypt"]), contexts
)


@given(st.lists(rows, max_size=4), calls)
def test_a_deny_on_everything_leaves_nothing(found: list[dict[str, Any]], asked: Call) -> None:
    assert decide(asked, identity=[document(*found, statement("Deny", "*"))]).effect is Effect.DENIED


@given(st.lists(rows, max_size=4), rows, calls)
def test_one_more_statement_moves_the_answer_only_its_own_way(
    found: list[dict[str, Any]], more: dict[str, Any], asked: Call
) -> None:
    before, after = (decide(asked, identity=[document(*some)]).effect for some in (found, [*found, more]))
    if more["Effect"] == "Allow":
        assert (before, after) in {(before, before), (Effect.NOT_ALLOWED, Effect.ALLOWED)}
    else:
        assert after in (before, Effect.DENIED)


@given(st.lists(rows, max_size=3), calls)
def test_neither_order_nor_document_changes_the_answer(found: list[dict[str, Any]], asked: Call) -> None:
    together = {decide(asked, identity=[document(*order)]).effect for order in permutations(found)}
    apart = decide(asked, identity=[document(row) for row in found]).effect
    assert together == {apart}


@given(names, calls)
def test_an_action_matches_either_a_pattern_or_its_negation(pattern: str, asked: Call) -> None:
    positive = decide(asked, identity=[document({"Effect": "Allow", "Action": pattern, "Resource": "*"})]).allowed
    negative = decide(asked, identity=[document({"Effect": "Allow", "NotAction": pattern, "Resource": "*"})]).allowed
    assert positive is not negative


@given(resources, calls)
def test_a_resource_matches_either_a_pattern_or_its_negation(pattern: str, asked: Call) -> None:
    positive = decide(asked, identity=[document({"Effect": "Allow", "Action": "*", "Resource": pattern})]).allowed
    negative = decide(asked, identity=[document({"Effect": "Allow", "Action": "*", "NotResource": pattern})]).allowed
    assert positive is not negative


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
@given(wanted=st.lists(st.sampled_from(["x", "1", "x*", "10.0.0.0/8"]), min_size=1), context=contexts)
def test_an_operator_and_its_negation_never_agree(operator: str, negation: str, wanted: list[str], context: Context) -> None:
    answers = {holds({name: {"a:c": wanted}}, context, variables=True) for name in (operator, negation)}
    assert answers == {True, False}


def plainly(pattern: str, text: str) -> bool:
    """The meaning of `*` and `?` by recursion, to hold the expression against."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(plainly(pattern[1:], text[index:]) for index in range(len(text) + 1))
    return bool(text) and (pattern[0] == "?" or pattern[0] == text[0]) and plainly(pattern[1:], text[1:])


@given(st.text(alphabet="ab*?.\n(", max_size=7), st.text(alphabet="ab.\n(", max_size=7))
def test_a_wildcard_means_what_it_means_by_hand(pattern: str, text: str) -> None:
    assert glob(pattern, text) is plainly(pattern, text)
