"""Who may do what at the console: the roles, how a credential comes by them, and what a role may not hand on.

A key gets a role by a scope: `role:operator`, or `admin`, which is `role:owner`. So a role has the life of a key: it is given,
limited in time and revoked like every other right, and each change of it is in the audit trail. (docs/decisions/0009)
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from gatehouse.core.roles import ADMIN_SCOPE
from gatehouse.errors import Forbidden


class Role(StrEnum):
    OWNER = "owner"  # everything, and alone: keys that manage
    OPERATOR = "operator"  # the life of keys, Cores and webhooks
    ISSUER = "issuer"  # makes keys and looks at them
    AUDITOR = "auditor"  # reads everything, changes nothing
    SERVICE = "service"  # a program of yours that makes, shows, rotates and ends keys whose ids it keeps


ROLE_MARK = "role:"


def roles_of(scopes: Iterable[str]) -> frozenset[Role]:
    """The roles that scopes carry. An unknown `role:` is none."""
    known = {f"{ROLE_MARK}{role.value}": role for role in Role}
    return frozenset(
        {Role.OWNER if scope == ADMIN_SCOPE else known[scope] for scope in scopes if scope == ADMIN_SCOPE or scope in known}
    )


def manages(scopes: Iterable[str]) -> bool:
    """True for scopes that let a key into the console, now or by a later version's roles."""
    return any(scope == ADMIN_SCOPE or scope.startswith(ROLE_MARK) for scope in scopes)


def check(held: frozenset[Role], needed: frozenset[Role]) -> None:
    """Raises Forbidden, which names what is held and what is needed, unless one of the roles is enough."""
    if held & needed:
        return
    if not held:
        raise Forbidden("This key manages nothing: it has neither the scope admin nor a role, such as role:operator")
    raise Forbidden(f"This credential has the role {_names(held)}; this takes {_names(needed)}")


def check_reach(held: frozenset[Role], scopes: Iterable[str]) -> None:
    """A key that manages is made, changed and ended by an owner alone: no role can be widened or handed on by a lesser one.

    `scopes`: those that the key has or shall have. Raises Forbidden.
    """
    if Role.OWNER not in held and manages(scopes):
        raise Forbidden("A key with the scope admin or a role is handled by an owner alone")


def _names(roles: frozenset[Role]) -> str:
    return " or ".join(role.value for role in Role if role in roles)
