"""Revocation of a key by its holder, who sends the token to a gateway."""

from __future__ import annotations

from dataclasses import dataclass

from gatehouse.core import lifecycle
from gatehouse.core.actor import Actor, RequestId
from gatehouse.core.audit_events import AuditAction
from gatehouse.core.clock import Clock
from gatehouse.core.keys import KeyId, KeyRecord, KeyState
from gatehouse.core.lifecycle import Action
from gatehouse.core.token_scanner import redacted
from gatehouse.features.keys.models import Effective
from gatehouse.features.keys.possession import KeyFinder
from gatehouse.features.keys.repository import KeyRepository
from gatehouse.features.verification.cache import KeyCache


@dataclass(frozen=True, slots=True)
class SelfRevocationService:
    """Revokes keys from a gateway worker.

    cache: key cache of this worker, which is updated immediately.
    confirmation_timeout_s: maximum time that a revocation waits for the other gateway workers.
    """

    finder: KeyFinder[KeyRecord]
    repository: KeyRepository
    cache: KeyCache
    clock: Clock
    confirmation_timeout_s: float

    async def revoke(
        self, token: str, reason: str, *, request_id: RequestId, source_address: str
    ) -> tuple[KeyId, Effective] | None:
        """Revokes the key to which a token belongs. Returns None if the token does not prove
        possession of a key that can be revoked.

        Raises Unavailable, in which case nothing was revoked.
        """
        record, reason = await self.finder.proven(token), redacted(reason)
        if (
            record is None
            or record.state is KeyState.REVOKED
            or lifecycle.next_state(record.state, Action.REVOKE) is None
        ):
            return None
        now = self.clock.now()
        actor = Actor(
            type="key", id=record.id, request_id=request_id, source_address=source_address
        )
        event = actor.event(
            AuditAction.KEY_SELF_REVOKE, target_id=record.id, at=now, details={"reason": reason}
        )
        written = await self.repository.revoke_usable(
            record.id, at=now, by=actor.label, reason=reason, event=event
        )
        if written is None:
            return None
        revoked, change_seq = written
        self.cache.change(revoked)
        return revoked.id, await self.repository.effective(
            change_seq, timeout_s=self.confirmation_timeout_s
        )
