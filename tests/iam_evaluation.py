"""Evaluation of an AWS request against policy documents: explicit deny, then allow, then implicit
deny.

Sources: IAM user guide, "Policy evaluation logic" and "Cross-account policy evaluation logic"; KMS
developer guide, "Key policies". Organization policies (SCP, RCP) are not modeled.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from typing import Any

from gatehouse_policies.analysis.iam import grammar
from gatehouse_policies.analysis.iam.conditions import Context, applies_to_resource, holds
from gatehouse_policies.analysis.iam.grammar import DocumentError, Statement

# Elements that the evaluation supports: all except NotPrincipal, which AWS advises against.
_SUPPORTED = frozenset(
    {"Sid", "Effect", "Principal", "Action", "NotAction", "Resource", "NotResource", "Condition"}
)
RawDocument = Mapping[str, Any]
ALLOW_ALL: RawDocument = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}

_CONNECTIONS = ("elasticache:Connect", "rds-db:connect")
"""Actions whose requests have only a few global condition keys, not `aws:RequestedRegion`
(ElastiCache User Guide, "Authenticating with IAM"; RDS User Guide, "IAM database authentication").
"""


class Effect(Enum):
    """Result of an evaluation. NOT_ALLOWED is an implicit deny, and DENIED is an explicit deny."""

    ALLOWED = "allowed"
    NOT_ALLOWED = "not allowed"
    DENIED = "denied"

    @property
    def allowed(self) -> bool:
        return self is Effect.ALLOWED


@dataclass(frozen=True)
class Call:
    """An AWS request.

    principal: ARN of a role or user, or the name of an AWS service
        ("logs.eu-west-1.amazonaws.com").
    context: condition keys that the service adds. Keys that follow from the principal are added
        automatically.
    """

    principal: str
    action: str
    resource: str = "*"
    context: Context = field(default_factory=dict)

    @property
    def account(self) -> str:
        return self.principal.split(":")[4] if self.principal.startswith("arn:") else ""

    @property
    def full_context(self) -> dict[str, str | Sequence[str]]:
        context = {key.lower(): value for key, value in self.context.items()}
        if self.action in _CONNECTIONS:
            context.pop("aws:requestedregion", None)
        if not self.account:
            return {
                "aws:principalisawsservice": "true",
                "aws:principalservicename": self.principal,
                **context,
            }
        own = {
            "aws:principalarn": self.principal,
            "aws:principalaccount": self.account,
            "aws:principalisawsservice": "false",
        }
        return {**own, **context}


def decide(
    call: Call,
    *,
    identity: Sequence[RawDocument] = (),
    resource: RawDocument | None = None,
    limits: Sequence[RawDocument] = (),
    owner: str = "",
    resource_decides: bool = False,
) -> Effect:
    """Evaluates a request.

    identity: policies of the principal.
    resource: resource policy.
    limits: policies that must also allow the request but grant no permissions (permissions
        boundary, VPC endpoint policy).
    owner: account of the resource; the principal's account if empty.
    resource_decides: the resource policy must allow the request or delegate to the account (KMS
        keys, role trust).

    Raises DocumentError for a malformed document or an unknown element or operator.
    """
    documents = [*identity, *([resource] if resource else []), *limits]
    denials = [_applies(document, call, allow=False) for document in documents]
    if any(denials):
        return Effect.DENIED
    by_identity = any(_applies(document, call) for document in identity)
    by_resource = resource is not None and _applies(resource, call)
    direct = resource is not None and _applies(resource, call, delegated=False)
    cross_account = bool(owner) and owner != call.account
    if resource_decides or (cross_account and call.account):
        # A resource policy that names the account alone delegates to the account's identity
        # policies. Across accounts, both sides must always allow the request.
        needs_identity = not direct or (cross_account and bool(call.account))
        granted = by_resource and (by_identity or not needs_identity)
    else:
        granted = by_identity or direct
    return (
        Effect.ALLOWED
        if granted and all(_applies(limit, call) for limit in limits)
        else Effect.NOT_ALLOWED
    )


def _applies(raw: RawDocument, call: Call, *, allow: bool = True, delegated: bool = True) -> bool:
    """True if a statement applies. delegated: includes those that name only the account."""
    document = _parsed(json.dumps(raw))
    if document is None:
        return False
    context = call.full_context
    variables = document.version == "2012-10-17"
    return any(
        statement.allow == allow
        and _applies_to_principal(statement, call, delegated)
        and statement.covers_action(call.action)
        and applies_to_resource(statement, call.resource, context if variables else None)
        and holds(statement.conditions, context, variables=variables)
        for statement in document.statements
    )


@cache
def _parsed(text: str) -> grammar.Document | None:
    raw = json.loads(text)
    rows = grammar.raw_statements(raw)
    if not rows:
        return None
    if unsupported := set[str]().union(*rows) - _SUPPORTED:
        raise DocumentError(f"unsupported element {', '.join(sorted(unsupported))}")
    return grammar.parse(raw)


def _applies_to_principal(statement: Statement, call: Call, delegated: bool) -> bool:
    if statement.principals is None:
        return True
    account = (
        {call.account, f"arn:aws:iam::{call.account}:root"} if call.account and delegated else set()
    )
    return any(
        value == call.principal
        or kind == "*"
        or (kind == "AWS" and (value == "*" or value in account))
        for kind, value in statement.principals
    )
