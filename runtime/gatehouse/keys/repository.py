"""Management of keys in PostgreSQL: every write and its audit row in one transaction; the gateway's fast read path is elsewhere.

How a key becomes a row of `api_key` and a row a key, and how a list is narrowed; it runs no statement.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, delete, func, insert, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gatehouse.audit.chain import as_datetime, as_seconds
from gatehouse.audit.models import AuditEvent
from gatehouse.audit.repository import append
from gatehouse.db.engine import connected, transaction
from gatehouse.db.tables import api_key, core, gateway_worker, key_activity, key_credit
from gatehouse.errors import Conflict, Unavailable
from gatehouse.keys.models import (
    LAST_ADMIN_MARGIN_S,
    CreditPlan,
    GenerationUse,
    Key,
    KeyEnvironment,
    KeyFilter,
    KeyId,
    KeyState,
    KeyUpdate,
    LockedKey,
    Page,
    RateLimit,
    SignatureAlgorithm,
    Signing,
    Update,
)
from gatehouse.keys.roles import ADMIN_ROLES, OWNER_SCOPES, granted

CONFIRMED_CHANNEL = "gatehouse_confirmed"


#: A notification may be lost with its connection; the table is looked at this often besides.
_CONFIRM_POLL_S = 0.25


#: Changes of admin keys queue here, so that two of them cannot each take the other for the one that is left. Taken after the
#: rows of the key family and before the locks of the change trigger (7126501) and of the audit trail (7126502).
ADMIN_LOCK = 7126503


_WRITABLE = text(
    "SELECT max(held.generation) FROM unnest(CAST(:held AS integer[])) AS held (generation) WHERE NOT EXISTS ("
    " SELECT FROM gateway_worker WHERE seen_at > now() - make_interval(secs => :live_s)"
    " AND NOT held.generation = ANY (generations) AND generations <> '{}')"
)


_GENERATIONS = text(
    "SELECT generation, sum(keys) AS keys, sum(ids) AS ids, sum(cores) AS cores,"
    " sum(imported) AS imported, sum(signing) AS signing FROM ("
    " SELECT pepper_generation AS generation, count(*) AS keys, 0 AS ids, 0 AS cores, 0 AS imported, 0 AS signing FROM api_key"
    " WHERE state <> 'purged' GROUP BY 1"
    " UNION ALL SELECT id_generation, 0, count(*), 0, count(*) FILTER (WHERE scheme <> 'own'), 0 FROM api_key"
    " WHERE state <> 'purged' GROUP BY 1"
    " UNION ALL SELECT pepper_generation, 0, 0, count(*), 0, 0 FROM core WHERE NOT draining AND expires_at > now() GROUP BY 1"
    " UNION ALL SELECT signing_generation, 0, 0, 0, 0, count(*) FROM api_key WHERE signing_generation > 0 GROUP BY 1"
    ") AS counted GROUP BY generation ORDER BY generation"
)


class PostgresKeyStore:
    """`ports.KeyStore` on the tables `api_key`, `key_credit` and `key_activity`."""

    def __init__(self, engine: AsyncEngine, *, staleness_s: float) -> None:
        """`staleness_s`: how old a gateway worker's picture may get before it refuses by itself (GATEHOUSE_MAX_STALENESS_MS)."""
        self._engine = engine
        self._live_s = 2 * staleness_s

    async def add(self, key: Key, event: AuditEvent) -> None:
        """Raises Conflict when the id exists, Unavailable."""
        try:
            async with transaction(self._engine) as connection:
                await _insert(connection, key)
                await append(connection, event)
        except Unavailable as exc:
            if isinstance(exc.__cause__, IntegrityError):
                raise Conflict("There is a key with this id already") from exc
            raise

    async def get(self, key_id: KeyId) -> Key | None:
        async with connected(self._engine) as connection:
            row = (await connection.execute(_keys().where(api_key.c.id == key_id))).one_or_none()
        return None if row is None else stored(row)

    async def page(self, *, after: KeyId | None, size: int, only: KeyFilter) -> Page:
        """Keys by ascending id."""
        query = _keys().where(*filters(only)).order_by(api_key.c.id).limit(size + 1)
        if after is not None:
            query = query.where(api_key.c.id > after)
        async with connected(self._engine) as connection:
            keys = [stored(row) for row in await connection.execute(query)]
        return Page(keys=tuple(keys[:size]), next_after=keys[size - 1].id if len(keys) > size else None)

    async def alter(self, key_id: KeyId, work: Update) -> tuple[Key, int] | None:
        """The key after `work` and the number of its last change; None when unknown. Raises what `work` raises, Unavailable."""
        async with transaction(self._engine) as connection:
            # All generations, in one order: a rotation changes its neighbours, and two orders could wait for each other.
            family_id = select(api_key.c.family_id).where(api_key.c.id == key_id).scalar_subquery()
            family = select(api_key.c.id).where(api_key.c.family_id == family_id).order_by(api_key.c.id).with_for_update()
            if key_id not in (await connection.execute(family)).scalars().all():
                return None
            one = _keys().where(api_key.c.id == key_id)
            before = stored((await connection.execute(one)).one())
            alteration = work(LockedKey(before, await _is_last_admin(connection, before)))
            if alteration is not None:
                await _write(connection, before, alteration)
                await append(connection, alteration.event)
            row = (await connection.execute(one)).one()
        return stored(row), row.change_seq

    async def writable_generation(self, held: Sequence[int]) -> int | None:
        """The newest generation of `held` that every live worker holds. A worker of a version that does not say counts as any."""
        async with connected(self._engine) as connection:
            found = (await connection.execute(_WRITABLE, {"held": list(held), "live_s": self._live_s})).scalar_one()
        return None if found is None else int(found)

    async def generations(self) -> tuple[GenerationUse, ...]:
        async with connected(self._engine) as connection:
            rows = (await connection.execute(_GENERATIONS)).all()
        counts = ((row.generation, row.keys, row.ids, row.cores, row.imported, row.signing) for row in rows)
        return tuple(GenerationUse(*(int(count) for count in row)) for row in counts)

    async def confirmed_everywhere(self, change_seq: int, *, timeout_s: float) -> bool:
        """True once no live gateway worker lags behind the change. Never raises: whoever cannot look cannot confirm."""
        news = asyncio.Event()

        def heard(*_: object) -> None:
            news.set()

        try:
            # Timeout: the caller's. Failure side: closed, the answer is then "not yet everywhere".
            async with asyncio.timeout(timeout_s), connected(self._engine) as connection:
                driver: Any = (await connection.get_raw_connection()).driver_connection
                await driver.add_listener(CONFIRMED_CHANNEL, heard)
                try:
                    return await self._until_confirmed(connection, change_seq, news)
                finally:
                    await driver.remove_listener(CONFIRMED_CHANNEL, heard)
        except (TimeoutError, Unavailable):
            return False

    async def _until_confirmed(self, connection: AsyncConnection, change_seq: int, news: asyncio.Event) -> bool:
        live_since = func.now() - timedelta(seconds=self._live_s)
        lagging = select(func.count()).select_from(gateway_worker)
        lagging = lagging.where(gateway_worker.c.seen_at > live_since, gateway_worker.c.confirmed_seq < change_seq)
        while True:
            news.clear()
            count = (await connection.execute(lagging)).scalar_one()
            await connection.commit()  # now() and the snapshot belong to a transaction: the next look needs a new one
            if count == 0:
                return True
            try:
                await asyncio.wait_for(news.wait(), _CONFIRM_POLL_S)
            except TimeoutError:
                continue


