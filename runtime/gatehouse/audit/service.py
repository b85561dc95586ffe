"""Keeping refused attempts in the audit trail without letting a flood of them fill it.

Taking checkpoints of the audit trail: when one is due, the new rows are checked, signed for and copied to the vault.

A broken chain is never signed: that is reported each time until somebody looks. The vault comes before the database: a checkpoint
that the database knows is in the vault, and one that only the vault has costs nothing but being taken again."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from gatehouse.audit.checkpoint import Checkpoint, to_sign
from gatehouse.audit.checkpoint_ports import CheckpointArchive, Checkpoints, Signer
from gatehouse.audit.models import AuditTrail
from gatehouse.clock import Clock
from gatehouse.errors import Unavailable
from gatehouse.http.models import RequestId
from gatehouse.identity.models import Actor, Details

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


class Checkpointer:
    """rows: that many new ones make a checkpoint due. seconds: so does one new row, once the last checkpoint is this old.

    on_broken hears the number of a row that breaks the chain.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        signer: Signer,
        vault: CheckpointArchive,
        clock: Clock,
        *,
        rows: int,
        seconds: float,
        on_broken: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._checkpoints = checkpoints
        self._signer = signer
        self._vault = vault
        self._clock = clock
        self._rows = rows
        self._seconds = seconds
        self._on_broken = on_broken
        self._begun_at = clock.now()

    async def turn(self) -> Checkpoint | None:
        """Takes a checkpoint when one is due. Raises Unavailable; the next turn tries again."""
        last = await self._checkpoints.last()
        new_rows = await self._checkpoints.newest_seq() - (0 if last is None else last.seq)
        age_s = self._clock.now() - (self._begun_at if last is None else last.taken_at)
        # Fewer rows than were checkpointed: somebody cut the trail. `take` finds and reports it.
        if new_rows == 0 or (0 < new_rows < self._rows and age_s < self._seconds):
            return None
        return await self.take()

    async def take(self) -> Checkpoint | None:
        """Takes one now. None when there is nothing new, or nothing that may be signed. Raises Unavailable."""
        last = await self._checkpoints.last()
        if last is not None and await self._checkpoints.newest_seq() < last.seq:
            self._on_broken(await self._checkpoints.newest_seq() + 1)
            return None
        stretch = await self._checkpoints.stretch(last)
        if stretch.broken is not None:
            self._on_broken(stretch.broken)
            return None
        if stretch.rows == 0:
            return None
        now, key_id, algorithm = self._clock.now(), await self._signer.key_id(), self._signer.algorithm
        signature = await self._signer.sign(to_sign(stretch.last_seq, stretch.last_hash, now, key_id, algorithm))
        checkpoint = Checkpoint(stretch.last_seq, stretch.last_hash, now, key_id, algorithm, signature)
        await self._vault.put(checkpoint)
        return checkpoint if await self._checkpoints.add(checkpoint) else None
