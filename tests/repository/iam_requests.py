"""IAM requests against prod's policies."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.iam_evaluation import ALLOW_ALL, Call, Effect, decide
from tools.docs.iam_documents import NAMES, SETTINGS, documents

ALLOWED, IMPLICIT_DENY, EXPLICIT_DENY = Effect.ALLOWED, Effect.NOT_ALLOWED, Effect.DENIED
OTHER_ACCOUNT = "999999999999"
ADMINISTRATOR = f"arn:aws:iam::{NAMES.account}:role/administrator"
OTHER_ACCOUNT_ROLE = f"arn:aws:iam::{OTHER_ACCOUNT}:role/stranger"
OPERATOR: str = SETTINGS["secrets"]["operators"][0]


@dataclass(frozen=True)
class Request:
    """An IAM request and the expected decision.

    case: the case that the request tests.
    principal: short name of a role of the stack, an AWS service, or the ARN of a principal with `*`
        on `*`.
    on: type and name of the resource whose policy applies.
    endpoint: name of the VPC endpoint through which the request passes.
    """

    case: str
    principal: str
    action: str
    resource: str
    expected: Effect
    context: Mapping[str, str] = field(default_factory=dict)
    on: tuple[str, str] | None = None
    endpoint: str = ""


def secret_arn(kind: str) -> str:
    """ARN of a secret of the stack with the random suffix that Secrets Manager adds."""
    return NAMES.arn("secretsmanager", f"secret:{NAMES.secret(kind)}-a1B2c3")


def source(account: str, arn: str) -> dict[str, str]:
    """The context keys with which an AWS service names the resource on whose behalf it calls."""
    return {"aws:SourceAccount": account, "aws:SourceArn": arn}


def _resource_policy(kind: str, name: str) -> dict[str, Any]:
    policies = {(each.kind, each.name): each.document for each in documents().resource_policies}
    return policies[kind, name]


def decision(request: Request) -> Effect:
    policies = documents()
    is_arn_or_service = ":" in request.principal or request.principal.endswith(".amazonaws.com")
    principal = request.principal if is_arn_or_service else NAMES.role_arn(request.principal)
    role = next((role for role in policies.roles.values() if role.arn == principal), None)
    identity = role.policies if role else [ALLOW_ALL] if principal.startswith("arn:") else []
    limits = [role.boundary] if role and role.boundary else []
    if request.endpoint:
        limits.append(_resource_policy("endpoint", request.endpoint))
    kind, name = request.on or ("", "")
    resource_policy = (
        policies.roles[NAMES.name(name)].trust
        if kind == "role"
        else _resource_policy(kind, name)
        if kind
        else None
    )
    return decide(
        # Every request carries its region (IAM user guide, "AWS global condition context keys").
        Call(
            principal,
            request.action,
            request.resource,
            {"aws:RequestedRegion": NAMES.region, **request.context},
        ),
        identity=identity,
        resource=resource_policy,
        limits=limits,
        owner=NAMES.account,
        resource_decides=kind in ("key", "role"),
    )
