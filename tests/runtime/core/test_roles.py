"""Roles that scopes grant, and the keys that a role can manage."""

from contextlib import nullcontext

import pytest
from gatehouse.core.errors import Forbidden
from gatehouse.core.roles import OPERATORS, OWNERS, Role, check, check_reach, roles_of


@pytest.mark.parametrize(
    ("scopes", "roles"),
    [
        (["admin", "cores:read"], {Role.OWNER}),
        (["cores:read", "admins", "role:later"], set()),
        ([role.scope for role in Role], set(Role)),
    ],
)
def test_scopes_grant_roles(scopes: list[str], roles: set[Role]) -> None:
    assert roles_of(scopes) == roles


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("scope", ["admin", "role:operator", "role:later", "secrets:create", "any"])
def test_only_owners_manage_keys_with_roles(role: Role, scope: str) -> None:
    is_allowed = role is Role.OWNER or scope in {"secrets:create", "any"}
    with nullcontext() if is_allowed else pytest.raises(Forbidden):
        check_reach(frozenset({role}), ["cores:read", scope])


@pytest.mark.parametrize("granted", [frozenset[Role](), frozenset({Role.AUDITOR}), OPERATORS])
def test_one_of_the_required_roles_is_enough(granted: frozenset[Role]) -> None:
    with nullcontext() if granted & OWNERS else pytest.raises(Forbidden):
        check(granted, OWNERS)
