"""Revocation of a key by its holder, who sends the token to a gateway."""

from dataclasses import dataclass

from gatehouse.core import lifecycle
from gatehouse.core.actor import Actor, RequestId
from gatehouse.core.audit_events import AuditAction, AuditEvent
from gatehouse.core.clock import Clock
from gatehouse.core.errors import Unavailable
from gatehouse.core.keys import KeyChange, KeyId, KeyRecord, KeyState, LockedKey
from gatehouse.core.lifecycle import Action
from gatehouse.core.token_scanner import redacted
from gatehouse.features.keys.announcements import Announcements
from gatehouse.features.keys.possession import KeyFinder
from gatehouse.features.keys.repository import KeyRepository
from gatehouse.features.keys.service import REVOKE_TIMEOUT_S
from gatehouse.features.verification.cache import KeyCache
from gatehouse.platform.web.fields import Effective


@dataclass(frozen=True, slots=True)
class SelfRevocationService:
    """Revokes keys from a gateway worker.

    cache: key cache of this worker, which is updated immediately.
    confirmation_timeout_s: maximum time that a revocation waits for the other gateway workers.
    announcements: of changes that gateways cannot read in the database. None without Redis.
    """

    finder: KeyFinder[KeyRecord]
    repository: KeyRepository
    cache: KeyCache
    clock: Clock
    confirmation_timeout_s: float
    announcements: Announcements | None

    async def revoke(
        self, token: str, reason: str, *, request_id: RequestId, source_address: str
    ) -> tuple[KeyId, Effective] | None:
        """Revokes the key to which a token belongs. Returns None if the token does not prove
        possession of a key that can be revoked.

        Raises Unavailable, in which case nothing was revoked.
        """
        record, reason = await self.finder.proven(token), redacted(reason)
        if record is None or record.state not in (KeyState.ACTIVE, KeyState.DISABLED):
            return None
        now = self.clock.now()
        actor = Actor(
            type="key", id=record.id, request_id=request_id, source_address=source_address
        )
        event = actor.event(
            AuditAction.KEY_SELF_REVOKE, target_id=record.id, at=now, details={"reason": reason}
        )

        def revoke(locked: LockedKey) -> tuple[KeyChange, AuditEvent] | None:
            key, action = locked.key, Action.REVOKE
            state = lifecycle.next_state(key.state, action)
            if state is None or state is key.state:
                return None
            change = lifecycle.state_change(key, action, state, now, by=actor.label, reason=reason)
            return change, event

        try:
            written = await self.repository.alter(record.id, revoke, deadline_s=REVOKE_TIMEOUT_S)
        except Unavailable:
            if self.announcements is None:
                raise
            return record.id, await self.announcements.announce_revocation(event)
        if written is None or written[0].state is not KeyState.REVOKED:
            return None
        revoked, change_seq = written
        self.cache.change(revoked)
        effective = await self.repository.effective(
            change_seq, timeout_s=self.confirmation_timeout_s
        )
        if self.announcements is not None:
            effective = await self.announcements.announce(revoked, effective)
        return revoked.id, effective
