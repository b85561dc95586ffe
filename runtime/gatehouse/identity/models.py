"""Who does something, and how that is written into the audit trail.

Who may do what at the console: the roles, how a credential comes by them, and what a role may not hand on.

A key gets a role by a scope: `role:operator`, or `admin`, which is `role:owner`. So a role has the life of a key: it is given,
limited in time and revoked like every other right, and each change of it is in the audit trail. (docs/decisions/0009)

People who sign in somewhere else: what the console asks about a token that is no key of ours.

Where sessions of the console are kept: what the sign-in flow asks of a store.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Literal, Protocol

import msgspec

from gatehouse.audit.models import AuditEvent, Details
from gatehouse.errors import Forbidden
from gatehouse.http.models import RequestId
from gatehouse.keys.roles import ADMIN_SCOPE


class Actor(msgspec.Struct, frozen=True):
    """The one behind a request. `id` is a key id, `bootstrap`, or a person's subject at the issuer; never a token."""

    type: Literal["bootstrap", "key", "person", "system"]
    id: str
    request_id: RequestId
    source_address: str

    @property
    def label(self) -> str:
        """As it is kept in a record: `bootstrap`, `key:3fGh82kLmQ0a`."""
        return self.type if self.type == self.id else f"{self.type}:{self.id}"

    def did(
        self,
        action: str,
        *,
        target_type: str,
        target_id: str,
        at: float,
        details: Details,
        outcome: Literal["success", "denied"] = "success",
    ) -> AuditEvent:
        """The event of an act at `at` (Unix seconds). `details` must hold no token, key or secret."""
        return AuditEvent(
            occurred_at=at,
            actor_type=self.type,
            actor_id=self.id,
            action=action,
            target_type=target_type,
            target_id=target_id,
            outcome=outcome,
            request_id=self.request_id,
            source_address=self.source_address,
            details=details,
        )


class Role(StrEnum):
    OWNER = "owner"  # everything, including keys that can manage keys
    OPERATOR = "operator"  # manages keys, Cores and webhooks
    ISSUER = "issuer"  # creates and reads keys
    AUDITOR = "auditor"  # reads everything, changes nothing
    SERVICE = "service"  # a program that creates, reads, rotates and ends keys whose ids it stores


#: Sets of roles that endpoints declare.
OWNERS = frozenset({Role.OWNER})
OPERATORS = OWNERS | {Role.OPERATOR}
KEY_CREATORS = OPERATORS | {Role.ISSUER, Role.SERVICE}
KEY_MANAGERS = OPERATORS | {Role.SERVICE}
READERS = OPERATORS | {Role.ISSUER, Role.AUDITOR}
KEY_READERS = READERS | {Role.SERVICE}
AUDITORS = OPERATORS | {Role.AUDITOR}
ANY_ROLE = frozenset(Role)

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
        raise Forbidden("This key has neither the scope admin nor a role, such as role:operator.")
    raise Forbidden(f"The credential has the role {_names(held)}. This operation requires {_names(needed)}.")


def check_reach(held: frozenset[Role], scopes: Iterable[str]) -> None:
    """A key that manages is made, changed and ended by an owner alone: no role can be widened or handed on by a lesser one.

    `scopes`: those that the key has or shall have. Raises Forbidden.
    """
    if Role.OWNER not in held and manages(scopes):
        raise Forbidden("Only an owner can create or change a key with the scope admin or a role.")


def _names(roles: frozenset[Role]) -> str:
    return " or ".join(role.value for role in Role if role in roles)


class Identity(msgspec.Struct, frozen=True):
    subject: str  # as the issuer names them; printable ASCII, at most 200 characters
    roles: frozenset[Role]
    proven_at: float = 0.0  # when they last proved to the issuer who they are; 0: it does not say


class IdentityProvider(Protocol):
    async def person(self, token: str) -> Identity | None:
        """Whom the token stands for, or None when it is not good here. Raises Unavailable when that cannot be said."""
        ...


ActorType = Literal["bootstrap", "key", "person"]


class Session(msgspec.Struct, frozen=True):
    """A browser that signed in. Times in Unix seconds; `proven_at`: when the credential itself was last shown (0: never)."""

    id: str  # public: twelve base62 characters, no secret
    actor_type: ActorType
    actor_id: str
    roles: tuple[str, ...]  # of a person, as the token said at sign-in; a key's are read anew with every request
    bond: bytes  # what must still be so for the session to go on; empty where the store of keys says it
    created_at: float
    proven_at: float
    seen_at: float
    ends_at: float
    source_address: str
    user_agent: str
