"""Decides an AWS call from policy documents alone, as IAM does: explicit deny, then allow, then nothing.

The emulator compares actions and resources only; this reads conditions too, so that what a document allows and denies can be
asked without an account. Sources: IAM user guide, "Policy evaluation logic" and "Cross-account policy evaluation logic"; KMS
developer guide, "Key policies". Organisation policies (SCP, RCP) are not ours and are not modelled.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from policies.analysis.iam.conditions import Context, UnreadableDocument, filled, glob, holds, listed

Document = Mapping[str, Any]
_ELEMENTS = {"Sid", "Effect", "Principal", "Action", "NotAction", "Resource", "NotResource", "Condition"}


class Effect(Enum):
    """How a call ends."""

    ALLOWED = "allowed"
    NOT_ALLOWED = "not allowed"
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `principal`: ARN of the role or user, or the name of an AWS service ("logs.eu-west-1.amazonaws.com").

    context: the condition keys that the service sends; those that follow from the principal are added by themselves.
    """

    principal: str
    action: str
    resource: str = "*"
    context: Context = field(default_factory=dict)

    @property
    def account(self) -> str:
        """Of the principal; "" for a service."""
        return self.principal.split(":")[4] if self.principal.startswith("arn:") else ""

    @property
    def known(self) -> dict[str, Any]:
        """The context with what every request carries (IAM user guide, "AWS global condition context keys")."""
        if not self.account:
            return {"aws:principalisawsservice": "true", "aws:principalservicename": self.principal, **_lower(self.context)}
        own = {"aws:principalarn": self.principal, "aws:principalaccount": self.account, "aws:principalisawsservice": "false"}
        return {**own, **_lower(self.context)}


@dataclass(frozen=True, slots=True)
class Decision:
    """`by` names the statements that decided, in the order in which they were found."""

    effect: Effect
    by: tuple[str, ...] = ()

    @property
    def allowed(self) -> bool:
        return self.effect is Effect.ALLOWED


def decide(
    call: Call,
    *,
    identity: Sequence[Document] = (),
    resource: Document | None = None,
    limits: Sequence[Document] = (),
    owner: str = "",
    resource_decides: bool = False,
) -> Decision:
    """What becomes of a call.

    identity: policies of the principal. resource: the policy on what is called, if there is one. limits: documents that must
    allow the call too and grant nothing by themselves (a permissions boundary, a VPC endpoint policy). owner: account of the
    resource, the principal's own when empty. resource_decides: nothing is allowed that `resource` does not allow or hand to
    the account (KMS keys and role trust).

    Raises UnreadableDocument for an element or operator that is not understood here.
    """
    everything = [*identity, *([resource] if resource else []), *limits]
    denying = tuple(name for document in everything for name in _matching(document, "Deny", call, whoever=False))
    if denying:
        return Decision(Effect.DENIED, denying)
    for limit in limits:
        if not _matching(limit, "Allow", call, whoever=False):
            return Decision(Effect.NOT_ALLOWED)
    by_identity = tuple(name for document in identity for name in _matching(document, "Allow", call, whoever=False))
    direct, handed = _granted(resource, call)
    crosses = bool(owner) and owner != call.account
    if resource_decides or (crosses and call.account):
        # Another account, a key or a trust: the resource has the last word. Where it names the account alone, the
        # account's own policies have to say yes as well; across accounts they always have to.
        needs_identity = not direct or (crosses and bool(call.account))
        granted = bool(direct or handed) and (bool(by_identity) or not needs_identity)
    else:
        granted = bool(by_identity or direct)
    return Decision(Effect.ALLOWED, (*by_identity, *direct, *handed)) if granted else Decision(Effect.NOT_ALLOWED)


def statements(document: Document) -> list[dict[str, Any]]:
    """The statements of a document. Raises UnreadableDocument for an element that is not understood here."""
    found = document.get("Statement", [])
    rows = [dict(row) for row in ([found] if isinstance(found, Mapping) else found)]
    for row in rows:
        if unknown := set(row) - _ELEMENTS:
            raise UnreadableDocument(f"statement {row.get('Sid', '?')}: cannot read {', '.join(sorted(unknown))}")
        if row.get("Effect") not in ("Allow", "Deny"):
            raise UnreadableDocument(f"statement {row.get('Sid', '?')}: Effect is {row.get('Effect')!r}")
    return rows


def _granted(resource: Document | None, call: Call) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Statements of a resource policy that allow the caller itself, and those that hand the decision to its account."""
    if resource is None:
        return (), ()
    every = _matching(resource, "Allow", call, whoever=False)
    direct = _matching(resource, "Allow", call, whoever=True)
    return tuple(direct), tuple(name for name in every if name not in direct)


def _matching(document: Document, effect: str, call: Call, *, whoever: bool) -> list[str]:
    """The statements of this effect that concern the call. `whoever`: leave out those that name only the account."""
    variables = document.get("Version") == "2012-10-17"
    context = call.known
    return [
        str(row.get("Sid") or f"statement {number}")
        for number, row in enumerate(statements(document), start=1)
        if row["Effect"] == effect
        and _principal(row, call, named=whoever)
        and _acts(row, call.action)
        and _reaches(row, call.resource, context if variables else None)
        and holds(row.get("Condition", {}), context, variables=variables)
    ]


def _principal(row: Mapping[str, Any], call: Call, *, named: bool) -> bool:
    if "Principal" not in row:
        return True
    principal = row["Principal"]
    if principal == "*":
        return True
    for kind, value in principal.items():
        for item in listed(value):
            if kind == "AWS":
                whole_account = item in (call.account, f"arn:aws:iam::{call.account}:root") and bool(call.account)
                if item in ("*", call.principal) or (whole_account and not named):
                    return True
            elif item == call.principal:
                return True
    return False


def _acts(row: Mapping[str, Any], action: str) -> bool:
    if "NotAction" in row:
        return not _any(row["NotAction"], action.lower(), fold=True)
    return _any(row.get("Action", []), action.lower(), fold=True)


def _reaches(row: Mapping[str, Any], resource: str, context: Context | None) -> bool:
    if "NotResource" in row:
        return not _any(row["NotResource"], resource, context=context)
    # A trust policy has no Resource: it is about the role that it stands on.
    return "Resource" not in row or _any(row["Resource"], resource, context=context)


def _any(patterns: Any, text: str, *, fold: bool = False, context: Context | None = None) -> bool:
    known = (filled(str(item), context) for item in listed(patterns))
    return any(glob(item.lower() if fold else item, text) for item in known if item is not None)


def _lower(context: Context) -> dict[str, Any]:
    return {key.lower(): value for key, value in context.items()}
