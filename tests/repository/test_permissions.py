"""What the policy documents of a stack allow and deny, asked with conditions; docs/permissions.md shows the same questions."""

from __future__ import annotations

import pytest

from policies.analysis.iam.evaluation import Call, decide, statements
from tools.docs.iam_cases import QUESTIONS
from tools.docs.iam_decisions import ADMINISTRATOR, NAMES, STRANGER, Question, answer, documents
from tools.docs.permissions import KINDS, granted, reasons

ALL = [question for rows in QUESTIONS.values() for question in rows]
ENOUGH = 20


@pytest.mark.requirement("CG-17", "CG-18", "ECS-01")
@pytest.mark.parametrize("question", ALL, ids=lambda question: question.about)
def test_the_documents_answer(question: Question) -> None:
    assert answer(question).effect is question.expected


def test_every_document_of_the_stack_can_be_read_and_stands_on_the_page() -> None:
    found = documents()
    assert len(found.roles) >= 10
    for document in (*(role.trust for role in found.roles.values()), *(guarded.document for guarded in found.guarded)):
        assert statements(document)
    assert {guarded.kind for guarded in found.guarded} <= set(KINDS), "give the new kind a line in page_permissions.KINDS"


@pytest.mark.requirement("CG-18")
def test_a_role_is_taken_by_one_service_and_by_no_person_or_other_account() -> None:
    for role in documents().roles.values():
        for who in (ADMINISTRATOR, STRANGER):
            everything = {"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}
            call = Call(who, "sts:AssumeRole", role.arn)
            assert not decide(
                call, identity=[everything], resource=role.trust, owner=NAMES.account, resource_decides=True
            ).allowed


@pytest.mark.requirement("CG-16")
@pytest.mark.parametrize("action", ["s3:GetObject", "s3:PutObject", "s3:DeleteBucket", "s3:PutBucketPolicy"])
def test_no_bucket_answers_without_tls_or_to_another_account(action: str) -> None:
    buckets = [guarded for guarded in documents().guarded if guarded.kind == "bucket"]
    assert len(buckets) >= 3
    everything = {"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}
    for bucket in buckets:
        on = str(statements(bucket.document)[0]["Resource"][0])
        for who, context in ((ADMINISTRATOR, {"aws:SecureTransport": "false"}), (STRANGER, {"aws:SecureTransport": "true"})):
            for resource in (on, f"{on}/x"):
                call = Call(who, action, resource, context)
                assert not decide(call, identity=[everything], resource=bucket.document, owner=NAMES.account).allowed, bucket.name


def test_a_reason_is_given_for_what_is_granted_and_for_nothing_else() -> None:
    assert set(reasons()) - granted() == set()
    assert [why for why in reasons().values() if len(why) < ENOUGH] == []


@pytest.mark.requirement("CG-18")
def test_what_a_service_of_aws_does_by_itself_is_never_called_used() -> None:
    assert len(granted(taken_here=False)) >= ENOUGH
    assert granted(taken_here=False) - set(reasons()) == set(), "the sandbox does not work under this role: give a reason"
