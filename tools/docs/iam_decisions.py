"""Asks the policy documents of the prod stack a question: who does what to what, under which conditions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

import yaml

from components.naming import Naming
from policies.analysis.iam.evaluation import Call, Decision, Effect, decide
from sandbox.clouds import InventedCloud
from sandbox.documents import Documents, collect
from sandbox.engine import run
from sandbox.journal import REPOSITORY
from tests.components.program import serverless

STACK = "prod"
ALLOWED, NOT_ALLOWED, DENIED = Effect.ALLOWED, Effect.NOT_ALLOWED, Effect.DENIED
_SETTINGS = yaml.safe_load((REPOSITORY / f"Pulumi.{STACK}.yaml").read_text())["config"]["gatehouse:settings"]
NAMES = Naming(STACK, _SETTINGS["account"], _SETTINGS["region"])
AWAY = _SETTINGS["second_region"]
OTHER = "999999999999"
ADMINISTRATOR = f"arn:aws:iam::{NAMES.account}:role/administrator"
STRANGER = f"arn:aws:iam::{OTHER}:role/stranger"
WIDENED = NAMES.role_arn("widened")
OPERATOR = _SETTINGS["secrets"]["operators"][0]
_EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
_WORDS = {
    ADMINISTRATOR: "an administrator with `*` on `*`",
    STRANGER: "a role of another account with `*` on `*`",
    WIDENED: "a role of the stack that was given `*` on `*`",
}


@dataclass(frozen=True, slots=True)
class Question:
    """who: a role of the stack by its short name, an AWS service, or the ARN of somebody who has `*` on `*`.

    about: what the row shows, in words. on: kind and name of the resource whose policy is asked too. through: the VPC
    endpoint that the call passes. owner: account of the resource, ours when empty.
    """

    about: str
    who: str
    action: str
    resource: str
    expected: Effect
    context: Mapping[str, str] = field(default_factory=dict)
    on: tuple[str, str] | None = None
    through: str = ""
    owner: str = ""

    @property
    def principal(self) -> str:
        return self.who if ":" in self.who or self.who.endswith(".amazonaws.com") else NAMES.role_arn(self.who)

    @property
    def shown(self) -> str:
        """Who asks, as a reader would say it."""
        if self.who == OPERATOR:
            return "an operator of the settings, with `*` on `*`"
        return _WORDS.get(self.who, f"`{self.who}`")


def a_secret(kind: str) -> str:
    """ARN of a secret of the stack, as Secrets Manager ends it."""
    return NAMES.arn("secretsmanager", f"secret:{NAMES.secret(kind)}-a1B2c3")


def came_from(account: str, arn: str) -> dict[str, str]:
    """What a service of AWS says about for whom it acts."""
    return {"aws:SourceAccount": account, "aws:SourceArn": arn}


@cache
def documents() -> Documents:
    """Every policy document of the stack, and those that it has besides when a function serves the share door."""
    found = collect(run(REPOSITORY, STACK, InventedCloud(), preview=False))
    apart = collect(run(REPOSITORY, STACK, InventedCloud(), preview=False, config=serverless(STACK)))
    known = {(guarded.kind, guarded.name) for guarded in found.guarded}
    more = tuple(guarded for guarded in apart.guarded if (guarded.kind, guarded.name) not in known)
    return Documents({**apart.roles, **found.roles}, {**apart.managed, **found.managed}, (*found.guarded, *more))


def answer(question: Question) -> Decision:
    """What the stack's documents say."""
    found = documents()
    role = next((role for role in found.roles.values() if role.arn == question.principal), None)
    own = role.policies if role else [_EVERYTHING] if question.principal.startswith("arn:") else []
    bounded = found.managed[NAMES.boundary_arn] if question.principal == WIDENED else role.boundary if role else None
    limits = [bounded] if bounded else []
    kind, name = question.on or ("", "")
    guard = found.roles[NAMES.name(name)].trust if kind == "role" else found.on(kind, name) if kind else None
    return decide(
        # Every request says which region it goes to (IAM user guide, "AWS global condition context keys").
        Call(question.principal, question.action, question.resource, {"aws:RequestedRegion": NAMES.region, **question.context}),
        identity=own,
        resource=guard,
        limits=[*limits, *([found.on("endpoint", question.through)] if question.through else [])],
        owner=question.owner or NAMES.account,
        resource_decides=kind in ("key", "role"),
    )
