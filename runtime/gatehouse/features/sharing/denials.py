"""Limits on denied attempts to use a link or a submission link.

An attempt with an unknown link makes the same DynamoDB calls as an attempt with an existing link.
Neither the response nor the response time therefore reveals which links exist. A correct link is
never denied because of other attempts: the limits change only the response to attempts that are
denied anyway. A client therefore cannot lock out other clients.
"""

from __future__ import annotations

from gatehouse.core.clock import Clock
from gatehouse.core.errors import GatehouseError, NotFound, TooManyRequests
from gatehouse.features.sharing.link_token import LinkToken
from gatehouse.features.sharing.models import Client, SharingEvent
from gatehouse.features.sharing.table import Table

ATTEMPT_WINDOW_S = 600.0
#: Maximum number of recorded denied attempts per link and window.
DENIED_EVENTS_MAX = 20
#: Maximum number of denied attempts per network and window. Further attempts get a 429 response and
#: are neither counted nor recorded.
NETWORK_DENIED_MAX = 100


class LinkNotFound(NotFound):
    """The link cannot be opened. The error does not distinguish unknown, expired, revoked and used
    links.
    """

    code, title = "link_not_found", "This link does not exist, was used, or has expired"


class TooManyDenied(TooManyRequests):
    """Replaces LinkNotFound after too many denied attempts from a network."""

    code, title = (
        "too_many_denied",
        "Too many attempts to use links that do not exist, were used, or have expired",
    )


class Denials:
    """Methods raise Unavailable if DynamoDB cannot be reached."""

    def __init__(self, table: Table, clock: Clock) -> None:
        self._table = table
        self._clock = clock

    async def error(
        self, token: LinkToken, client: Client, event: SharingEvent, *, exists: bool
    ) -> GatehouseError:
        """Count a denied attempt by the network of a client, and return its error. `event`: stored
        with the secret if the link exists.
        """
        wait_s = await self._wait_s(f"network:{client.network}", NETWORK_DENIED_MAX)
        if wait_s is not None:
            message = f"{TooManyDenied.title}. Try again in {wait_s} s."
            return TooManyDenied(message, retry_after_s=wait_s)
        if await self._wait_s(token.path, DENIED_EVENTS_MAX) is None:
            # No secret has the other ID.
            secret_id = token.secret_id if exists else f"unknown:{token.path}"
            await self._table.record(secret_id, event)
        return LinkNotFound()

    async def _wait_s(self, counter: str, limit: int) -> int | None:
        return await self._table.take_attempt(
            f"denied:{counter}", limit=limit, window_s=ATTEMPT_WINDOW_S, now=self._clock.now()
        )
