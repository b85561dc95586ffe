"""Sealed signing secrets in PostgreSQL, moved a batch a transaction; workers of several consoles skip each other's rows.

What re-sealing needs from the outside world: the sealed secrets of keys, some at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from gatehouse.audit.models import AuditEvent
from gatehouse.audit.repository import append
from gatehouse.db.engine import transaction
from gatehouse.db.tables import api_key
from gatehouse.keys.models import KeyId

BATCH_MAX = 500


class PostgresReseal:
    """`ports_signing.SealedSecrets` on the table `api_key`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def rewrite(
        self,
        held: Sequence[int],
        generation: int,
        work: Callable[[Sealed], bytes | None],
        event: Callable[[int], AuditEvent],
    ) -> int:
        columns = (api_key.c.id, api_key.c.family_id, api_key.c.signing_generation, api_key.c.signing_key)
        old = select(*columns).where(api_key.c.signing_generation.in_(held), api_key.c.signing_generation > 0)
        old = old.order_by(api_key.c.id).limit(BATCH_MAX).with_for_update(skip_locked=True)
        moved = 0
        if not held:
            return moved
        async with transaction(self._engine) as connection:
            for row in (await connection.execute(old)).all():
                sealed = work(Sealed(KeyId(row.id), row.family_id, row.signing_generation, bytes(row.signing_key)))
                if sealed is not None:
                    one = update(api_key).where(api_key.c.id == row.id)
                    await connection.execute(one.values(signing_key=sealed, signing_generation=generation))
                    moved += 1
            if moved:
                await append(connection, event(moved))
        return moved


class Sealed(msgspec.Struct, frozen=True):
    """The sealed signing secret of a key. `owner`: whom it is sealed for, the key family."""

    key_id: KeyId
    owner: str
    generation: int
    sealed: bytes


class SealedSecrets(Protocol):
    async def rewrite(
        self,
        held: Sequence[int],
        generation: int,
        work: Callable[[Sealed], bytes | None],
        event: Callable[[int], AuditEvent],
    ) -> int:
        """Writes what `work` makes of secrets that are sealed under a generation of `held`, as sealed under `generation`.

        In one transaction with the audit event of how many; None leaves one as it is. Raises Unavailable.
        """
        ...
