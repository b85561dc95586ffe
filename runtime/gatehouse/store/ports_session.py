"""Where sessions of the console are kept: what the sign-in flow asks of a store."""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

from gatehouse.types import AuditEvent

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


class SessionStore(Protocol):
    """Every write takes its audit event and stores both in one transaction, or neither. Methods raise Unavailable."""

    async def add(self, session: Session, digest: bytes, *, keep: int, replaces: str | None, event: AuditEvent) -> None:
        """Stores a session, takes `replaces` away, and the actor's oldest beyond `keep`."""
        ...

    async def find(self, digests: list[bytes]) -> Session | None:
        """The session with one of these digests, whether or not it has ended."""
        ...

    async def touch(self, session_id: str, *, seen_at: float) -> None: ...

    async def of(self, actor_type: str, actor_id: str) -> tuple[Session, ...]:
        """Newest first, whether or not they have ended."""
        ...

    async def end(self, session_id: str, *, actor: tuple[str, str] | None, event: AuditEvent) -> bool:
        """False, and nothing is written, when there is none. `actor`: it must be this one's; None: anybody's."""
        ...

    async def end_all(self, *, actor: tuple[str, str] | None, event: AuditEvent) -> int:
        """Ends every session of the actor, None: of everybody. How many there were; the event is written in any case."""
        ...

    async def prune(self, *, seen_before: float, now: float) -> int:
        """Takes rows away that have ended by themselves."""
        ...
