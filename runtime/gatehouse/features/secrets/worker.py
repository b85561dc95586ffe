"""Background work for secrets: writes events to the audit trail, and deletes content that is due
and orphaned objects.

Several processes can run the worker. Every step is conditional or idempotent, and repeated after a
failure.
"""

import base64
from collections.abc import Sequence
from functools import partial

import msgspec

from gatehouse.core.actor import Actor
from gatehouse.core.audit_events import AuditAction
from gatehouse.features.secrets.backend import Backend
from gatehouse.features.secrets.deletion_receipt import ObjectVersion, signed_text, statement_of
from gatehouse.features.secrets.models import (
    CLAIM_S,
    RECEIPT_S,
    EndReason,
    LinkState,
    Secret,
    SecretState,
    ended,
    is_expired,
    is_final,
    is_used,
)
from gatehouse.features.secrets.repository import SecretEventRepository
from gatehouse.platform.aws.signing_key import KmsSigner
from gatehouse.platform.db.pool import Pool
from gatehouse.platform.observability import Observer

#: Each search for due secrets is a billed query and data event, also without work.
INTERVAL_S = 5.0
ORPHAN_INTERVAL_S = 3600.0
#: Age in seconds at which objects without a secret are deleted. A secret is stored seconds after
#: its objects.
ORPHAN_AGE_S = 3600.0
BATCH = 125
#: Bounds of the retry interval in seconds. The interval equals the time for which the work has been
#: due. Failing work therefore does not delay other secrets.
RETRY_S_MIN = 5.0
RETRY_S_MAX = 240.0
#: Interval in seconds at which the age of the oldest due secret is published.
REPORT_INTERVAL_S = 60.0
#: Maximum number of times that a run reads a secret whose events change in the meantime.
_READS = 5
_LOCK = "SELECT pg_try_advisory_lock(hashtextextended($1, 0))"
_ACTOR = Actor(type="system", id="secrets")


