"""The roles of keys: names for sets of scopes that are granted together; a key has its own scopes and those of its roles."""

from __future__ import annotations

from collections.abc import Sequence

ADMIN_SCOPE = "admin"


#: Either makes its key an owner at the console (flows/principal.py), who alone can make further ones.
OWNER_SCOPES = (ADMIN_SCOPE, "role:owner")


#: What a role grants. A role that grants more later grants it to every key that has it, with the next start of the gateways.
ROLES: dict[str, tuple[str, ...]] = {
    "reader": ("cores:read",),
    "agent": ("cores:register",),
    "admin": (ADMIN_SCOPE,),
}


#: Roles that make a key an owner.
ADMIN_ROLES = tuple(name for name, scopes in ROLES.items() if ADMIN_SCOPE in scopes)


def granted(scopes: Sequence[str], roles: Sequence[str]) -> tuple[str, ...]:
    """Own scopes first, then what the roles add. A role that this version does not know grants nothing."""
    if not roles:
        return tuple(scopes)
    return tuple(dict.fromkeys([*scopes, *(scope for role in roles for scope in ROLES.get(role, ()))]))
