"""Identities from the identity provider, sessions of the console, and one-time sign-in links."""

import msgspec

from gatehouse.core.actor import ActorType
from gatehouse.core.roles import Role


class Identity(msgspec.Struct, frozen=True):
    subject: str  # `sub` of the token; printable ASCII, at most 255 characters
    roles: frozenset[Role]
    proven_at: float = 0.0  # Unix seconds of the last authentication at the issuer; 0: unknown


INVALID_LINK = (
    "The sign-in link is invalid: it has expired or was already used. Create another link."
)


class SignInLink(msgspec.Struct, frozen=True):
    """One-time sign-in link of an actor. Fields as in `Session`. `proven_at`: last authentication
    before the link was created.
    """

    actor_type: ActorType
    actor_id: str
    roles: tuple[str, ...]
    bond: bytes
    proven_at: float
    expires_at: float