def _keys() -> Select[Any]:
    """Whole keys: the row, its purse, its last use."""
    joined = api_key.outerjoin(key_credit, key_credit.c.family_id == api_key.c.family_id)
    joined = joined.outerjoin(key_activity, key_activity.c.key_id == api_key.c.id)
    purse = (key_credit.c.remaining, key_credit.c.refill_amount, key_credit.c.refill_every)
    return select(api_key, *purse, key_activity.c.last_used_at).select_from(joined)


async def _is_last_admin(connection: AsyncConnection, key: Key) -> bool:
    if set(OWNER_SCOPES).isdisjoint(key.scopes):
        return False
    await connection.execute(select(func.pg_advisory_xact_lock(ADMIN_LOCK)))
    lasting = [api_key.c.expires_at.is_(None), api_key.c.expires_at > func.now() + timedelta(seconds=LAST_ADMIN_MARGIN_S)]
    if key.expires_at is not None:
        lasting.append(api_key.c.expires_at >= as_datetime(key.expires_at))  # it stays for as long as this one would have
    others = (
        select(func.count())
        .select_from(api_key)
        .where(
            api_key.c.id != key.id,
            api_key.c.environment == KeyEnvironment(key.environment).value,
            api_key.c.state == KeyState.ACTIVE.value,
            or_(*lasting),
            ~api_key.c.require_signature,  # the console takes no signatures, so such a key manages nothing
            api_key.c.scopes.overlap(list(OWNER_SCOPES)) | api_key.c.roles.overlap(list(ADMIN_ROLES)),
        )
    )
    alive = select(api_key.c.expires_at.is_(None) | (api_key.c.expires_at > func.now())).where(api_key.c.id == key.id)
    if key.state is not KeyState.ACTIVE or not (await connection.execute(alive)).scalar_one():
        return False
    return bool((await connection.execute(others)).scalar_one() == 0)


