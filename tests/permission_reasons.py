"""The permissions of prod, and reasons for those that no test uses."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gatehouse_policies.analysis.iam.grammar import raw_statements
from pulumi_local.lists import listed

from tools.docs.iam_documents import documents, short_name

REASONS = Path(__file__).with_name("permissions.toml")
SANDBOX_SERVICES = {"ecs-tasks.amazonaws.com", "lambda.amazonaws.com"}
"""Services whose roles the sandbox assumes. Permissions of other services' roles always need a
documented reason.
"""


def granted(*, in_sandbox: bool | None = None) -> set[tuple[str, str]]:
    """Pairs of short role name and action, for every action that a role's policies allow.

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
    """Reason for each permission that no test uses, by short role name and action."""
    documented = listed_reasons()
    whole_roles = {role: why for (role, action), why in documented.items() if action == "*"}
    expanded = {
        (role, action): whole_roles[role] for role, action in granted() if role in whole_roles
    }
    return expanded | {key: why for key, why in documented.items() if key[1] != "*"}


def listed_reasons() -> dict[tuple[str, str], str]:
    rows = tomllib.loads(REASONS.read_text())["reason"]
    return {
        (role, action): row["why"]
        for row in rows
        for role in row["roles"]
        for action in row["actions"]
    }


def _is_assumed_in_sandbox(trust: Mapping[str, Any]) -> bool:
    services = {
        name
        for row in raw_statements(trust)
        for name in listed(row["Principal"].get("Service", []))
    }
    return bool(services) and services <= SANDBOX_SERVICES
