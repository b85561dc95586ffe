"""Decisions of prod's policies, and reasons for unused permissions."""

import pytest
from gatehouse_policies.analysis.iam.grammar import raw_statements

from tests.iam_evaluation import ALLOW_ALL, Call, Effect, decide
from tests.permission_reasons import granted, reasons
from tests.repository.iam_cases import REQUESTS
from tests.repository.iam_requests import ADMINISTRATOR, OTHER_ACCOUNT_ROLE, Request, decision
from tools.docs.iam_documents import NAMES, documents
from tools.docs.permissions import RESOURCE_POLICIES

REASON_CHARS_MIN = 20


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: request.case)
def test_request_is_decided_as_expected(request_: Request) -> None:
    assert decision(request_) is request_.expected


def test_every_resource_policy_is_described() -> None:
    kinds = {policy.kind for policy in documents().resource_policies}
    assert kinds <= set(RESOURCE_POLICIES), "describe the new type in RESOURCE_POLICIES"


def test_no_role_trusts_a_person_or_another_account() -> None:
    roles = documents().roles.values()
    assert len(roles) >= 10
    for role in roles:
        for principal in (ADMINISTRATOR, OTHER_ACCOUNT_ROLE):
            call = Call(principal, "sts:AssumeRole", role.arn)
            assert not decide(
                call,
                identity=[ALLOW_ALL],
                resource=role.trust,
                owner=NAMES.account,
                resource_decides=True,
            ).allowed


@pytest.mark.parametrize(
    "action", ["s3:GetObject", "s3:PutObject", "s3:DeleteBucket", "s3:PutBucketPolicy"]
)
@pytest.mark.parametrize(
    ("principal", "secure"), [(ADMINISTRATOR, "false"), (OTHER_ACCOUNT_ROLE, "true")]
)
def test_every_bucket_denies_plain_http_and_other_accounts(
    action: str, principal: str, secure: str
) -> None:
    buckets = [policy for policy in documents().resource_policies if policy.kind == "bucket"]
    assert len(buckets) >= 3
    for bucket in buckets:
        arn = str(raw_statements(bucket.document)[0]["Resource"][0])
        for resource in (arn, f"{arn}/x"):
            context = {"aws:SecureTransport": secure, "s3:TlsVersion": "1.3"}
            call = Call(principal, action, resource, context)
            effect = decide(call, identity=[ALLOW_ALL], resource=bucket.document)
            assert effect is Effect.DENIED, bucket.name


def test_reasons_are_given_for_granted_actions_only() -> None:
    assert set(reasons()) - granted() == set()
    assert [why for why in reasons().values() if len(why) < REASON_CHARS_MIN] == []


def test_roles_outside_the_sandbox_have_reasons() -> None:
    unverified = granted(in_sandbox=False)
    assert len(unverified) >= 20
    assert unverified - set(reasons()) == set(), (
        "the sandbox does not assume this role: add a reason to tests/permissions.toml"
    )