async def _write(connection: AsyncConnection, before: Key, alteration: KeyUpdate) -> None:
    after = alteration.key
    if alteration.successor is not None:
        await _insert(connection, alteration.successor)
    if alteration.others_end_at is not None:
        kept = [after.id, *([alteration.successor.id] if alteration.successor else [])]
        ends = as_datetime(alteration.others_end_at)
        others = update(api_key).where(
            api_key.c.family_id == after.subject,
            api_key.c.id.not_in(kept),
            api_key.c.state.in_([KeyState.ACTIVE.value, KeyState.DISABLED.value]),
            api_key.c.expires_at.is_(None) | (api_key.c.expires_at > ends),
        )
        await connection.execute(others.values(expires_at=ends))
    await connection.execute(update(api_key).where(api_key.c.id == after.id).values(**values(after)))
    if after.credits != before.credits and after.state is not KeyState.PURGED:
        await _write_credits(connection, after.subject, after.credits)
    if after.state is KeyState.PURGED:
        await _purge_traces(connection, after.id, after.subject)


async def _insert(connection: AsyncConnection, key: Key) -> None:
    await connection.execute(insert(api_key).values(id=key.id, **values(key)))
    if key.credits is not None and key.generation == 1:
        await _write_credits(connection, key.subject, key.credits)


async def _write_credits(connection: AsyncConnection, subject: str, plan: CreditPlan | None) -> None:
    """The purse belongs to the key family: setting it on one generation sets it for all, and so does taking it away."""
    if plan is None:
        await connection.execute(delete(key_credit).where(key_credit.c.family_id == subject))
    else:
        purse = {
            "remaining": plan.remaining,
            "refill_amount": plan.refill_amount,
            "refill_every": plan.refill_every,
            "refilled_at": func.now(),
        }
        write = upsert(key_credit).values(family_id=subject, **purse)
        await connection.execute(write.on_conflict_do_update(index_elements=["family_id"], set_=purse))
    family = update(api_key).where(
        api_key.c.family_id == subject, api_key.c.has_credits != (plan is not None), api_key.c.state != KeyState.PURGED.value
    )
    await connection.execute(family.values(has_credits=plan is not None))


async def _purge_traces(connection: AsyncConnection, key_id: KeyId, subject: str) -> None:
    """What other tables keep about a key. The purse and the counters stay while another generation is left to use them."""
    await connection.execute(select(func.forget_key_use(key_id)))
    await connection.execute(text("DELETE FROM console_session WHERE actor_type = 'key' AND actor_id = :id"), {"id": key_id})
    gone = update(core).where(core.c.registered_by == key_id)
    await connection.execute(gone.values(url="", lease_id="", draining=True, expires_at=func.now()))
    left = select(api_key.c.id).where(api_key.c.family_id == subject, api_key.c.state != KeyState.PURGED.value)
    await connection.execute(delete(key_credit).where(key_credit.c.family_id == subject, ~left.exists()))


EXPIRED = "expired"


def filters(only: KeyFilter) -> list[ColumnElement[bool]]:
    """The conditions of a list. Purged keys are shown to nobody who does not ask for them."""
    columns = {"owner": only.owner, "environment": only.environment, "family_id": only.family_id}
    found: list[ColumnElement[bool]] = [api_key.c[name] == value for name, value in columns.items() if value is not None]
    found += _in_state(only.state)
    if only.tag is not None:
        found.append(api_key.c.tags.contains([only.tag]))
    if only.expires_within_s is not None:
        found += _in_state(KeyState.ACTIVE.value)
        found.append(api_key.c.expires_at <= func.now() + timedelta(seconds=only.expires_within_s))
    if only.unused_for_s is not None:
        found += _in_state(KeyState.ACTIVE.value)
        used = func.greatest(api_key.c.created_at, key_activity.c.last_used_at)  # greatest() disregards a missing use
        found.append(used <= func.now() - timedelta(seconds=only.unused_for_s))
    return found


