"""Issuing a key: makes the token, stores what verifies it, and hands the token out this once."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from gatehouse.core.apikey import Pepper, build
from gatehouse.errors import BadRequest, Conflict, Problem, Unavailable
from gatehouse.flows.actor import Actor
from gatehouse.store.ports import Clock, KeyStore, StoredKey
from gatehouse.types import AuditEvent, KeyEnvironment, KeyRecord, KeyState, Limit

ACTION = "key.create"
#: Ids carry 71 bits: a second collision in a row means a broken source of randomness.
_ID_ATTEMPTS = 2
#: Ten years: whatever lives longer should have been rotated long before.
TTL_S_MAX = 10 * 365 * 86_400
_ID_BYTES = 12
_SECRET_BYTES = 32


class Order(msgspec.Struct, frozen=True):
    """What the key shall be. `ttl_s` and `expires_at` (Unix seconds) exclude each other; neither = it does not expire."""

    name: str
    owner: str
    environment: KeyEnvironment
    scopes: tuple[str, ...]
    cores: tuple[str, ...]
    limits: tuple[Limit, ...]
    expires_at: float | None = None
    ttl_s: int | None = None


class Issued(msgspec.Struct, frozen=True):
    token: str  # the secret itself: to be shown once and kept nowhere
    key: StoredKey

    def __repr__(self) -> str:
        return f"Issued({self.key.record.id})"


async def issue(
    order: Order,
    actor: Actor,
    *,
    store: KeyStore,
    pepper: Pepper,
    prefix: str,
    clock: Clock,
    random_bytes: Callable[[int], bytes],
) -> Issued:
    """Stores a new key with its audit event. Raises BadRequest when it would be born expired, Unavailable."""
    now = clock.now()
    expires_at = now + order.ttl_s if order.ttl_s is not None else order.expires_at
    _check_expiry(expires_at, now)
    for _ in range(_ID_ATTEMPTS):
        token = build(prefix, order.environment, random_bytes(_ID_BYTES), random_bytes(_SECRET_BYTES))
        digest = pepper.digest(token.text, pepper.current)
        if digest is None:
            raise Unavailable("Keys cannot be issued at the moment", detail="the current pepper generation is not held")
        record = KeyRecord(
            id=token.id,
            digest=digest,
            pepper_generation=pepper.current,
            environment=order.environment,
            state=KeyState.ACTIVE,
            name=order.name,
            owner=order.owner,
            scopes=order.scopes,
            cores=order.cores,
            limits=order.limits,
            expires_at=expires_at,
            version=1,
        )
        key = StoredKey(record=record, created_at=now, created_by=actor.label)
        try:
            await store.add(key, _event(key, actor, now))
        except Conflict:
            continue
        return Issued(token=token.text, key=key)
    raise Unavailable("Keys cannot be issued at the moment", detail="random key ids collide")


def _check_expiry(expires_at: float | None, now: float) -> None:
    if expires_at is None:
        return
    if expires_at <= now:
        raise _bad_expiry("is in the past", "send a later instant")
    if expires_at > now + TTL_S_MAX:
        raise _bad_expiry("is more than ten years ahead", "send an earlier instant, and rotate the key before it")


def _bad_expiry(message: str, fix: str) -> BadRequest:
    return BadRequest("The key cannot have this expiry", errors=(Problem("body.expires_at", message, fix),))


def _event(key: StoredKey, actor: Actor, now: float) -> AuditEvent:
    record = key.record
    return actor.did(
        ACTION,
        target_type="key",
        target_id=record.id,
        at=now,
        details={
            "name": record.name,
            "owner": record.owner,
            "environment": record.environment.value,
            "scopes": list(record.scopes),
            "cores": list(record.cores),
            "limits": [f"{limit.name}:{limit.quota}/{limit.window_s}s burst {limit.burst}" for limit in record.limits],
            "expires_at": record.expires_at,
            "pepper_generation": record.pepper_generation,
        },
    )
