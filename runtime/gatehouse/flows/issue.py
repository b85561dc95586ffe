"""Issuing a key: makes the token, stores what verifies it, and hands the token out this once."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from gatehouse.core.apikey import ParsedToken, Pepper, build_marked
from gatehouse.core.roles import granted
from gatehouse.errors import BadRequest, Conflict, Problem, Unavailable
from gatehouse.flows.actor import Actor
from gatehouse.store.ports import Clock, KeyStore, StoredKey
from gatehouse.types import AuditEvent, CreditPlan, KeyEnvironment, KeyRecord, KeyState, Limit

ACTION = "key.create"
#: Ids carry 47 random bits: a second collision in a row means a broken source of randomness.
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
    roles: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    credits: CreditPlan | None = None
    tags: tuple[str, ...] = ()
    metadata: dict[str, str] = {}
    notes: str = ""


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
    check_expiry(expires_at, now)
    generation = await writing_generation(store, pepper)
    for _ in range(_ID_ATTEMPTS):
        token = new_token(prefix, order.environment, pepper=pepper, generation=generation, random_bytes=random_bytes)
        record = KeyRecord(
            id=token.id,
            digest=digest_of(token, pepper, generation),
            pepper_generation=generation,
            environment=order.environment,
            state=KeyState.ACTIVE,
            name=order.name,
            owner=order.owner,
            scopes=granted(order.scopes, order.roles),
            cores=order.cores,
            limits=order.limits,
            expires_at=expires_at,
            version=1,
            lineage=token.id,
            addresses=order.addresses,
            methods=order.methods,
            has_credits=order.credits is not None,
        )
        key = StoredKey(
            record=record,
            created_at=now,
            created_by=actor.label,
            own_scopes=order.scopes,
            roles=order.roles,
            tags=order.tags,
            metadata=order.metadata,
            notes=order.notes,
            credits=order.credits,
            id_generation=generation,
        )
        try:
            await store.add(key, _event(key, actor, now))
        except Conflict:
            continue
        return Issued(token=token.text, key=key)
    raise Unavailable("Keys cannot be issued at the moment", detail="random key ids collide")


async def writing_generation(store: KeyStore, pepper: Pepper) -> int:
    """The pepper generation to write with: the newest that every live gateway can read already, so that no new key fails there.

    While a new generation is rolled out, that is still the old one.
    """
    held = [generation for generation in pepper.generations if generation <= pepper.current]
    return await store.writable_generation(held) or pepper.current


def new_token(
    prefix: str, environment: KeyEnvironment, *, pepper: Pepper, generation: int, random_bytes: Callable[[int], bytes]
) -> ParsedToken:
    """A token whose id is marked under the generation. Raises Unavailable when that is not held."""
    token = build_marked(
        prefix, environment, random_bytes(_ID_BYTES), random_bytes(_SECRET_BYTES), pepper=pepper, generation=generation
    )
    if token is None:
        raise _no_generation()
    return token


def digest_of(token: ParsedToken, pepper: Pepper, generation: int) -> bytes:
    """What is stored of a token. Raises Unavailable when the generation is not held."""
    digest = pepper.digest(token.text, generation)
    if digest is None:
        raise _no_generation()
    return digest


def check_expiry(expires_at: float | None, now: float) -> None:
    """Raises BadRequest for an instant that is past or more than ten years ahead; None is no end."""
    if expires_at is None:
        return
    if expires_at <= now:
        raise _bad_expiry("is in the past", "send a later instant")
    if expires_at > now + TTL_S_MAX:
        raise _bad_expiry("is more than ten years ahead", "send an earlier instant, and rotate the key before it")


def limit_texts(limits: tuple[Limit, ...]) -> list[str]:
    """Limits as the audit trail keeps them."""
    return [
        f"{one.name}:{one.quota}/{one.window_s}s burst {one.burst}" + (f" cost {one.cost}" if one.cost != 1 else "")
        for one in limits
    ]


def _no_generation() -> Unavailable:
    return Unavailable("Keys cannot be issued at the moment", detail="the pepper generation is not held")


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
            "scopes": list(key.own_scopes),
            "roles": list(key.roles),
            "cores": list(record.cores),
            "methods": list(record.methods),
            "addresses": list(record.addresses),
            "limits": limit_texts(record.limits),
            "credits": None if key.credits is None else key.credits.remaining,
            "expires_at": record.expires_at,
            "pepper_generation": record.pepper_generation,
        },
    )
