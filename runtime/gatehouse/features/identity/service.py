"""Browser sessions of the console: creation, lookup, expiry, termination, and step-up
authentication.

The cookie has 256 random bits; the database contains only the HMAC of the cookie under the session
key. Each sign-in creates a new session, which prevents session fixation, and ends the previous
session of the browser. A session expires `session_idle_timeout_s` after its last use and at the
latest `session_max_age_s` after the sign-in. Step-up authentication is another sign-in.

A sign-in link starts one session with the credential that created the link. The code of the link is
stored like a cookie, and the link is deleted when it is used.

Source: OWASP Session Management Cheat Sheet; OWASP ASVS 5.0, chapter V7 (session management) and
3.5 (browser origin separation).
"""

import base64
import hmac
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from gatehouse.core.actor import Actor, ActorType, Session
from gatehouse.core.audit_events import AuditAction
from gatehouse.core.clock import Clock
from gatehouse.core.notation import base64url
from gatehouse.core.roles import Role
from gatehouse.core.tokens.token import ID_CHARS, Pepper, base62
from gatehouse.core.tokens.token_scanner import RANDOM_CHARS, SESSION_PREFIX, SIGN_IN, redacted
from gatehouse.features.identity.models import SignInLink
from gatehouse.features.identity.repository import SessionRepository
from gatehouse.platform.settings import Settings

COOKIE_CHARS = len(SESSION_PREFIX) + RANDOM_CHARS

#: Number of seconds for which a sign-in link is valid.
SIGN_IN_LINK_S = 300

#: Maximum number of concurrent sessions of an actor. A further sign-in ends the oldest session.
SESSIONS_MAX = 20

#: Maximum number of updates to `seen_at` per idle timeout. Sessions may expire early by one update
#: interval, but never late.
_UPDATES_PER_IDLE_TIMEOUT = 20
_USER_AGENT_CHARS_MAX, _USER_AGENT_CHARS_SEARCHED = 200, 2048

#: Random bytes of a cookie or a code, in RANDOM_CHARS characters.
_RANDOM_BYTES = 32


class StartedSession(msgspec.Struct, frozen=True):
    """A new session. `cookie` and `csrf` are secret, are sent only in the response to the sign-in,
    and are not stored.
    """

    session: Session
    cookie: str
    csrf: str

    def __repr__(self) -> str:
        return f"StartedSession({self.session.id})"


