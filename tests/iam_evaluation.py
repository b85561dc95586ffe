"""Evaluation of an AWS request against policy documents: explicit deny, then allow, then implicit deny.

Sources: IAM user guide, "Policy evaluation logic" and "Cross-account policy evaluation logic"; KMS developer guide, "Key
policies". Organization policies (SCP, RCP) are not modelled.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from policies.analysis.iam import grammar
from policies.analysis.iam.conditions import Context, applies_to_resource, holds
from policies.analysis.iam.grammar import Statement

RawDocument = Mapping[str, Any]


class Effect(Enum):
    """Result of an evaluation. NOT_ALLOWED is an implicit deny, DENIED an explicit one."""

    ALLOWED = "allowed"
    NOT_ALLOWED = "not allowed"
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class Call:
    """An AWS request.

    principal: ARN of a role or user, or the name of an AWS service ("logs.eu-west-1.amazonaws.com").
    context: condition keys that the service adds. Those that follow from the principal are added here.
    """

    principal: str
    action: str
    resource: str = "*"
    context: Context = field(default_factory=dict)

    @property
    def account(self) -> str:
        """Account of the principal, "" for a service."""
        return self.principal.split(":")[4] if self.principal.startswith("arn:") else ""

    @property
    def full_context(self) -> dict[str, str | Sequence[str]]:
        """The context with the keys of every request (IAM user guide, "AWS global condition context keys")."""
        context = {key.lower(): value for key, value in self.context.items()}
        if not self.account:
            return {"aws:principalisawsservice": "true", "aws:principalservicename": self.principal, **context}
        own = {"aws:principalarn": self.principal, "aws:principalaccount": self.account, "aws:principalisawsservice": "false"}
        return {**own, **context}


@dataclass(frozen=True, slots=True)
class Decision:
    """Result with the names of the statements that caused it, in evaluation order."""

    effect: Effect
    by: tuple[str, ...] = ()

    @property
    def allowed(self) -> bool:
        return self.effect is Effect.ALLOWED


def decide(
    call: Call,
    *,
    identity: Sequence[RawDocument] = (),
    resource: RawDocument | None = None,
    limits: Sequence[RawDocument] = (),
    owner: str = "",
    resource_decides: bool = False,
) -> Decision:
    """Evaluates a request.

    identity: policies of the principal.
    resource: resource policy.
    limits: policies that must allow the request too and grant nothing (permissions boundary, VPC endpoint policy).
    owner: account of the resource; the principal's account if empty.
    resource_decides: the resource policy must allow the request or delegate to the account (KMS keys, role trust).

    Raises DocumentError for a malformed document or an unknown element or operator.
    """
    documents = [*identity, *([resource] if resource else []), *limits]
    denying = tuple(name for document in documents for name in _matching(document, call, allow=False))
    if denying:
        return Decision(Effect.DENIED, denying)
    if any(not _matching(limit, call) for limit in limits):
        return Decision(Effect.NOT_ALLOWED)
    by_identity = tuple(name for document in identity for name in _matching(document, call))
    direct, delegated = _granted(resource, call)
    cross_account = bool(owner) and owner != call.account
    if resource_decides or (cross_account and call.account):
        # A resource policy that names the account alone delegates to the account's identity policies. Across accounts, both
        # sides must always allow the request.
        needs_identity = not direct or (cross_account and bool(call.account))
        granted = bool(direct or delegated) and (bool(by_identity) or not needs_identity)
    else:
        granted = bool(by_identity or direct)
    return Decision(Effect.ALLOWED, (*by_identity, *direct, *delegated)) if granted else Decision(Effect.NOT_ALLOWED)


def _granted(resource: RawDocument | None, call: Call) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Statements of a resource policy that allow the principal itself, and those that delegate to its account."""
    if resource is None:
        return (), ()
    allowing = _matching(resource, call)
    direct = _matching(resource, call, delegated=False)
    return tuple(direct), tuple(name for name in allowing if name not in direct)


def _matching(raw: RawDocument, call: Call, *, allow: bool = True, delegated: bool = True) -> list[str]:
    """Names of the statements with this effect that apply to the request.

    delegated: include statements that name only the account of the principal.
    """
    if not grammar.raw_statements(raw):
        return []
    document = grammar.parse(raw, strict=True)
    context = call.full_context
    variables = document.version == "2012-10-17"
    return [
        statement.sid or f"statement {number}"
        for number, statement in enumerate(document.statements, start=1)
        if statement.allow == allow
        and _applies_to_principal(statement, call, delegated)
        and statement.covers_action(call.action)
        and applies_to_resource(statement, call.resource, context if variables else None)
        and holds(statement.conditions, context, variables=variables)
    ]


def _applies_to_principal(statement: Statement, call: Call, delegated: bool) -> bool:
    if statement.principals is None:
        return True
    account = {call.account, f"arn:aws:iam::{call.account}:root"} if call.account and delegated else set()
    return any(
        value == call.principal or kind == "*" or (kind == "AWS" and (value == "*" or value in account))
        for kind, value in statement.principals
    )
