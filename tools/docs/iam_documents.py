"""The IAM and resource policies of the prod stack, and the documented reasons for permissions that no test uses."""

import json
import tomllib
from collections.abc import Mapping
from functools import cache
from typing import Any

import yaml

from components.naming import Naming
from policies.analysis.iam.grammar import listed, raw_statements
from sandbox.checks.policy_documents import PolicyDocuments, collect
from sandbox.engine.program import run
from sandbox.engine.providers import FakeProvider
from sandbox.paths import REPOSITORY

STACK = "prod"
SETTINGS: dict[str, Any] = yaml.safe_load((REPOSITORY / f"Pulumi.{STACK}.yaml").read_text())["config"]["gatehouse:settings"]
NAMES = Naming(STACK, SETTINGS["account"], SETTINGS["region"])
REASONS = REPOSITORY / "tests" / "permissions.toml"
SANDBOX_SERVICES = {"ecs-tasks.amazonaws.com", "lambda.amazonaws.com"}
"""Services whose roles the sandbox assumes. Permissions of other services' roles always need a documented reason."""


@cache
def documents() -> PolicyDocuments:
    """Every policy document of the stack, with those that it adds when sharing is serverless."""
    serverless = json.dumps({**SETTINGS, "sharing": {"mode": "serverless", "api_gateway_log_role": True}})
    configs: tuple[dict[str, str], ...] = ({}, {"gatehouse:settings": serverless})
    base, added = (collect(run(REPOSITORY, STACK, FakeProvider(), preview=False, config=config)) for config in configs)
    known = {(policy.kind, policy.name) for policy in base.resource_policies}
    guarded = (
        *base.resource_policies,
        *(policy for policy in added.resource_policies if (policy.kind, policy.name) not in known),
    )
    return PolicyDocuments({**added.roles, **base.roles}, {**added.managed, **base.managed}, guarded)


def granted(*, in_sandbox: bool | None = None) -> set[tuple[str, str]]:
    """(short role name, action) of every action that a role's policies allow.

    in_sandbox: restrict to roles that the sandbox assumes (True) or to all others (False).
    """
    return {
        (short_name(name), action)
        for name, role in documents().roles.items()
        if in_sandbox is None or in_sandbox is _is_assumed_in_sandbox(role.trust)
        for policy in role.policies
        for statement in raw_statements(policy)
        if statement["Effect"] == "Allow"
        for action in listed(statement["Action"])
    }


def reasons() -> dict[tuple[str, str], str]:
    """(short role name, action) to the reason for a permission that no test uses. "*" covers every action of a role."""
    rows = tomllib.loads(REASONS.read_text())["reason"]
    documented = {(role, action): row["why"] for row in rows for role in row["roles"] for action in row["actions"]}
    whole_roles = {role: why for (role, action), why in documented.items() if action == "*"}
    expanded = {(role, action): whole_roles[role] for role, action in granted() if role in whole_roles}
    return expanded | {key: why for key, why in documented.items() if key[1] != "*"}


def short_name(role: str) -> str:
    """A role name without `gatehouse-<stack>-`."""
    return role.removeprefix(NAMES.name(""))


def _is_assumed_in_sandbox(trust: Mapping[str, Any]) -> bool:
    services = {name for row in raw_statements(trust) for name in listed(row["Principal"].get("Service", []))}
    return bool(services) and services <= SANDBOX_SERVICES
