"""The form of an IAM policy document: plain dictionaries, written as JSON at the last moment and always in the same
order."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

Statement = dict[str, Any]
Document = dict[str, Any]
Conditions = Mapping[str, Mapping[str, str | Sequence[str]]]
"""Operator, then condition key, then the value or values: {"StringEquals": {"aws:SourceAccount": "123456789012"}}."""

ANYONE = "*"


def allow(
    sid: str,
    actions: Sequence[str],
    resources: Sequence[str],
    *,
    principal: str | Mapping[str, str | Sequence[str]] | None = None,
    conditions: Conditions | None = None,
) -> Statement:
    """A statement that grants. `principal` is for resource policies only."""
    return _statement("Allow", sid, actions, resources, principal, conditions)


def deny(sid: str, actions: Sequence[str], resources: Sequence[str], *, conditions: Conditions | None = None) -> Statement:
    """A statement in a resource policy that refuses everybody to whom the conditions apply."""
    return _statement("Deny", sid, actions, resources, ANYONE, conditions)


def document(*statements: Statement) -> Document:
    """A whole document."""
    return {"Version": "2012-10-17", "Statement": list(statements)}


def trust(service: str, *, account: str = "", source_arn: str = "") -> Document:
    """Who may take a role: one AWS service, where the service can tell acting for our account and this source.

    That keeps it from being another account's confused deputy; each service documents which of the two it sends, and a
    condition on one that it does not send would lock it out.
    """
    statement: Statement = {
        "Sid": "ServiceTakesRole",
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": "sts:AssumeRole",
    }
    conditions = {
        **({"StringEquals": {"aws:SourceAccount": account}} if account else {}),
        **({"ArnLike": {"aws:SourceArn": source_arn}} if source_arn else {}),
    }
    return document(statement | ({"Condition": conditions} if conditions else {}))


def render(policy: Document) -> str:
    """The document as the string AWS takes."""
    return json.dumps(policy, separators=(",", ":"))


def _statement(
    effect: str,
    sid: str,
    actions: Sequence[str],
    resources: Sequence[str],
    principal: str | Mapping[str, str | Sequence[str]] | None,
    conditions: Conditions | None,
) -> Statement:
    statement: Statement = {"Sid": sid, "Effect": effect}
    if principal is not None:
        statement["Principal"] = principal
    statement |= {"Action": list(actions), "Resource": list(resources)}
    if conditions:
        statement["Condition"] = {operator: dict(keys) for operator, keys in conditions.items()}
    return statement