def _in_state(state: str | None) -> list[ColumnElement[bool]]:
    if state is None:
        return [api_key.c.state != KeyState.PURGED.value]
    expired = api_key.c.expires_at <= func.now()
    if state == EXPIRED:
        return [api_key.c.state == KeyState.ACTIVE.value, expired]
    if state == KeyState.ACTIVE.value:
        return [api_key.c.state == state, (api_key.c.expires_at.is_(None)) | (~expired)]
    return [api_key.c.state == state]


def values(key: Key) -> dict[str, Any]:
    """Every column but the id and those that the database numbers itself."""
    return {
        "digest": key.digest,
        "pepper_generation": key.pepper_generation,
        "environment": key.environment.value,
        "state": key.state.value,
        "name": key.name,
        "owner": key.owner,
        "scopes": list(key.own_scopes),
        "roles": list(key.roles),
        "cores": list(key.cores),
        "methods": list(key.methods),
        "addresses": list(key.addresses),
        "limits": [
            {
                "name": one.name,
                "quota": one.quota,
                "window_s": one.window_s,
                "burst": one.burst,
                **({"cost": one.cost} if one.cost != 1 else {}),
            }
            for one in key.limits
        ],
        "has_credits": key.has_credits,
        "expires_at": _instant(key.expires_at),
        "created_at": as_datetime(key.created_at),
        "created_by": key.created_by,
        "tags": list(key.tags),
        "metadata": key.metadata,
        "notes": key.notes,
        "family_id": key.subject,
        "generation": key.generation,
        "successor_id": key.successor_id,
        "rotated_at": _instant(key.rotated_at),
        "revoked_at": _instant(key.revoked_at),
        "revoked_by": key.revoked_by,
        "revoke_reason": key.revoke_reason,
        "deleted_at": _instant(key.deleted_at),
        "deleted_by": key.deleted_by,
        "state_before": None if key.state_before is None else key.state_before.value,
        "purged_at": _instant(key.purged_at),
        "id_generation": key.id_generation,
        "scheme": key.scheme,
        "signing_algorithm": None if key.signing is None else key.signing.algorithm.value,
        "signing_key": None if key.signing is None else key.signing.key,
        "signing_generation": 0 if key.signing is None else key.signing.pepper_generation,
        "require_signature": key.signing is not None and key.signing.required,
    }


def stored(row: Row[Any]) -> Key:
    """A row of `api_key` with the columns of its purse and its last use."""
    plan = None
    if row.has_credits and row.remaining is not None:
        plan = CreditPlan(row.remaining, row.refill_amount, row.refill_every)
    return Key(
        id=KeyId(row.id),
        digest=bytes(row.digest),
        pepper_generation=row.pepper_generation,
        environment=KeyEnvironment(row.environment),
        state=KeyState(row.state),
        name=row.name,
        owner=row.owner,
        scopes=granted(row.scopes, row.roles),
        cores=tuple(row.cores),
        limits=tuple(RateLimit(**limit) for limit in row.limits),
        expires_at=_seconds(row.expires_at),
        version=row.version,
        family_id=KeyId(row.family_id),
        addresses=tuple(row.addresses),
        methods=tuple(row.methods),
        has_credits=row.has_credits,
        scheme=row.scheme,
        signing=_signing(row),
        created_at=as_seconds(row.created_at),
        created_by=row.created_by,
        own_scopes=tuple(row.scopes),
        roles=tuple(row.roles),
        tags=tuple(row.tags),
        metadata=dict(row.metadata),
        notes=row.notes,
        credits=plan,
        generation=row.generation,
        successor_id=None if row.successor_id is None else KeyId(row.successor_id),
        rotated_at=_seconds(row.rotated_at),
        revoked_at=_seconds(row.revoked_at),
        revoked_by=row.revoked_by,
        revoke_reason=row.revoke_reason,
        deleted_at=_seconds(row.deleted_at),
        deleted_by=row.deleted_by,
        state_before=None if row.state_before is None else KeyState(row.state_before),
        purged_at=_seconds(row.purged_at),
        id_generation=row.id_generation,
        last_used_at=_seconds(row.last_used_at),
    )


def _instant(seconds: float | None) -> Any:
    return None if seconds is None else as_datetime(seconds)


def _seconds(instant: Any) -> float | None:
    return None if instant is None else as_seconds(instant)


def _signing(row: Row[Any]) -> Signing | None:
    if row.signing_algorithm is None:
        return None
    algorithm = SignatureAlgorithm(row.signing_algorithm)
    return Signing(algorithm, bytes(row.signing_key), row.signing_generation, row.require_signature)
