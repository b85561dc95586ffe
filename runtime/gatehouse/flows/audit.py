"""Keeping refused attempts in the audit trail without letting a flood of them fill it."""

from __future__ import annotations

import ipaddress

from gatehouse.errors import Unavailable
from gatehouse.flows.actor import Actor, Details
from gatehouse.store.ports import AuditTrail, Clock
from gatehouse.types import RequestId

ACTION = "access.denied"
WINDOW_S = 60
#: Addresses that get rows of their own in one minute; the rest share one, so that many addresses are no way around the count.
ADDRESSES_MAX = 200
_OTHERS = "others"


class DeniedAttempts:
    """The first refusal of an address in a minute is written at once, the others of that minute as one row with their number.

    That number is held in memory until the minute is over: it is lost when the process is killed, the first row is not.
    """

    def __init__(self, trail: AuditTrail, clock: Clock, *, door: str) -> None:
        self._trail = trail
        self._clock = clock
        self._door = door
        self._window = 0
        self._held: dict[str, int] = {}

    async def record(self, address: str, request_id: RequestId, reason: str) -> None:
        """Notes a refusal. Never raises: a caller without a credential is refused, whether or not the database can be reached."""
        await self.turn()
        subject = _subject(address)
        if subject not in self._held and len(self._held) >= ADDRESSES_MAX:
            subject = _OTHERS
        if subject in self._held:
            self._held[subject] += 1
            return
        self._held[subject] = 0
        await self._write(subject, request_id, {"reason": reason, "attempts": 1})

    async def flush(self) -> None:
        """Writes what is held now; called at shutdown."""
        held, self._held = self._held, {}
        for subject, count in held.items():
            if count:
                await self._write(subject, RequestId(""), {"attempts": count, "window_s": WINDOW_S})

    async def turn(self) -> None:
        """Writes what is held when its minute is over; called with every refusal and by the door's timer."""
        window = int(self._clock.now() // WINDOW_S)
        if window != self._window:
            self._window = window
            await self.flush()

    async def _write(self, subject: str, request_id: RequestId, details: Details) -> None:
        actor = Actor(type="system", id="anonymous", request_id=request_id, source_address=subject)
        event = actor.did(
            ACTION, target_type="door", target_id=self._door, at=self._clock.now(), details=details, outcome="denied"
        )
        try:
            await self._trail.append(event)
        except Unavailable:
            # The request log still has the refusal; the answer does not wait for the database to come back.
            return


def _subject(address: str) -> str:
    """The address, or its /64 network for IPv6: one customer holds a whole one."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    return str(ipaddress.ip_network(f"{parsed}/64", strict=False)) if parsed.version == 6 else str(parsed)
