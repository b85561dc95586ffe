"""Announces changes of keys in Valkey, where gateway workers read them that cannot read PostgreSQL.

A change is announced if gateway workers may not have read it in PostgreSQL. A revocation can also
be announced while PostgreSQL is not available; every process that has read the announcement writes
it to PostgreSQL afterwards.

An announcement is sealed under the pepper, so nobody without the pepper can write one or read it. A
repeated announcement has no effect: a worker uses a row only if its version is higher than that of
the row in its cache, and a revocation is final. Every process adds the announcements that it knows
again if Valkey has lost them.
"""

import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec.structs import replace

from gatehouse.core import lifecycle
from gatehouse.core.actor import Actor
from gatehouse.core.audit_events import AuditEvent
from gatehouse.core.clock import Clock, age_ms, monotonic
from gatehouse.core.customers import stored
from gatehouse.core.errors import Unavailable
from gatehouse.core.keys import CustomerRecord, Key, KeyChange, KeyId, KeyRecord, LockedKey
from gatehouse.core.lifecycle import Action
from gatehouse.core.tokens.sealing import seal, unseal
from gatehouse.core.tokens.token import Pepper
from gatehouse.features.keys.fields import Effective
from gatehouse.features.keys.repository import REVOKE_TIMEOUT_S, KeyRepository
from gatehouse.platform.redis.connection import Redis

#: A sorted set of announcements. The score is the time at which the announcement ends.
NAME = "gatehouse:announcements:{0}"
PURPOSE = "key announcement"
READ_S = 0.5
COMMIT_S = 1.0
#: Timeout of a call, which includes the time for opening a connection with an IAM token.
CALL_TIMEOUT_S = 1.0

#: Maximum number of announcements. With more, changes are not announced, and the announcements
#: count as not read.
ANNOUNCEMENTS_MAX = 10_000

#: Time in seconds for which a revocation that is not in PostgreSQL is announced.
PENDING_S = 86_400.0

#: Added to the time for which other changes are announced: clocks differ.
MARGIN_S = 60.0


class Announcement(msgspec.Struct, frozen=True):
    """The changed row of a key or of a customer, or the audit event of a revocation that is not in
    PostgreSQL.
    """

    ends_at: float
    record: KeyRecord | None = None
    customer: CustomerRecord | None = None
    revocation: AuditEvent | None = None


_decode = msgspec.msgpack.Decoder(Announcement).decode


