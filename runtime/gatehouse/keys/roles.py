"""Roles of keys: named sets of scopes. A key has its own scopes and those of its roles. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from gatehouse.keys.models import Key, KeyState

ADMIN_SCOPE = "admin"

#: A key with either scope has the role `owner` at the console (identity/models.py) and can manage keys.
OWNER_SCOPES = (ADMIN_SCOPE, "role:owner")

#: Scopes of each role. A change applies to all keys of the role when the gateways restart.
ROLES: dict[str, tuple[str, ...]] = {
    "reader": ("cores:read",),
    "agent": ("cores:register",),
    "admin": (ADMIN_SCOPE,),
}

#: Roles whose keys can manage keys.
ADMIN_ROLES = tuple(name for name, scopes in ROLES.items() if ADMIN_SCOPE in scopes)


def granted(scopes: Sequence[str], roles: Sequence[str]) -> tuple[str, ...]:
    """Effective scopes: the key's own scopes first, then those of its roles. An unknown role grants nothing."""
    if not roles:
        return tuple(scopes)
    return tuple(dict.fromkeys([*scopes, *(scope for role in roles for scope in ROLES.get(role, ()))]))


def can_manage_keys(key: Key) -> bool:
    """True for an active key of an owner. The console does not verify signatures, so a key that requires them cannot sign in."""
    if key.signing is not None and key.signing.required:
        return False
    return key.state is KeyState.ACTIVE and not set(OWNER_SCOPES).isdisjoint(key.scopes)
