"""IAM policy documents as dictionaries, rendered to JSON in a stable order."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

Statement = dict[str, Any]
Document = dict[str, Any]
Conditions = Mapping[str, Mapping[str, str | Sequence[str]]]
"""Values by condition operator and condition key: {"StringEquals": {"aws:SourceAccount":
"123456789012"}}.
"""

ANYONE = "*"


def allow(
    sid: str,
    actions: str | Sequence[str],
    resources: Sequence[str],
    *,
    principal: str | Mapping[str, str | Sequence[str]] | None = None,
    conditions: Conditions | None = None,
) -> Statement:
    """Return an Allow statement.

    actions: The actions of one service as text, "s3:GetObject PutObject", or several such texts.
    """
    texts = [actions] if isinstance(actions, str) else actions
    statement: Statement = {"Sid": sid, "Effect": "Allow"}
    if principal is not None:
        statement["Principal"] = principal
    statement |= {
        "Action": [action for text in texts for action in action_list(text)],
        "Resource": list(resources),
    }
    if conditions:
        statement["Condition"] = {operator: dict(keys) for operator, keys in conditions.items()}
    return statement


def deny(
    sid: str,
    actions: str | Sequence[str],
    resources: Sequence[str],
    *,
    principal: str | None = ANYONE,
    conditions: Conditions | None = None,
) -> Statement:
    """Return a Deny statement for every principal that meets the conditions. `principal` is None in
    an identity-based policy.
    """
    allowed = allow(sid, actions, resources, principal=principal, conditions=conditions)
    return {**allowed, "Effect": "Deny"}


def deny_insecure_transport(actions: str | Sequence[str], resources: Sequence[str]) -> Statement:
    return deny(
        "DenyInsecureTransport",
        actions,
        resources,
        conditions={"Bool": {"aws:SecureTransport": "false"}},
    )


def deny_other_accounts(
    actions: str | Sequence[str], resources: Sequence[str], account: str
) -> Statement:
    conditions = {"StringNotEquals": {"aws:PrincipalAccount": account}}
    return deny("DenyOtherAccounts", actions, resources, conditions=conditions)


def document(*statements: Statement) -> Document:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def trust(service: str, *, account: str = "", source_arn: str = "") -> Document:
    """Return the trust policy of a role that one AWS service assumes.

    `account` and `source_arn` become conditions that prevent the confused deputy problem. Set only
    the keys that the trust policy in the documentation of the service contains: a condition on a
    key that the service does not send denies the service. The trust policies of CloudTrail, API
    Gateway, ECS infrastructure, S3 replication, AWS Backup and Lambda are documented
    without conditions. For these roles, iam:PassRole restricts who can pass them
    (docs/decisions/0041).
    """
    statement: Statement = {
        "Sid": "AllowServiceToAssumeRole",
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": "sts:AssumeRole",
    }
    conditions = _source(account, source_arn)
    return document(statement | ({"Condition": conditions} if conditions else {}))


def render(policy: Document) -> str:
    return json.dumps(policy, separators=(",", ":"))


def allow_service(
    service: str,
    sid: str,
    actions: str | Sequence[str],
    resources: Sequence[str],
    *,
    account: str = "",
    source_arn: str | Sequence[str] = "",
) -> Statement:
    """Return an Allow statement of a resource policy for an AWS service that acts on behalf of
    `account` or `source_arn`.
    """
    principal = {"Service": f"{service}.amazonaws.com"}
    return allow(
        sid, actions, resources, principal=principal, conditions=_source(account, source_arn)
    )


def allow_key_use(
    sid: str,
    actions: str | Sequence[str],
    principal: str | Mapping[str, str | Sequence[str]],
    conditions: Conditions | None = None,
) -> Statement:
    """Return an Allow statement of a key policy, whose resource "*" is the key itself."""
    return allow(sid, actions, ["*"], principal=principal, conditions=conditions)


def action_list(actions: str) -> list[str]:
    """Return the actions of one service: "s3:GetObject PutObject" expands to s3:GetObject and
    s3:PutObject.
    """
    service, _, names = actions.partition(":")
    return [f"{service}:{name}" for name in names.split()]


def _source(account: str, source_arn: str | Sequence[str]) -> Conditions:
    return {
        **({"StringEquals": {"aws:SourceAccount": account}} if account else {}),
        **({"ArnLike": {"aws:SourceArn": source_arn}} if source_arn else {}),
    }
