"""Sessions of the console: beginning one with a proof, finding it again, ending it, and when a proof is fresh enough.

The cookie is 256 random bits; the store has its HMAC under the session key alone. Every sign-in makes a new one, so that nobody
can plant a session (fixation), and ends the one that the browser had. A session ends SessionRules.idle_s after its last use, and
SessionRules.max_s after its sign-in whatever happens; showing the credential again is signing in again.

Source: OWASP Session Management Cheat Sheet; OWASP ASVS 5.0, chapter V7 (session management) and 3.5 (browser origin
separation)."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from gatehouse.clock import Clock
from gatehouse.crypto.token import Pepper, base62
from gatehouse.errors import Unavailable
from gatehouse.identity.models import Actor, ActorType, Role, Session
from gatehouse.identity.repository import SessionRepository

BEGIN, END, END_ALL = "session.begin", "session.end", "session.end-all"

#: Characters of a cookie: 32 bytes in base64url without padding.
COOKIE_CHARS = 43

#: Sessions that one actor keeps at once; the oldest goes.
KEPT_MAX = 20

#: `seen_at` is written once in this part of the idle time: a session may so end that much before its time, never after it.
_TOUCHES = 20
_AGENT_CHARS_MAX = 200
_ID_CHARS = 12


class SessionRules(msgspec.Struct, frozen=True):
    """Seconds: without use until a session ends, from sign-in until it ends, and how old a proof may be for a dangerous act."""

    idle_s: float
    max_s: float
    step_up_max_age_s: float


class StartedSession(msgspec.Struct, frozen=True):
    """`cookie` and `csrf` are secrets of the browser; each is in the answer to the sign-in and kept nowhere."""

    session: Session
    cookie: str
    csrf: str

    def __repr__(self) -> str:
        return f"StartedSession({self.session.id})"


@dataclass(frozen=True, slots=True)
class Sessions:
    """key: the session key, under whose generations cookies are stored. random_bytes: `secrets.token_bytes`."""

    store: SessionRepository
    clock: Clock
    key: Pepper
    rules: SessionRules
    random_bytes: Callable[[int], bytes]

    async def begin(
        self,
        actor: Actor,
        roles: frozenset[Role],
        *,
        kind: ActorType,
        proven_at: float,
        bond: bytes,
        replaces: Session | None,
        user_agent: str,
    ) -> StartedSession:
        """A new session, in place of the one that the browser had. Raises Unavailable."""
        now = self.clock.now()
        cookie = base64.urlsafe_b64encode(self.random_bytes(32)).rstrip(b"=").decode("ascii")
        digest = self.key.digest(_stored(cookie), self.key.current)
        if digest is None:
            raise Unavailable("Nobody can sign in at the moment", detail="the current session key is not held")
        session = Session(
            id=base62(int.from_bytes(self.random_bytes(12), "big") % 62**_ID_CHARS, _ID_CHARS),
            actor_type=kind,
            actor_id=actor.id,
            roles=tuple(sorted(role.value for role in roles)) if kind == "person" else (),
            bond=bond,
            created_at=now,
            proven_at=min(proven_at, now),
            seen_at=now,
            ends_at=now + self.rules.max_s,
            source_address=actor.source_address,
            user_agent="".join(one for one in user_agent if one.isascii() and one.isprintable())[:_AGENT_CHARS_MAX],
        )
        old = None if replaces is None else replaces.id
        details = {} if old is None else {"replaces": old}
        event = actor.did(BEGIN, target_type="session", target_id=session.id, at=now, details=dict(details))
        await self.store.add(session, digest, keep=KEPT_MAX, replaces=old, event=event)
        return StartedSession(session, cookie, self.csrf(cookie))

    async def find(self, cookie: str) -> Session | None:
        """The live session behind a cookie; using it puts its idle end off. Raises Unavailable."""
        if len(cookie) != COOKIE_CHARS or not cookie.isascii():
            return None
        digests = [self.key.digest(_stored(cookie), generation) for generation in self.key.generations]
        session = await self.store.find([digest for digest in digests if digest is not None])
        now = self.clock.now()
        if session is None or not self.alive(session, now):
            return None
        if now - session.seen_at >= self.rules.idle_s / _TOUCHES:
            await self.store.touch(session.id, seen_at=now)
            return msgspec.structs.replace(session, seen_at=now)
        return session

    def alive(self, session: Session, now: float) -> bool:
        return now < session.ends_at and now < session.seen_at + self.rules.idle_s

    def fresh(self, session: Session) -> bool:
        """Whether the credential was shown recently enough for a dangerous act."""
        return self.clock.now() - session.proven_at <= self.rules.step_up_max_age_s

    def csrf(self, cookie: str) -> str:
        """The token that a page sends back in a header. It belongs to this one cookie and opens nothing by itself."""
        return _csrf(self.key, cookie, self.key.current) or ""

    def csrf_fits(self, cookie: str, sent: str) -> bool:
        expected = [_csrf(self.key, cookie, generation) for generation in self.key.generations]
        return any(hmac.compare_digest(one.encode(), sent.encode("utf-8", "replace")) for one in expected if one is not None)

    def bond(self, secret: str) -> bytes:
        """What a session of the bootstrap token keeps of it: another token is another bond."""
        text = base64.b64encode(secret.encode("utf-8", "surrogatepass")).decode("ascii")
        return self.key.digest(f"session-bond:{text}", self.key.current) or b""

    def bond_holds(self, bond: bytes, secret: str | None) -> bool:
        if secret is None:
            return False
        text = base64.b64encode(secret.encode("utf-8", "surrogatepass")).decode("ascii")
        return any(self.key.matches(f"session-bond:{text}", bond, generation) for generation in self.key.generations)

    async def of(self, actor: Actor) -> tuple[Session, ...]:
        """The live sessions of the one who asks, newest first. Raises Unavailable."""
        now = self.clock.now()
        return tuple(one for one in await self.store.of(actor.type, actor.id) if self.alive(one, now))

    async def end(self, session_id: str, actor: Actor, *, anybody: bool = False) -> bool:
        """Ends one of the actor's own sessions, or with `anybody` whosoever's; False when there is none. Raises Unavailable."""
        event = actor.did(END, target_type="session", target_id=session_id, at=self.clock.now(), details={})
        return await self.store.end(session_id, actor=None if anybody else (actor.type, actor.id), event=event)

    async def end_all(self, actor: Actor, *, everybody: bool) -> int:
        """Ends all sessions of the actor, or of everybody. Raises Unavailable."""
        whose = "everybody" if everybody else "own"
        event = actor.did(END_ALL, target_type="session", target_id="*", at=self.clock.now(), details={"whose": whose})
        return await self.store.end_all(actor=None if everybody else (actor.type, actor.id), event=event)

    async def prune(self) -> int:
        """Takes away what has ended by itself. Raises Unavailable."""
        now = self.clock.now()
        return await self.store.prune(seen_before=now - self.rules.idle_s, now=now)


def _stored(cookie: str) -> str:
    return f"session:{cookie}"


def _csrf(key: Pepper, cookie: str, generation: int) -> str | None:
    digest = key.digest(f"session-csrf:{cookie}", generation)
    return None if digest is None else base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")
