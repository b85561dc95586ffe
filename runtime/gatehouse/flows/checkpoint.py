"""Taking checkpoints of the audit trail: when one is due, the new rows are checked, signed for and copied to the vault.

A broken chain is never signed: that is reported each time until somebody looks. The vault comes before the database: a checkpoint
that the database knows is in the vault, and one that only the vault has costs nothing but being taken again.
"""

from __future__ import annotations

from collections.abc import Callable

from gatehouse.core.checkpoint import Checkpoint, to_sign
from gatehouse.store.ports import Clock
from gatehouse.store.ports_checkpoint import Checkpoints, Signer, Vault


class Checkpointer:
    """rows: that many new ones make a checkpoint due. seconds: so does one new row, once the last checkpoint is this old.

    on_broken hears the number of a row that breaks the chain.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        signer: Signer,
        vault: Vault,
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
