"""GET /v1/audit-checkpoints: the signed checkpoints of the audit trail, as the database knows them."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from gatehouse.doors.console.caller import Door
from gatehouse.wire.checkpoint import CheckpointPage, ListCheckpoints, checkpoint_view


async def list_checkpoints(query: Annotated[ListCheckpoints, Query()], door: Door) -> CheckpointPage:
    """List checkpoints. Trust those in the locked bucket; these are the same ones, easier to reach."""
    found = await door.checkpoints.page(after=query.after, size=query.limit + 1)
    shown = found[: query.limit]
    return CheckpointPage(
        checkpoints=[checkpoint_view(one) for one in shown],
        next_after=shown[-1].seq if len(found) > query.limit else None,
        public_key=None if door.signer is None else (await door.signer.public_key()).decode(),
    )
