"""What re-sealing needs from the outside world: the sealed secrets of keys, some at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from gatehouse.types import AuditEvent, KeyId


class Sealed(msgspec.Struct, frozen=True):
    """The sealed signing secret of a key. `owner`: whom it is sealed for, the key's lineage."""

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
