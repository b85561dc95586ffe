"""One-time links to the portal, and the sessions that they start.

A link starts one session, which replaces the link. The code of a link and the cookie of a session
have 256 random bits; the database contains only their HMACs under the session key. The links and
sessions of a customer end when the customer is disabled or deleted.
"""

from dataclasses import dataclass
from secrets import token_bytes

from gatehouse.core.actor import Actor, RequestId
from gatehouse.core.audit_events import AuditAction, AuditEvent
from gatehouse.core.clock import Clock
from gatehouse.core.errors import Conflict, Forbidden, NotFound
from gatehouse.core.keys import CustomerState
from gatehouse.core.notation import base64url
from gatehouse.core.tokens.token import ID_CHARS, Pepper, base62
from gatehouse.core.tokens.token_scanner import RANDOM_CHARS, SESSION_PREFIX, SIGN_IN
from gatehouse.features.customers.repository import CustomerRepository, Found
from gatehouse.features.customers.service import no_customer
from gatehouse.services.console.portal.repository import PortalSession, PortalSessionRepository

#: Maximum age of a session in seconds.
SESSION_S = 3600

#: Maximum number of links and sessions of a customer. A further link ends the oldest.
SESSIONS_MAX = 20

_RANDOM_BYTES = 32


class LinkUsed(NotFound, temporary=False):
    title = "The link has expired or was already used"


class SessionEnded(Forbidden, temporary=False):
    title = "The session has ended"


class CustomerInactive(Forbidden, temporary=False):
    title = "The customer is disabled or deleted"


@dataclass(frozen=True, slots=True)
class PortalSessions:
    """Manages links and sessions. Methods raise Unavailable.

    key: the session key. key_prefix: of this deployment's tokens.
    """

    store: PortalSessionRepository
    clock: Clock
    key: Pepper
    customers: CustomerRepository
    key_prefix: str

    async def create_link(
        self, customer_id: str, language: str, ttl_s: int, actor: Actor
    ) -> tuple[str, float]:
        """Create a link for a customer. Return the code and its expiry. Raises NotFound, and
        Conflict if the customer is not active.
        """
        found, now = await self.customers.get(customer_id), self.clock.now()
        if found is None:
            raise no_customer()
        if found[0].state is not CustomerState.ACTIVE:
            raise Conflict(f"The customer is {found[0].state} and cannot open the portal.")
        # The token scanner recognizes this format.
        code = f"{self.key_prefix}{SIGN_IN}{base64url(token_bytes(_RANDOM_BYTES))}"
        link = PortalSession(
            id=base62(int.from_bytes(token_bytes(12), "big") % 62**ID_CHARS, ID_CHARS),
            customer_id=customer_id,
            language=language,
            created_at=now,
            opened_at=None,
            ends_at=now + ttl_s,
        )
        event = actor.event(
            AuditAction.CUSTOMER_PORTAL_LINK,
            target_id=customer_id,
            at=now,
            details={"link_id": link.id, "valid_s": ttl_s},
        )
        await self.store.add(link, self.key.hmac(_link_text(code)), SESSIONS_MAX, event)
        return code, link.ends_at

    async def link(self, code: str) -> PortalSession:
        """The link with this code. Raises LinkUsed and CustomerInactive."""
        found = await self._find(_link_text(code)) if self._is_code(code) else None
        if found is None:
            raise LinkUsed
        await self._customer(found.customer_id)
        if self.clock.now() >= found.ends_at:
            raise LinkUsed
        return found

    async def open(
        self, code: str, request_id: RequestId, address: str
    ) -> tuple[PortalSession, str]:
        """Use a link, of which one of several concurrent uses succeeds. Returns the session and its
        cookie. Raises the errors of `link`.
        """
        now, cookie = self.clock.now(), SESSION_PREFIX + base64url(token_bytes(_RANDOM_BYTES))
        if not self._is_code(code):
            raise LinkUsed

        def event(session: PortalSession) -> AuditEvent:
            actor = customer_actor(session.customer_id, request_id, address)
            return actor.event(
                AuditAction.CUSTOMER_PORTAL_BEGIN,
                target_id=session.customer_id,
                at=now,
                details={"link_id": session.id},
            )

        session = await self.store.open(
            self._digests(_link_text(code)),
            self.key.hmac(_session_text(cookie)),
            now=now,
            ends_at=now + SESSION_S,
            event=event,
        )
        if session is not None:
            return session, cookie
        await self.link(code)
        raise LinkUsed

    async def find(self, cookie: str) -> tuple[PortalSession, Found]:
        """The session of a cookie, and its customer with its plan. Raises SessionEnded and
        CustomerInactive.
        """
        is_cookie = cookie.isascii() and len(cookie) == len(SESSION_PREFIX) + RANDOM_CHARS
        session = await self._find(_session_text(cookie)) if is_cookie else None
        if session is None:
            raise SessionEnded
        found = await self._customer(session.customer_id)
        if self.clock.now() >= session.ends_at:
            raise SessionEnded
        return session, found

    async def end(self, session: PortalSession) -> None:
        await self.store.end(session.id)

    async def prune(self) -> int:
        """Delete links and sessions that have ended. Returns their number."""
        return await self.store.prune(now=self.clock.now())

    async def _customer(self, customer_id: str) -> Found:
        found = await self.customers.get(customer_id)
        if found is None or found[0].state is not CustomerState.ACTIVE:
            raise CustomerInactive
        return found

    async def _find(self, text: str) -> PortalSession | None:
        return await self.store.find(self._digests(text))

    def _is_code(self, code: str) -> bool:
        prefix = f"{self.key_prefix}{SIGN_IN}"
        is_long = len(code) == len(prefix) + RANDOM_CHARS
        return is_long and code.isascii() and code.startswith(prefix)

    def _digests(self, text: str) -> list[bytes]:
        """HMACs of a text under every generation of the session key."""
        return [self.key.hmac(text, generation) for generation in self.key.generations]


def customer_actor(customer_id: str, request_id: RequestId, address: str) -> Actor:
    return Actor("customer", customer_id, request_id, address)


def _link_text(code: str) -> str:
    return f"portal-link:{code}"


def _session_text(cookie: str) -> str:
    return f"portal-session:{cookie}"
