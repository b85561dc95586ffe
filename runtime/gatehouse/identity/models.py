"""Actors, roles, identities from the identity provider, and sessions of the console.

A scope of a key, such as `role:operator` or `secrets:create`, grants a role. The scope `admin` grants the same role as
`role:owner`. A role therefore expires or is revoked together with the key, and the audit trail contains all role changes
(docs/decisions/0009).
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Literal

import msgspec

from gatehouse.audit.models import AuditAction, AuditEvent, Details, Outcome
from gatehouse.errors import Forbidden
from gatehouse.http.asgi import RequestId
from gatehouse.keys.models import ADMIN_SCOPE

ActorType = Literal["bootstrap", "key", "person"]


class Actor(msgspec.Struct, frozen=True):
    """The principal of a request, a process without a request (`system`), the holder of a link to a secret (`recipient`), or the
    holder of a submission link (`submitter`).

    `id`: a key ID, `bootstrap`, a person's subject at the issuer, the name of the process, or the ID of the link or of the
    secret request. Never a token.
    """

    type: Literal["bootstrap", "key", "person", "system", "recipient", "submitter"]
    id: str
    request_id: RequestId = RequestId("")
    source_address: str = ""

    @property
    def label(self) -> str:
        """The actor in stored records, such as `bootstrap` or `key:3fGh82kLmQ0a`."""
        return self.type if self.type == self.id else f"{self.type}:{self.id}"

    def event(
        self, action: AuditAction, *, target_id: str, at: float, details: Details, outcome: Outcome = "success"
    ) -> AuditEvent:
        """Return an audit event for an action at `at` (Unix seconds). `details` must not contain a token, key or secret."""
        return AuditEvent(
            occurred_at=at,
            actor_type=self.type,
            actor_id=self.id,
            action=action,
            target_type=action.target_type,
            target_id=target_id,
            outcome=outcome,
            request_id=self.request_id,
            source_address=self.source_address,
            details=details,
        )


ROLE_MARK = "role:"


class Role(StrEnum):
    OWNER = "owner"  # can do everything, including managing keys that can manage keys
    OPERATOR = "operator"  # manages keys, Cores and webhooks
    ISSUER = "issuer"  # creates and reads keys
    AUDITOR = "auditor"  # reads everything, changes nothing
    SERVICE = "service"  # a program that creates keys, and reads, rotates and ends the keys that it created
    # Roles limited to secrets that the credential created. Each role has the same name as the scope that grants the role.
    CREATE_SECRETS = "secrets:create"  # creates and changes secrets
    READ_SECRETS = "secrets:read"  # reads metadata and receipts, never the content
    REVOKE_SECRETS = "secrets:revoke"

    @property
    def scope(self) -> str:
        """The scope that grants the role."""
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
        {Role.OWNER if scope == ADMIN_SCOPE else known[scope] for scope in scopes if scope == ADMIN_SCOPE or scope in known}
    )


def manages(scopes: Iterable[str]) -> bool:
    """Return True if the scopes grant access to more than the caller's own secrets.

    Also returns True for unknown `role:` scopes, which a later version may define.
    """
    return any(scope == ADMIN_SCOPE or scope.startswith(ROLE_MARK) for scope in scopes)


def check(granted: frozenset[Role], required: frozenset[Role]) -> None:
    """Raise Forbidden unless a required role is granted. The message lists the granted and the required roles."""
    if granted & required:
        return
    if not granted:
        raise Forbidden(
            "This key grants no console role: it has neither the scope admin nor a scope such as role:operator or secrets:create."
        )
    raise Forbidden(
        f"This operation requires one of the following roles: {_names(required)}. Roles of the credential: {_names(granted)}."
    )


def check_reach(granted: frozenset[Role], scopes: Iterable[str]) -> None:
    """Raise Forbidden unless the granted roles permit creating, changing or revoking a key with these scopes.

    Only an owner can manage keys with the scope `admin` or a `role:` scope, which prevents privilege escalation. `scopes`: the
    current scopes of the key, or the scopes that the request grants.
    """
    if Role.OWNER not in granted and manages(scopes):
        raise Forbidden("Only an owner can create or change a key with the scope admin or a scope such as role:operator.")


def _names(roles: frozenset[Role]) -> str:
    return ", ".join(role.value for role in Role if role in roles)


class Identity(msgspec.Struct, frozen=True):
    subject: str  # `sub` of the token; printable ASCII, at most 200 characters
    roles: frozenset[Role]
    proven_at: float = 0.0  # Unix seconds of the last authentication at the issuer; 0: unknown


class SignInLink(msgspec.Struct, frozen=True):
    """One-time sign-in link of an actor. Fields as in `Session`. `proven_at`: last authentication before the link was created."""

    actor_type: ActorType
    actor_id: str
    roles: tuple[str, ...]
    bond: bytes
    proven_at: float
    expires_at: float


class Session(msgspec.Struct, frozen=True):
    """Browser session. Times are Unix seconds; `proven_at`: last time at which the credential was presented (0: never)."""

    id: str  # not secret: 12 base62 characters
    actor_type: ActorType
    actor_id: str
    roles: tuple[str, ...]  # roles of a person, from the token at sign-in; the roles of a key are read for each request
    bond: bytes  # HMAC of the bootstrap token, which must still be valid; empty for other credentials
    created_at: float
    proven_at: float
    seen_at: float
    ends_at: float
    source_address: str
    user_agent: str