class SecretWorker:
    """Processes due secrets. Methods raise Unavailable. `run_once` processes all secrets, then
    raises the first exception.
    """

    def __init__(
        self, backend: Backend, pool: Pool, signer: KmsSigner | None, observer: Observer
    ) -> None:
        self._table = backend.table
        self._content = backend.content
        self._clock = backend.clock
        self._event = partial(backend.event, _ACTOR)
        self._pool = pool
        self._events = SecretEventRepository(pool)
        self._signer = signer
        self._observer = observer
        #: Failed work: time at which it became due, and time of the next attempt, by item ID.
        self._failed: dict[str, tuple[float, float]] = {}
        #: Time up to which all due work is done.
        self._done_until = self._clock.now()

    async def run_once(self) -> int:
        started_at = self._clock.now()
        # Failed work, which waits for its next attempt, does not delay other work.
        size = BATCH + len(self._failed)
        due = await self._table.due(started_at, size)
        self._failed = {
            item_id: self._failed[item_id] for item_id, _ in due if item_id in self._failed
        }
        attempts, failures = 0, []
        for item_id, work_at in due:
            if self._failed.get(item_id, (0.0, 0.0))[1] > started_at:
                continue
            attempts += 1
            try:
                await self._handle(item_id)
                self._failed.pop(item_id, None)
            except Exception as exc:  # also of unreadable items, which must not block others
                failures.append(exc)
                self._postpone(item_id, work_at)
        waiting = [due_since for due_since, _ in self._failed.values()]
        # After a full batch, more may be due since the last `work_at`.
        waiting += [work_at for _, work_at in due[size - 1 :]]
        self._done_until = min(waiting, default=started_at)
        if failures:
            raise failures[0]
        return attempts

    async def report(self) -> None:
        """Publish the time for which the oldest due secret has been due. A CloudWatch alarm detects
        a missing value."""
        oldest_s = round(self._clock.now() - self._done_until, 1)
        self._observer.metrics.secrets_due_seconds.set(oldest_s)
        self._observer.publish({"DueSecretsSeconds": oldest_s})

    async def remove_orphans(self) -> int:
        """Delete objects that belong to no secret or to a purged secret. Returns the number of
        deleted object versions.
        """
        removed = 0
        for secret_id in await self._content.secret_ids(
            older_than=self._clock.now() - ORPHAN_AGE_S
        ):
            secret = await self._table.get(secret_id)
            if secret is None or secret.state == SecretState.PURGED:
                removed += (await self._content.delete_all(secret_id))[0]
        return removed

    def _postpone(self, item_id: str, work_at: float) -> None:
        now = self._clock.now()
        due_since, _ = self._failed.get(item_id, (work_at, now))
        next_at = now + min(max(now - due_since, RETRY_S_MIN), RETRY_S_MAX)
        self._failed[item_id] = (due_since, next_at)
        self._observer.log.warning(
            "secret postponed", secret=item_id, due_s=round(now - due_since, 1)
        )

    async def _handle(self, item_id: str) -> None:
        for _ in range(_READS):
            found = await self._table.with_events(item_id)
            if found is None:
                return
            secret, events = found
            await self._events.record(events)
            secret = await self._end(secret)
            if secret.state == SecretState.ENDED:
                async with self._pool.connection() as connection:
                    # Of several processes, one deletes and counts the object versions.
                    if not await connection.fetchval(_LOCK, item_id):
                        return
                    secret = await self._purge(secret)
            next_at = next_due(secret, self._clock.now())
            # Events that were added since then, also by these steps, are recorded at once, so that
            # those of frequent uses do not accumulate.
            if await self._table.settle(item_id, events, next_at=next_at):
                return

    async def _end(self, secret: Secret) -> Secret:
        """End a secret that is expired, or of which no use is left and no claim can be repeated.
        Returns the current secret.
        """
        now = self._clock.now()
        if is_final(secret):
            return secret
        if is_expired(secret, now):
            reason = EndReason.EXPIRED
        elif is_used(secret) and now >= settled_at(secret):
            reason = EndReason.USED
        else:
            return secret
        event = self._event(AuditAction.SECRET_END, secret.id, {"reason": reason.value})

        def end(current: Secret) -> Secret:
            """Return the current secret unchanged if its owner has changed it in the meantime."""
            unchanged = current.revision == secret.revision
            return ended(current, reason, event.at) if unchanged else current

        return await self._table.change(secret, event, end, waits=False)

    async def _purge(self, secret: Secret) -> Secret:
        """Delete every object version of an ended secret, and store a deletion receipt. Returns the
        current secret.
        """
        stored = [
            (item.key, item.object_version) for version in secret.versions for item in version.items
        ]
        count, listed = await self._content.delete_all(secret.id, stored)
        event = self._event(AuditAction.SECRET_PURGE, secret.id, {"object_versions": count})
        receipt = await self._receipt(secret, count, listed, event.at)

        def purged(secret: Secret) -> Secret:
            if secret.state != SecretState.ENDED:
                return secret
            return msgspec.structs.replace(
                secret,
                state=SecretState.PURGED,
                purged_at=event.at,
                versions=(),
                receipt=receipt,
                delete_at=int(event.at + RECEIPT_S),
            )

        return await self._table.change(secret, event, purged, waits=False)

    async def _receipt(
        self, secret: Secret, count: int, listed: Sequence[ObjectVersion], at: float
    ) -> dict[str, str]:
        """Return a statement about the deleted objects, signed with the checkpoint signing key if
        one is configured.
        """
        statement = statement_of(secret, count, listed, at)
        if self._signer is None:
            return {"statement": statement}
        signature = base64.b64encode(await self._signer.sign(signed_text(statement))).decode()
        return {
            "statement": statement,
            "signature": signature,
            "key_id": await self._signer.key_id(),
            "algorithm": self._signer.algorithm,
        }


def settled_at(secret: Secret) -> float:
    """Return the time from which no claim of a used secret can be repeated, because every claim is
    acknowledged or too old.
    """
    claims = [
        claim
        for link in secret.links.values()
        if link.state == LinkState.ACTIVE
        for claim in link.claims.values()
    ]
    return max((claim.acknowledged_at or claim.at + CLAIM_S for claim in claims), default=0.0)


def next_due(secret: Secret, now: float) -> float | None:
    """Return the time at which a secret is due again if no earlier event occurs. None: never."""
    if secret.state == SecretState.PURGED:
        return None
    if secret.state == SecretState.ENDED:
        return now
    return min(secret.expires_at, settled_at(secret)) if is_used(secret) else secret.expires_at
