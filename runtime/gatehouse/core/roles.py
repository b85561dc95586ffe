"""Roles of the management API.

A scope of a key, such as `role:operator` or `secrets:create`, grants a role. The scope `admin`
grants the same role as `role:owner`. A role therefore expires or is revoked together with the key,
and the audit trail contains all role changes (docs/decisions/0009).
"""

from collections.abc import Iterable
from enum import StrEnum

from gatehouse.core.errors import Forbidden
from gatehouse.core.keys import ADMIN_SCOPE

ROLE_MARK = "role:"


class Role(StrEnum):
    OWNER = "owner"  # can do everything, including managing keys that can manage keys
    OPERATOR = "operator"  # manages keys, customers, secrets, Cores and webhooks
    ISSUER = "issuer"  # creates keys; reads keys, customers and usage
    AUDITOR = "auditor"  # reads everything, changes nothing
    # a program that creates keys and customers, and manages those that it created
    SERVICE = "service"
    # Roles limited to secrets that the credential created. Each role has the same name as the scope
    # that grants the role.
    CREATE_SECRETS = "secrets:create"  # creates and changes secrets
    READ_SECRETS = "secrets:read"  # reads metadata and receipts, never the content
    REVOKE_SECRETS = "secrets:revoke"

    @property
    def scope(self) -> str:
        return self.value if ":" in self.value else f"{ROLE_MARK}{self.value}"


#: Sets of roles that endpoints declare.
OWNERS = frozenset({Role.OWNER})
OPERATORS = OWNERS | {Role.OPERATOR}
KEY_CREATORS = OPERATORS | {Role.ISSUER, Role.SERVICE}
KEY_MANAGERS = OPERATORS | {Role.SERVICE}
READERS = OPERATORS | {Role.ISSUER, Role.AUDITOR}
KEY_READERS = READERS | {Role.SERVICE}
AUDITORS = OPERATORS | {Role.AUDITOR}
SECRET_CREATORS = OPERATORS | {Role.CREATE_SECRETS}
SECRET_READERS = AUDITORS | {Role.READ_SECRETS}
SECRET_REVOKERS = OPERATORS | {Role.REVOKE_SECRETS}
ANY_ROLE = frozenset(Role)


def roles_of(scopes: Iterable[str]) -> frozenset[Role]:
    """Return the roles that the scopes grant. An unknown `role:` scope grants no role."""
    known = {role.scope: role for role in Role}
    return frozenset(
        {
            Role.OWNER if scope == ADMIN_SCOPE else known[scope]
            for scope in scopes
            if scope == ADMIN_SCOPE or scope in known
        }
    )


def manages(scopes: Iterable[str]) -> bool:
    """Return True if the scopes grant access to more than the caller's own secrets.

    Also returns True for unknown `role:` scopes, which a later version may define.
    """
    return any(scope == ADMIN_SCOPE or scope.startswith(ROLE_MARK) for scope in scopes)


def check(granted: frozenset[Role], required: frozenset[Role]) -> None:
    """Raise Forbidden unless a required role is granted. The message lists the granted and the
    required roles.
    """
    if granted & required:
        return
    if not granted:
        raise Forbidden(
            "This key grants no console role: it has neither the scope admin nor a scope such "
            "as role:operator or secrets:create."
        )
    raise Forbidden(
        f"This operation requires one of the following roles: {_names(required)}. Roles of the "
        f"credential: {_names(granted)}."
    )


def check_reach(granted: frozenset[Role], scopes: Iterable[str]) -> None:
    """Raise Forbidden unless the granted roles permit creating, changing or revoking a key with
    these scopes.

    Only an owner can manage keys with the scope `admin` or a `role:` scope, which prevents
    privilege escalation. `scopes`: the current scopes of the key, or the scopes that the request
    grants.
    """
    if Role.OWNER not in granted and manages(scopes):
        raise Forbidden(
            "Only an owner can create or change a key with the scope admin or a scope such as "
            "role:operator."
        )


def _names(roles: frozenset[Role]) -> str:
    return ", ".join(role.value for role in Role if role in roles)