@dataclass(slots=True, eq=False)
class Announcements:
    """The announcements of a deployment, as one process knows them.

    outage_max_s: maximum time for which a gateway worker uses the key state without PostgreSQL.
    on_announced: called with each new announcement.
    """

    redis: Redis
    pepper: Pepper
    clock: Clock
    outage_max_s: float
    on_announced: Callable[[Announcement], None] = lambda _: None
    _known: dict[bytes, Announcement | None] = field(default_factory=dict)
    _committed: set[KeyId] = field(default_factory=set)
    _read_since: float | None = None

    def age_ms(self) -> int:
        """Time in milliseconds since the start of the last successful read."""
        return age_ms(self._read_since)

    async def read(self) -> None:
        """Reads new announcements, and adds those that are missing. Raises Unavailable."""
        began, now = monotonic(), self.clock.now()
        pipeline = self.redis.client.pipeline(transaction=False)
        pipeline.zremrangebyscore(NAME, "-inf", now)
        pipeline.zrange(NAME, 0, ANNOUNCEMENTS_MAX)
        _, members = await self._call(pipeline.execute())
        _check_number(len(members))
        known, present = self._known, set(members)
        lost = {
            sealed: announcement.ends_at
            for sealed, announcement in known.items()
            if announcement is not None and sealed not in present and announcement.ends_at > now
        }
        self._known = {sealed: known[sealed] for sealed in lost}
        for sealed in members:
            is_new = sealed not in known
            announcement = self._known[sealed] = self._open(sealed) if is_new else known[sealed]
            if is_new and announcement is not None:
                self.on_announced(announcement)
        if lost:
            await self._call(self.redis.client.zadd(NAME, lost))
        self._read_since = began

    async def announce(self, changed: Key | CustomerRecord, effective: Effective) -> Effective:
        """Announces a change that a gateway worker may not have read in PostgreSQL. Returns the
        propagation of the change.
        """
        if effective != "within_outage_bound":
            return effective
        ends_at = self.clock.now() + self.outage_max_s + MARGIN_S
        if isinstance(changed, Key):
            row = replace(stored(changed), customer=None, terms=None, shared_limits=())
            record = msgspec.convert(row, KeyRecord, from_attributes=True)
            announcement = Announcement(ends_at, record=record)
        else:
            customer = msgspec.convert(changed, CustomerRecord, from_attributes=True)
            announcement = Announcement(ends_at, customer=customer)
        with suppress(Unavailable):
            await self._add(announcement)
            return "within_bound"
        return effective

    async def announce_revocation(self, event: AuditEvent) -> Effective:
        """Announces a revocation that cannot be written to PostgreSQL. Raises Unavailable, in which
        case nothing was revoked.
        """
        await self._add(Announcement(self.clock.now() + PENDING_S, revocation=event))
        return "announced"

    async def commit(self, keys: KeyRepository) -> None:
        """Writes the announced revocations to PostgreSQL. Idempotent. Raises Unavailable."""
        announced = {
            KeyId(each.revocation.target_id): each.revocation
            for each in self._known.values()
            if each is not None and each.revocation is not None
        }
        self._committed &= announced.keys()
        for key_id, event in announced.items():
            if key_id not in self._committed:
                await keys.alter(key_id, revoking(event), deadline_s=REVOKE_TIMEOUT_S)
                self._committed.add(key_id)

    async def _add(self, announcement: Announcement) -> None:
        """Seals the announcement under each generation, because another process may not have
        all.
        """
        plain = msgspec.msgpack.encode(announcement)
        sealed = {
            seal(plain, PURPOSE, self.pepper, generation, secrets.token_bytes): announcement
            for generation in self.pepper.generations
        }
        client = self.redis.client
        _check_number(await self._call(client.zcard(NAME)) + len(sealed))
        await self._call(client.zadd(NAME, dict.fromkeys(sealed, announcement.ends_at)))
        self._known.update(sealed)
        self.on_announced(announcement)

    async def _call(self, reply: Awaitable[Any]) -> Any:
        return await self.redis.call(reply, CALL_TIMEOUT_S)

    def _open(self, sealed: bytes) -> Announcement | None:
        """None for data that is not an announcement, or that ended or cannot be read."""
        for generation in self.pepper.generations:
            plain = unseal(sealed, PURPOSE, self.pepper, generation)
            if plain is not None:
                try:
                    announcement = _decode(plain)
                except msgspec.MsgspecError:  # of another version
                    return None
                return announcement if announcement.ends_at > self.clock.now() else None
        return None


def _check_number(announcements: int) -> None:
    """Raises Unavailable if there are too many."""
    if announcements > ANNOUNCEMENTS_MAX:
        raise Unavailable("There are too many announcements.", detail="announcements: too many")


def revoking(event: AuditEvent) -> Callable[[LockedKey], tuple[KeyChange, AuditEvent] | None]:
    """The change of the revocation that an audit event describes, or nothing if the key cannot be
    revoked.
    """

    def revoke(locked: LockedKey) -> tuple[KeyChange, AuditEvent] | None:
        key, action = locked.key, Action.REVOKE
        state = lifecycle.next_state(key.state, action)
        if state is None or state is key.state:
            return None
        by = Actor(event.actor_type, event.actor_id).label  # type: ignore[arg-type]
        now, reason = event.occurred_at, str(event.details["reason"])
        return lifecycle.state_change(key, action, state, now, by=by, reason=reason), event

    return revoke