@dataclass(frozen=True, slots=True)
class Sessions:
    """Manages sessions.

    key: the session key, whose generations are the keys for the HMACs of cookies.
    random_bytes: `secrets.token_bytes`.
    bootstrap_token: the first admin credential. None: the bootstrap token is disabled.
    key_prefix: prefix of this deployment's tokens.
    """

    store: SessionRepository
    clock: Clock
    key: Pepper
    rules: Settings
    random_bytes: Callable[[int], bytes]
    bootstrap_token: str | None
    key_prefix: str

    @property
    def code_prefix(self) -> str:
        """The first characters of the code of a sign-in link, which distinguish the code from other
        credentials.
        """
        return f"{self.key_prefix}{SIGN_IN}"

    async def begin(
        self,
        actor: Actor,
        roles: frozenset[Role],
        *,
        kind: ActorType,
        proven_at: float,
        replaced_id: str | None,
        user_agent: str,
        code: str = "",
    ) -> StartedSession:
        """Create a session and end the previous session of the browser, if there is one. `code`:
        the code of the sign-in link that starts the session, if there is one. Raises Unavailable,
        and Unauthorized if the link no longer exists.
        """
        now = self.clock.now()
        cookie = SESSION_PREFIX + base64url(self.random_bytes(_RANDOM_BYTES))
        session = Session(
            id=base62(int.from_bytes(self.random_bytes(12), "big") % 62**ID_CHARS, ID_CHARS),
            actor_type=kind,
            actor_id=actor.id,
            roles=_stored_roles(kind, roles),
            bond=self._bond(kind),
            created_at=now,
            proven_at=min(proven_at, now),
            seen_at=now,
            ends_at=now + self.rules.session_max_age_s,
            source_address=actor.source_address,
            user_agent=printable(user_agent),
        )
        details = {} if replaced_id is None else {"replaces": replaced_id}
        event = actor.event(
            AuditAction.SESSION_BEGIN, target_id=session.id, at=now, details=dict(details)
        )
        digest = self.key.hmac(_stored(cookie))
        link = self._digests(_link_text(code)) if code else []
        await self.store.add(
            session, digest, keep=SESSIONS_MAX, replaces=replaced_id, link=link, event=event
        )
        return StartedSession(session, cookie, self.csrf(cookie))

    async def find(self, cookie: str) -> Session | None:
        """Return the active session for a cookie and restart its idle timeout, or return None.
        Raises Unavailable.
        """
        if len(cookie) != COOKIE_CHARS or not cookie.isascii():
            return None
        session = await self.store.find(self._digests(_stored(cookie)))
        now = self.clock.now()
        if session is None or not self.alive(session, now):
            return None
        if now - session.seen_at >= self.rules.session_idle_timeout_s / _UPDATES_PER_IDLE_TIMEOUT:
            await self.store.touch(session.id, seen_at=now)
            return msgspec.structs.replace(session, seen_at=now)
        return session

    async def create_link(
        self, actor: Actor, roles: frozenset[Role], *, kind: ActorType, proven_at: float
    ) -> tuple[str, float]:
        """Create a sign-in link for an actor and delete the previous one. Return the code and its
        expiry. Raises Unavailable.
        """
        now = self.clock.now()
        code = self.code_prefix + base64url(self.random_bytes(_RANDOM_BYTES))
        link = SignInLink(
            kind,
            actor.id,
            _stored_roles(kind, roles),
            self._bond(kind),
            min(proven_at, now),
            now + SIGN_IN_LINK_S,
        )
        event = actor.event(
            AuditAction.SESSION_LINK, target_id="*", at=now, details={"valid_s": SIGN_IN_LINK_S}
        )
        await self.store.replace_link(link, self.key.hmac(_link_text(code)), event)
        return code, link.expires_at

    async def link(self, code: str) -> SignInLink | None:
        """Return the sign-in link of a code, or None if it does not exist or has expired. Raises
        Unavailable.
        """
        link = await self.store.link(self._digests(_link_text(code)))
        return link if link is not None and self.clock.now() < link.expires_at else None

    def alive(self, session: Session, now: float) -> bool:
        return now < session.ends_at and now < session.seen_at + self.rules.session_idle_timeout_s

    def fresh(self, session: Session) -> bool:
        """Return True if the last authentication is recent enough for sensitive actions."""
        return self.clock.now() - session.proven_at <= self.rules.step_up_max_age_s

    def csrf(self, cookie: str) -> str:
        """Return the CSRF token for a cookie. The page sends the token in a header. The token is
        useless without the cookie.
        """
        return base64url(self.key.hmac(_csrf_text(cookie)))

    def verify_csrf(self, cookie: str, sent: str) -> bool:
        return any(
            hmac.compare_digest(base64url(digest).encode(), sent.encode("utf-8", "replace"))
            for digest in self._digests(_csrf_text(cookie))
        )

    def verify_bond(self, bond: bytes) -> bool:
        """Return True if a session or link of the bootstrap token belongs to the current bootstrap
        token.
        """
        secret = self.bootstrap_token
        return secret is not None and any(
            hmac.compare_digest(digest, bond) for digest in self._digests(_bond_text(secret))
        )

    async def list_for(self, actor: Actor | None) -> tuple[Session, ...]:
        """Return the active sessions of the actor (None: of all actors), newest first. Raises
        Unavailable.
        """
        now = self.clock.now()
        return tuple(
            session
            for session in await self.store.list_for(
                None if actor is None else (actor.type, actor.id)
            )
            if self.alive(session, now)
        )

    async def end(self, session_id: str, actor: Actor, *, any_actor: bool = False) -> bool:
        """End a session of the actor or, with `any_actor`, of any actor. Returns False if the
        session does not exist.

        Raises Unavailable.
        """
        event = actor.event(
            AuditAction.SESSION_END, target_id=session_id, at=self.clock.now(), details={}
        )
        return await self.store.end(
            session_id, actor=None if any_actor else (actor.type, actor.id), event=event
        )

    async def end_all(self, actor: Actor, *, everybody: bool) -> int:
        """End all sessions and delete the sign-in links of the actor or, with `everybody`, of all
        actors.

        Returns the number of ended sessions. Raises Unavailable.
        """
        whose = "everybody" if everybody else "own"
        event = actor.event(
            AuditAction.SESSION_END_ALL,
            target_id="*",
            at=self.clock.now(),
            details={"whose": whose},
        )
        return await self.store.end_all(
            actor=None if everybody else (actor.type, actor.id), event=event
        )

    async def prune(self) -> int:
        """Delete expired sign-in links and sessions. Returns their number. Raises Unavailable."""
        now = self.clock.now()
        return await self.store.prune(seen_before=now - self.rules.session_idle_timeout_s, now=now)

    def _bond(self, kind: ActorType) -> bytes:
        """Return the HMAC of the bootstrap token for a credential of this kind. Its sessions end
        when the token changes.
        """
        is_bootstrap = kind == "bootstrap"
        return self.key.hmac(_bond_text(self.bootstrap_token or "")) if is_bootstrap else b""

    def _digests(self, text: str) -> list[bytes]:
        """HMACs of a text under every generation of the session key."""
        return [self.key.hmac(text, generation) for generation in self.key.generations]


def printable(user_agent: str) -> str:
    """The beginning of a User-Agent header, without tokens and without characters that are not
    printable ASCII.
    """
    text = "".join(
        character
        for character in user_agent[:_USER_AGENT_CHARS_SEARCHED]
        if character.isascii() and character.isprintable()
    )
    return redacted(text)[:_USER_AGENT_CHARS_MAX]


def _stored_roles(kind: ActorType, roles: frozenset[Role]) -> tuple[str, ...]:
    """Only the roles of a person are stored. The roles of other credentials are read for each
    request.
    """
    return tuple(sorted(role.value for role in roles)) if kind == "person" else ()


def _link_text(code: str) -> str:
    return f"sign-in-link:{code}"


def _stored(cookie: str) -> str:
    return f"session:{cookie}"


def _bond_text(secret: str) -> str:
    return (
        f"session-bond:{base64.b64encode(secret.encode('utf-8', 'surrogatepass')).decode('ascii')}"
    )


def _csrf_text(cookie: str) -> str:
    return f"session-csrf:{cookie}"
