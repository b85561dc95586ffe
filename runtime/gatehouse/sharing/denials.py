"""Limits of denied attempts to use a link or a submission link.

An attempt with an unknown link makes the same calls of DynamoDB as one with a link that exists, so that neither the response nor
its time shows which links exist. A correct link is never denied because of other attempts: only the response to an attempt that
is denied anyway changes. So nobody can lock out somebody else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from gatehouse.clock import Clock
from gatehouse.errors import GatehouseError, NotFound, TooManyRequests
from gatehouse.sharing.table import Table

ATTEMPT_WINDOW_S = 600.0
#: Events of denied attempts per link.
DENIED_EVENTS_MAX = 20
#: Denied attempts per network. More are answered with 429, and not counted or recorded.
NETWORK_DENIED_MAX = 100


class LinkNotFound(NotFound):
    """Unknown, expired, revoked and used links are not distinguished."""

    code, title = "link_not_found", "This link does not exist, was used, or has expired"


class TooManyDenied(TooManyRequests):
    """The response instead of LinkNotFound after too many of them."""

    code, title = "too_many_denied", "Too many links that do not exist, were used, or have expired"


@dataclass(frozen=True, slots=True)
class Denial:
    """A denied attempt. recorded: its event is stored. wait_s: seconds until the network is below its limit; None: it is."""

    recorded: bool
    wait_s: int | None = None

    def error(self) -> GatehouseError:
        if self.wait_s is None:
            return LinkNotFound()
        message = f"Too many links that do not exist, were used, or have expired. Try again in {self.wait_s} s."
        return TooManyDenied(message, retry_after_s=self.wait_s)


class Denials:
    """Methods raise Unavailable if DynamoDB cannot be reached."""

    def __init__(self, table: Table, clock: Clock) -> None:
        self._table = table
        self._clock = clock

    async def count(self, path: str, network: str) -> Denial:
        """Count a denied attempt. `path`: public part of the link, whether or not it exists."""
        wait_s = await self._wait_s(f"network:{network}", NETWORK_DENIED_MAX)
        if wait_s is not None:
            return Denial(recorded=False, wait_s=wait_s)
        return Denial(recorded=await self._wait_s(path, DENIED_EVENTS_MAX) is None)

    async def _wait_s(self, counter: str, limit: int) -> int | None:
        wait = await self._table.take_attempt(f"denied:{counter}", limit=limit, window_s=ATTEMPT_WINDOW_S, now=self._clock.now())
        return None if wait is None else max(1, math.ceil(wait))
