"""Revocation of a key by its holder, who sends the token to a gateway."""

from dataclasses import dataclass

from gatehouse.core.actor import Actor, RequestId
from gatehouse.core.audit_events import AuditAction
from gatehouse.core.clock import Clock
from gatehouse.core.errors import Unavailable
from gatehouse.core.keys import KeyId, KeyRecord, KeyState
from gatehouse.core.tokens.token_scanner import redacted
from gatehouse.features.keys.changes_in_valkey import Announcements, revoking
from gatehouse.features.keys.fields import Effective
from gatehouse.features.keys.possession import KeyFinder
from gatehouse.features.keys.repository import REVOKE_TIMEOUT_S, KeyRepository
from gatehouse.features.verification.cache import KeyCache


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
        actor = Actor(
            type="key", id=record.id, request_id=request_id, source_address=source_address
        )
        event = actor.event(
            AuditAction.KEY_SELF_REVOKE,
            target_id=record.id,
            at=self.clock.now(),
            details={"reason": reason},
        )
        try:
            written = await self.repository.alter(
                record.id, revoking(event), deadline_s=REVOKE_TIMEOUT_S
            )
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
