"""Limits on denied attempts to use a link or a submission link.

An attempt with an unknown link makes the same DynamoDB calls as one with an existing link, so
neither the response nor its time reveals which links exist. The limits change only the response to
attempts that are denied anyway, so a client cannot lock out other clients.
"""

from dataclasses import dataclass
from typing import Literal

from gatehouse.core.audit_events import AuditAction
from gatehouse.core.errors import GatehouseError, NotFound, TooManyRequests
from gatehouse.features.secrets.backend import Backend
from gatehouse.features.secrets.link_token import LinkToken
from gatehouse.features.secrets.models import Client, SharingEvent

ATTEMPT_WINDOW_S = 600.0
#: Maximum number of recorded denied attempts per link and window.
DENIED_EVENTS_MAX = 20
#: Maximum number of denied attempts per network and window. Further attempts get a 429 response and
#: are neither counted nor recorded.
NETWORK_DENIED_MAX = 100


class LinkNotFound(NotFound, temporary=False):
    """The link cannot be opened. The error does not distinguish unknown, expired, revoked and used
    links.
    """

    title = "This link does not exist, was used, or has expired"


class TooManyDenied(TooManyRequests, temporary=True):
    title = "Too many attempts to use links that do not exist, were used, or have expired"


@dataclass(slots=True, eq=False)
class Denials:
    """Denied attempts of recipients or of submitters. Methods raise Unavailable if DynamoDB cannot
    be reached.
    """

    _backend: Backend
    _kind: Literal["recipient", "submitter"]
    _action: AuditAction

    async def error(
        self, token: LinkToken, client: Client, reason: str, *, exists: bool = True
    ) -> GatehouseError:
        """Count a denied attempt by the network of a client, and return its error. If the link
        exists, the event of the attempt is stored with the secret.
        """
        wait_s = await self._wait_s(f"network:{client.network}", NETWORK_DENIED_MAX)
        if wait_s is not None:
            message = f"{TooManyDenied.title}. Try again in {wait_s} s."
            return TooManyDenied(message, retry_after_s=wait_s)
        if await self._wait_s(token.path, DENIED_EVENTS_MAX) is None:
            # No secret has the other ID.
            secret_id = token.secret_id if exists else f"unknown:{token.path}"
            await self._backend.table.record(secret_id, self.event(token, client, reason))
        return LinkNotFound()

    def event(self, token: LinkToken, client: Client, reason: str) -> SharingEvent:
        actor, details = client.actor(self._kind, token.link_id or token.path), {"reason": reason}
        return self._backend.event(
            actor, self._action, token.secret_id, details, link=token.link_id, outcome="denied"
        )

    async def _wait_s(self, counter: str, limit: int) -> int | None:
        wait_s, _ = await self._backend.table.take_attempt(
            f"denied:{counter}",
            limit=limit,
            window_s=ATTEMPT_WINDOW_S,
            now=self._backend.clock.now(),
        )
        return wait_s
