"""A wildcard in the part of a pattern that says whose it is admits others, at every place of every
issuer, key and operator; behind that part, it does not.
"""

from typing import Any

import pytest
from gatehouse_policies.analysis.iam import federation
from gatehouse_policies.analysis.iam.strangers import access

from tests.policies.analysis.iam.test_document import ACCOUNT, parsed

# Issuer, and a subject whose tenant is between the bars.
SUBJECTS = [
    ("token.actions.githubusercontent.com", "repo:|acme/shop|:environment:prod"),
    ("token.actions.githubusercontent.com/acme", "repo:|acme/shop|:ref:refs/tags/v1"),
    ("github.acme.example/_services/token", "repo:|acme/shop|:ref:refs/heads/main"),
    ("gitlab.com", "project_path:|acme|/shop:ref_type:branch:ref:main"),
    ("gitlab.acme.example", "project_path:|acme|/shop:ref_type:branch:ref:main"),
    ("app.terraform.io", "organization:|acme|:project:p:workspace:w:run_phase:apply"),
    ("agent.buildkite.com", "organization:|acme|:pipeline:deploy:ref:refs/heads/main"),
    ("oidc.circleci.com/org/1", "org/|4c2f|/project/p1/user/u1"),
    ("oidc.vercel.com/acme", "owner:|acme|:project:shop:environment:production"),
    ("api.pulumi.com/oidc", "pulumi:deploy:org:|acme|:project:shop:stack:prod"),
    ("oidc.eks.eu-west-1.amazonaws.com/id/A", "system:serviceaccount:|apps|:gateway"),
    ("api.bitbucket.org/2.0/workspaces/acme/pipelines-config/identity/oidc", "|{a1b2-c3}|:{d4}"),
    ("tokens.example", "space:|acme|:stack:shop"),
]


def _defects(issuer: str, subject: str) -> tuple[str, ...]:
    condition = {
        "StringEquals": {f"{issuer}:aud": "sts.amazonaws.com"},
        "StringLike": {f"{issuer}:sub": subject},
    }
    document = parsed(
        Principal={"Federated": f"arn:aws:iam::{ACCOUNT}:oidc-provider/{issuer}"},
        Action="sts:AssumeRoleWithWebIdentity",
        Resource=None,
        Condition=condition,
    )
    return federation.federation_defects(document) + federation.github_trust_defects(document)


@pytest.mark.parametrize(("issuer", "subject"), SUBJECTS)
def test_wildcard_in_the_tenant_is_a_defect(issuer: str, subject: str) -> None:
    prefix, tenant, rest = subject.split("|")
    assert _defects(issuer, prefix + tenant + rest) == ()
    assert _defects(issuer, f"{prefix}{tenant}{rest[:-1]}?") == ()
    for place in range(len(tenant) + 1):
        for wildcard in ("*", "?", "?*"):
            for end in (tenant[place:], tenant[place + 1 :], ""):
                pattern = f"{prefix}{tenant[:place]}{wildcard}{end}{rest}"
                assert _defects(issuer, pattern), pattern
    for place in range(len(prefix)):
        assert _defects(issuer, f"{prefix[:place]}*{rest}"), place


# Key, operator, and a value whose owner is between the bars.
VALUES = [
    ("aws:PrincipalOrgID", "StringLike", "|o-a1b2c3d4e5|"),
    ("aws:PrincipalOrgPaths", "ForAnyValue:StringLike", "|o-a1b2c3d4e5/|r-ab12/*"),
    ("aws:PrincipalAccount", "StringLike", f"|{ACCOUNT}|"),
    ("aws:PrincipalArn", "ArnLike", f"arn:aws:iam::|{ACCOUNT}|:role/deploy"),
    ("aws:PrincipalArn", "StringLike", f"arn:aws:iam::|{ACCOUNT}|:role/deploy"),
    ("aws:userid", "StringLike", "|AROAJQABLZS4A3QDU576Q:|session"),
    ("aws:SourceArn", "ArnLike", f"arn:aws:cloudtrail:eu-west-1:|{ACCOUNT}|:trail/t"),
    ("aws:SourceArn", "ArnEquals", "arn:aws:s3:::|acme-in|"),
    ("aws:SourceArn", "StringLike", "arn:aws:s3:::|acme-in|"),
    ("aws:SourceAccount", "StringLike", f"|{ACCOUNT}|"),
    ("aws:SourceOrgID", "StringLike", "|o-a1b2c3d4e5|"),
    ("aws:SourceVpc", "StringLike", "|vpc-0a1b2c3d|"),
    ("aws:SourceVpce", "StringLike", "|vpce-0a1b2c3d|"),
]
OWN = {ACCOUNT, "o-a1b2c3d4e5", "AROAJQABLZS4A3QDU576Q", "network vpc-0a1b2c3d"}
OWN |= {"network vpce-0a1b2c3d"}


def _admits_others(key: str, operator: str, *values: str) -> bool:
    principal: Any = "*"
    if key.startswith(("aws:SourceA", "aws:SourceOrg")):
        principal = {"Service": "s3.amazonaws.com"}
    found = access(parsed(Principal=principal, Condition={operator: {key: list(values)}}))
    return found.everyone or bool(found.services) or bool(found.others(OWN))


@pytest.mark.parametrize(("key", "operator", "value"), VALUES)
def test_wildcard_in_the_owner_admits_others(key: str, operator: str, value: str) -> None:
    prefix, owner, rest = value.split("|")
    own = prefix + owner + rest
    assert not _admits_others(key, operator, own)
    if rest:
        assert not _admits_others(key, operator, f"{prefix}{owner}{rest[0]}*")
    for place in range(len(owner)):
        for wildcard in ("*", "?"):
            for end in ("", owner[place + 1 :]):
                # Without the end of the owner, a `?` has no other requester's length.
                if end or wildcard == "*" or place == len(owner) - 1:
                    pattern = f"{prefix}{owner[:place]}{wildcard}{end}{rest}"
                    assert _admits_others(key, operator, own, pattern), pattern
