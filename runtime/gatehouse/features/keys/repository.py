"""Stores API keys in PostgreSQL. Each write by the management API and the audit event of the write
are in one transaction.

The columns of `api_key` are the fields of `Key`. A field that is added to `Key` is inserted,
updated, selected and purged without changes to this module.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Literal, cast

import asyncpg
import msgspec
from msgspec import UNSET

from gatehouse.core.actor import Actor
from gatehouse.core.audit_events import AuditAction, AuditEvent, change_details
from gatehouse.core.clock import to_datetime, to_seconds
from gatehouse.core.customers import DEFAULT_SCOPES, resolve, stored
from gatehouse.core.errors import BadRequest, Conflict, TooManyKeys, Unavailable
from gatehouse.core.keys import (
    CREDITS_MAX,
    LAST_ADMIN_MARGIN_S,
    RESOLVED,
    Credits,
    CustomerRecord,
    Key,
    KeyChange,
    KeyEnvironment,
    KeyId,
    KeyRecord,
    KeyState,
    LockedKey,
    PlanRecord,
    RateLimit,
    Refill,
    Update,
    UpdateCredits,
    can_manage_keys,
)
from gatehouse.core.tokens.token import ID_CHARS
from gatehouse.features.keys.conditions import (
    CAN_BE_UPDATED,
    CAN_MANAGE_KEYS,
    EXPIRED,
    EXPIRES_AT,
    HAS_ROLE,
    STARTS,
    USABLE,
    customers_named,
    search,
)
from gatehouse.features.keys.fields import Effective, KeySort
from gatehouse.features.keys.schemas import KeyFilter
from gatehouse.platform.audit_log import append, append_all
from gatehouse.platform.db.pool import Connection, Pool, Row
from gatehouse.platform.db.statements import (
    CREATED_BY,
    OF_CREATED_CUSTOMER,
    Conditions,
    RowMapping,
    count,
    shared,
)
from gatehouse.platform.web.validation import invalid

#: Changes to keys with an admin scope wait for this lock, so that two concurrent changes cannot
#: remove the last two such keys. The lock is acquired after the locks on the rows of the key's
#: family, and before the locks of the change trigger (7126501) and the audit trail (7126502).
ADMIN_LOCK = 7126503

#: Maximum duration of a revocation in the database.
REVOKE_TIMEOUT_S = 5.0


#: The skipped fields have no column, because credits and the last use are in other tables, or are
#: not written: the database increments `version`.
_READ = RowMapping(Key, skip={"credits", "last_used_at", *RESOLVED})
WRITTEN = RowMapping(Key, skip={"credits", "last_used_at", "version", *RESOLVED})

#: Columns that `key_record` reads, and the column that the prefilter for guessed IDs reads.
RECORD_COLUMNS = f"{RowMapping(KeyRecord, skip=RESOLVED).select}, id_generation"

#: Many keys have the same limits, of which the gateway keeps one object.
_limits = lru_cache(maxsize=1_000)(msgspec.json.Decoder(tuple[RateLimit, ...]).decode)

#: A row as JSON, which has more fields.
_customer = msgspec.json.Decoder(CustomerRecord).decode
_plan = msgspec.json.Decoder(PlanRecord).decode

_environments = {environment.value: environment for environment in KeyEnvironment}
_states = {state.value: state for state in KeyState}

_INSERT = WRITTEN.insert("api_key")
_ASSIGNMENTS = ", ".join(
    f"{name} = ${number}" for number, name in enumerate(WRITTEN.columns, 1) if name != "id"
)

_IS_MANAGED_BY = (
    "SELECT EXISTS (SELECT FROM api_key WHERE id = (SELECT family_id FROM api_key WHERE id = $1) "
    f"AND {CREATED_BY.format('$2')}) OR EXISTS (SELECT FROM customer "
    "WHERE id = (SELECT customer_id FROM api_key WHERE id = $1) "
    f"AND {CREATED_BY.format('$2')})"
)
_CREATED_CUSTOMER = f"SELECT {CREATED_BY.format('$2')} FROM customer WHERE id = $1"
#: A key that is not active can no longer renew the leases of its Cores, so their registrations end
#: when the key becomes inactive, also those that are draining.
_END_REGISTRATIONS = (
    "UPDATE core SET draining = true, expires_at = LEAST(expires_at, now()) "
    "WHERE registered_by = $1 AND (NOT draining OR expires_at > now())"
)
_UPDATE = f"UPDATE api_key SET {_ASSIGNMENTS} WHERE {WRITTEN.columns[0]} = $1"

_PLAN = (
    "FROM plan AS followed WHERE followed.name = coalesce(api_key.plan, "
    "(SELECT named.plan FROM customer AS named WHERE named.id = api_key.customer_id))"
)
_FIELDS = (
    f"{', '.join(f'api_key.{column}' for column in (*_READ.columns, 'change_seq'))},"
    " remaining, refill_amount, refill_every, last_used_at, "
    # A subquery each, so that names of columns are those of `api_key` in conditions. The aliases
    # are names of no columns.
    "(SELECT to_jsonb(named) FROM customer AS named WHERE named.id = api_key.customer_id) "
    f"AS customer, (SELECT to_jsonb(followed) {_PLAN}) AS terms"
)
_TABLES = (
    " FROM api_key LEFT JOIN key_credit ON key_credit.family_id = api_key.family_id"
    " LEFT JOIN key_activity ON key_activity.key_id = api_key.id"
)
_SELECT = f"SELECT {_FIELDS}{_TABLES}"

_CURRENT = f"({CAN_BE_UPDATED} AND {EXPIRES_AT} > now())"
_LOCK_CUSTOMER = "SELECT FROM customer WHERE id = $1 FOR UPDATE"
_COUNT_USABLE = f"SELECT count(*) FROM api_key WHERE customer_id = $1 AND {_CURRENT}"
_OF_CUSTOMER = (
    f"{_SELECT} WHERE customer_id = $1 AND state NOT IN ('deleted', 'purged') "
    f"ORDER BY {_CURRENT} DESC, api_key.created_at DESC, id LIMIT $2"
)

#: Expressions by which a list of keys can be sorted, with their types. Each expression has an
#: index, except for the scopes, and for the last use, whose index would have to be updated whenever
#: use of a key is recorded. Without the index, a page of 100,000 keys takes about 190 ms.
_SORT_EXPRESSIONS = {
    "name": ("lower(name)", "text"),
    "customer_id": ("coalesce(customer_id, '')", "text"),
    "state": ("state", "text"),
    "scopes": (
        "array_to_string(CASE WHEN 'scopes' = ANY (inherits) THEN coalesce((SELECT "
        f"followed.scopes {_PLAN}), ARRAY{[*DEFAULT_SCOPES]}) ELSE api_key.scopes END, ' ')",
        "text",
    ),
    "created_at": ("created_at", "timestamptz"),
    "last_used_at": ("coalesce(last_used_at, '-infinity')", "timestamptz"),
    "expires_at": (EXPIRES_AT, "timestamptz"),
}

_LOCK_FAMILY = (
    "SELECT id FROM api_key WHERE family_id = (SELECT family_id FROM api_key WHERE id = $1) "
    "ORDER BY id FOR UPDATE"
)

_IS_LAST_ADMIN = (
    f"SELECT {USABLE} AND NOT EXISTS (SELECT FROM api_key AS other "
    f"WHERE id <> last.id AND environment = last.environment AND {CAN_MANAGE_KEYS} "
    f"AND (expires_at IS NULL OR expires_at > now() + make_interval(secs => {LAST_ADMIN_MARGIN_S}) "
    "OR expires_at >= last.expires_at)) FROM api_key AS last WHERE id = $1"
)

_END_OTHERS = (
    "UPDATE api_key SET expires_at = $1 WHERE family_id = $2 AND id <> ALL ($3) AND "
    f"{CAN_BE_UPDATED} AND (expires_at IS NULL OR expires_at > $1)"
)

#: Maximum number of customers whose IDs are parameters of a search.
CUSTOMERS_MAX = 1_000

#: Keys that follow a plan, or whose customers do.
_FOLLOWING = (
    "SELECT id FROM api_key WHERE plan = {0} UNION ALL SELECT api_key.id FROM api_key "
    "JOIN customer ON customer.id = customer_id WHERE customer.plan = {0}"
)

_PLAN_TTL_S = (
    "SELECT ttl_s FROM plan WHERE name = coalesce((SELECT plan FROM customer WHERE id = $1), $2)"
)
#: Whether the expiry of a key is that of a lifetime in seconds. NULL: it does not expire.
HAS_LIFETIME = (
    "(CASE WHEN {0} IS NULL THEN expires_at IS NULL "
    "ELSE abs(extract(epoch FROM expires_at - api_key.created_at) - {0}) < 1 END)"
)
#: Usable keys that have the lifetime $2. {0}: the condition for the keys, with $1.
_FOLLOWERS = (
    f"FROM api_key WHERE {{0}} AND {CAN_BE_UPDATED} AND {EXPIRES_AT} > now() "
    f"AND successor_id IS NULL AND {HAS_LIFETIME.format('$2::double precision')}"
)
_COUNT_ENDED = f"SELECT count(*) {_FOLLOWERS} AND created_at + make_interval(secs => $3) <= now()"
_FOLLOW_LIFETIME = (
    f"WITH follower AS (SELECT id {_FOLLOWERS} AND id > $4 ORDER BY id LIMIT $5), "
    "changed AS (UPDATE api_key SET expires_at = created_at + make_interval(secs => $3) "
    "FROM follower WHERE api_key.id = follower.id RETURNING api_key.id) "
    "SELECT max(id) FROM changed"
)
_KEYS_OF = {
    "plan": f"id IN ({_FOLLOWING.format('$1')})",
    "customer": "customer_id = $1",
    "key": "id = $1",
}

_ADD_CUSTOMERS = (
    "INSERT INTO customer (id, name, state, has_credits, contact, tags, metadata, notes, "
    "created_at, created_by) SELECT id, name, 'active', false, '', '{}', '{}', '', $3, $4 "
    "FROM unnest($1::text[], $2::text[]) AS named (id, name) ON CONFLICT DO NOTHING RETURNING id"
)

_NOW = "clock_timestamp() AT TIME ZONE 'UTC'"
#: Begin of the period of the refill, the remaining credits after a refill that is due, and the time
#: of the last refill. All of them are read and written in one statement, because requests consume
#: credits at the same time.
PERIOD = f"date_trunc(refill_every, {_NOW})"
_DUE = f"(refill_every IS NOT NULL AND refilled_at < {PERIOD} AT TIME ZONE 'UTC')"
AVAILABLE = f"(CASE WHEN {_DUE} THEN greatest(remaining, refill_amount) ELSE remaining END)"
REFILLED_AT = f"(CASE WHEN {_DUE} THEN {PERIOD} AT TIME ZONE 'UTC' ELSE refilled_at END)"

_ADD_CREDITS = (
    "INSERT INTO key_credit (family_id, remaining, refill_amount, refill_every, refilled_at) "
    "VALUES ($1, $2, $3, $4, now())"
)
_SET_REMAINING = "UPDATE key_credit SET remaining = $2, refilled_at = now() WHERE family_id = $1"
_CHANGE_REMAINING = (
    f"UPDATE key_credit SET remaining = least(greatest({AVAILABLE} + $2, 0), {CREDITS_MAX}), "
    f"refilled_at = {REFILLED_AT} WHERE family_id = $1"
)
#: The next refill is at the begin of the next period.
_SET_REFILL = (
    "UPDATE key_credit SET refill_amount = $2, refill_every = $3, refilled_at = "
    f"greatest(refilled_at, date_trunc($3, {_NOW}) AT TIME ZONE 'UTC') WHERE family_id = $1"
)

#: Minimum and maximum interval between polls for confirmations. The interval doubles with each
#: query.
_POLL_MIN_S, _POLL_MAX_S = 0.005, 0.05

_LAGGING = (
    "SELECT max(seen_at) > clock_timestamp() - make_interval(secs => $2) FROM gateway_worker "
    "WHERE confirmed_seq < $1 AND seen_at > clock_timestamp() - make_interval(secs => $3)"
)

_WRITABLE = (
    "SELECT max(candidate) FROM unnest($1::integer[]) AS candidate WHERE NOT EXISTS ( "
    "SELECT FROM gateway_worker WHERE seen_at > now() - make_interval(secs => $2) "
    "AND NOT candidate = ANY (generations) AND generations <> '{}')"
)


#: Reads distinct values with an index skip scan, so that the query takes no longer for a million
#: keys than for ten keys.
ID_GENERATIONS = (
    "WITH RECURSIVE step AS ((SELECT scheme, id_generation FROM api_key ORDER BY scheme, "
    "id_generation LIMIT 1) UNION ALL SELECT next.* FROM step CROSS JOIN LATERAL (SELECT scheme, "
    "id_generation FROM api_key WHERE (scheme, id_generation) > (step.scheme, step.id_generation) "
    "ORDER BY scheme, id_generation LIMIT 1) AS next) SELECT * FROM step"
)


class KeyPosition(msgspec.Struct, frozen=True):
    """Position of a key in a sorted list. value: the value by which the list is sorted, as text;
    empty in the order of IDs.
    """

    id: KeyId
    value: str = ""


def key_record(row: Row) -> KeyRecord:
    """Decodes a row with RECORD_COLUMNS. The code is not generic, because a gateway worker calls
    this function for every key that it loads and generic code is slower. A key whose state or
    limits only a later version knows is denied."""
    try:
        state, limits = _states[row["state"]], _limits(row["limits"])
    except (KeyError, msgspec.ValidationError):
        state, limits = KeyState.DISABLED, ()
    expires_at = row["expires_at"]
    key_id, family_id = row["id"], row["family_id"]
    return KeyRecord(
        id=key_id,
        digest=row["digest"],
        pepper_generation=row["pepper_generation"],
        environment=_environments[row["environment"]],
        state=state,
        name=row["name"],
        customer_id=row["customer_id"] and shared(row["customer_id"]),
        plan=row["plan"] and sys.intern(row["plan"]),
        inherits=shared(tuple(row["inherits"])),
        scopes=shared(tuple(row["scopes"])),
        cores=shared(tuple(row["cores"])),
        limits=limits,
        expires_at=None if expires_at is None else expires_at.timestamp(),
        version=row["version"],
        family_id=key_id
        if family_id == key_id
        else family_id,  # one string instead of two equal strings
        addresses=shared(tuple(row["addresses"])),
        methods=shared(tuple(row["methods"])),
        has_credits=row["has_credits"],
        scheme=sys.intern(row["scheme"]),  # one string for all keys
        public_key=row["public_key"],
    )


def full_key(row: Row) -> Key:
    has_credits = row["has_credits"] and row["remaining"] is not None
    key = Key(
        **_READ.fields(row),
        credits=_credits(row) if has_credits else None,
        last_used_at=None if row["last_used_at"] is None else to_seconds(row["last_used_at"]),
    )
    customer, terms = row["customer"], row["terms"]
    if not key.customer_id and terms is None:
        return key
    return resolve(key, customer and _customer(customer), terms and _plan(terms))


def _credits(row: Row) -> Credits:
    amount = row["refill_amount"]
    return Credits(row["remaining"], amount and Refill(amount, row["refill_every"]))


class KeyRepository:
    """Methods except `effective` raise Unavailable. Every write method stores the change and an
    audit event in one transaction."""

    def __init__(self, pool: Pool, *, staleness_s: float, outage_s: float = 0) -> None:
        """staleness_s: the propagation bound (GATEHOUSE_MAX_STALENESS_MS). outage_s: maximum time
        for which gateway workers use the key state without the database.
        """
        self._pool = pool
        self._live_s = 2 * staleness_s
        self._outage_s = outage_s

    async def add(
        self,
        key: Key,
        event: AuditEvent,
        new_customers: Mapping[str, str] | None = None,
        *,
        keys_max: int | None = None,
    ) -> Key:
        """Stores a key, and the customers that do not exist, with their names by ID. Returns the
        key with what it inherits. Raises Conflict if the ID of the key exists, BadRequest if the
        customer or the plan does not, and TooManyKeys if the customer has `keys_max` usable keys.
        """
        async with self._pool.transaction() as connection:
            await add_customers(connection, new_customers or {}, event)
            if keys_max is not None:
                # Keys that are created at the same time wait for each other.
                await connection.execute(_LOCK_CUSTOMER, key.customer_id)
                if await connection.fetchval(_COUNT_USABLE, key.customer_id) >= keys_max:
                    raise TooManyKeys(f"The customer has {keys_max} keys; revoke a key first.")
            try:
                await _insert(connection, key)
            except asyncpg.UniqueViolationError as exc:
                raise Conflict("A key with this ID already exists.") from exc
            except asyncpg.ForeignKeyViolationError as exc:
                raise unknown_reference(exc) from exc
            await append(connection, event)
            [row] = await connection.fetch(f"{_SELECT} WHERE id = $1", key.id)
        return full_key(row)

    async def plan_ttl_s(self, customer_id: str | None, plan: str | None) -> int | None:
        """Lifetime in seconds of new keys of a customer or of a plan. None: not limited."""
        ttl_s: int | None = await self._pool.fetchval(_PLAN_TTL_S, customer_id, plan)
        return ttl_s

    async def get(self, key_id: KeyId) -> Key | None:
        row = await self._pool.fetchrow(f"{_SELECT} WHERE id = $1", key_id)
        return None if row is None else full_key(row)

    async def of_customer(self, customer_id: str, size: int) -> list[Key]:
        """The first `size` keys of a customer that are not deleted: usable keys first, the newest
        of them first.
        """
        rows = await self._pool.fetch(_OF_CUSTOMER, customer_id, size)
        return [*map(full_key, rows)]

    async def credits(self, subject: str) -> Credits | None:
        """The credits of a key family, or of a customer: `CustomerRecord.subject`."""
        row = await self._pool.fetchrow(
            "SELECT remaining, refill_amount, refill_every FROM key_credit WHERE family_id = $1",
            subject,
        )
        return None if row is None else _credits(row)

    async def schemes(self) -> list[tuple[str, int]]:
        rows = await self._pool.fetch(ID_GENERATIONS)
        return [(row["scheme"], row["id_generation"]) for row in rows]

    async def is_managed_by(self, key_id: KeyId, creator: KeyId) -> bool:
        """True if a key of the creator's family created the first key of this key's family, or the
        customer of this key. Raises Unavailable.
        """
        return bool(await self._pool.fetchval(_IS_MANAGED_BY, key_id, creator))

    async def created_customer(self, customer_id: str, creator: str) -> bool | None:
        """True if a key of the creator's family created this customer, or None if there is no such
        customer. Raises Unavailable.
        """
        created: bool | None = await self._pool.fetchval(_CREATED_CUSTOMER, customer_id, creator)
        return created

    async def page(
        self,
        *,
        after: KeyPosition | None,
        size: int,
        only: KeyFilter,
        id_start: str | None = None,
        sort: KeySort = "id",
        creator: str | None = None,
    ) -> tuple[list[Key], KeyPosition | None]:
        """Keys after the position `after`, and the position of the last key, or None on the last
        page. Keys with equal values are ordered by ID. id_start: beginning of the ID, instead of
        `only.search`. creator: only keys of customers that a key of the family of this key has
        created.
        """
        comparison, direction = ("<", "DESC") if sort.startswith("-") else (">", "ASC")
        where = await self._conditions(only, id_start, creator, sort)
        if sort == "id":
            position, order = "''", "id"
            if after is not None:
                where.add("id > {}", after.id)
        else:
            expression, kind = _SORT_EXPRESSIONS[sort.removeprefix("-")]
            position, order = f"({expression})::text", f"{expression} {direction}, id {direction}"
            if after is not None:
                where.add(
                    f"({expression}, id) {comparison} ({{}}::text::{kind}, {{}})",
                    after.value,
                    after.id,
                )
        select = f"SELECT {_FIELDS}, {position} AS position{_TABLES}"
        rows, last = await where.page(self._pool, select, order, size)
        return [*map(full_key, rows)], KeyPosition(last["id"], last["position"]) if last else None

    async def count(
        self, only: KeyFilter, id_start: str | None, most: int, creator: str | None = None
    ) -> int:
        """Number of keys that match the filter, at most `most`."""
        where = await self._conditions(only, id_start, creator)
        return await count(self._pool, _TABLES.removeprefix(" FROM "), where, "id", most)

    async def alter(
        self, key_id: KeyId, work: Update, *, deadline_s: float | None = None
    ) -> tuple[Key, int] | None:
        """Locks the key and its family and writes the change that `work` returns. If `work` raises
        an error, nothing changes. deadline_s: maximum duration.

        Returns the key and its change number, or None if the key does not exist. `work` returns
        None to change nothing.
        """
        select = f"{_SELECT} WHERE id = $1"
        async with self._pool.transaction(deadline_s=deadline_s) as connection:
            # Lock all generations in the same order. A rotation changes several rows, and different
            # orders could cause a deadlock.
            if key_id not in {row["id"] for row in await connection.fetch(_LOCK_FAMILY, key_id)}:
                return None
            [row] = await connection.fetch(select, key_id)
            before = full_key(row)
            update = work(LockedKey(before, await _is_last_admin(connection, before)))
            if update is not None:
                change, event = update
                try:
                    await _write(connection, before, change)
                except asyncpg.ForeignKeyViolationError as exc:
                    raise unknown_reference(exc) from exc
                if _plan_of(before) != _plan_of(change.key):
                    event = await _follow_plan(connection, before, change.key, event)
                await append(connection, event)
            [row] = await connection.fetch(select, key_id)
        return full_key(row), row["change_seq"]

    async def writable_generation(
        self, generations: Sequence[int], connection: Connection | None = None
    ) -> int | None:
        """The newest of these pepper generations that every live gateway worker can read, or None
        if there is none.
        """
        generation: int | None = await (connection or self._pool).fetchval(
            _WRITABLE, list(generations), self._live_s
        )
        return generation

    async def effective(self, change_seq: int, *, timeout_s: float) -> Effective:
        """Returns `everywhere` when every live gateway worker has applied the change. Otherwise,
        after a timeout or database failure, returns the bound within which a worker applies the
        change that reads neither the database nor an announcement.

        A worker that has not written its row for longer than the propagation bound denies all keys,
        or uses announcements. After twice the bound, this method no longer waits for the worker.
        """
        wait_s = _POLL_MIN_S
        bound: Effective = "within_outage_bound" if self._outage_s else "within_bound"
        last = change_seq, self._live_s, max(self._live_s, self._outage_s)
        try:
            async with asyncio.timeout(timeout_s):
                while is_lagging := await self._pool.fetchval(_LAGGING, *last):
                    await asyncio.sleep(wait_s)
                    wait_s = min(2 * wait_s, _POLL_MAX_S)
        except (TimeoutError, Unavailable):
            return bound
        return "everywhere" if is_lagging is None else bound

    async def _conditions(
        self, only: KeyFilter, id_start: str | None, creator: str | None, sort: KeySort = "id"
    ) -> Conditions:
        """Conditions for a filter. Purged keys are listed only if the filter specifies the state
        `purged`.
        """
        where = Conditions()
        where.add_equal(environment=only.environment)
        if only.customer is not None:  # the expression of an index with the ID
            where.add("coalesce(customer_id, '') = {}", only.customer)
        if creator is not None:
            where.add(OF_CREATED_CUSTOMER, creator)
        if only.plan is not None:
            where.add(f"api_key.id IN ({_FOLLOWING})", only.plan)
        conditions: tuple[str, ...] = ()
        values: list[object] = [id_start or only.search]
        if id_start is not None:
            conditions = ("id = {0}",) if len(id_start) == ID_CHARS else STARTS
        elif only.search:
            customers = await self._customers_named(only.search)
            conditions = search(only.search, "{1}::text[]")
            if customers is None:
                conditions = search(only.search, f"ARRAY({customers_named(only.search)})")
            values += [] if customers is None else [customers]
        if only.unused_for_s is not None or sort.endswith("last_used_at"):
            # All keys are read, and the condition for the index takes 0.1 ms for each match.
            conditions = conditions[-1:]
        for condition in conditions:
            where.add(condition, *values)
        if only.family_id is not None:
            where.add("api_key.family_id = {}", only.family_id)
        _add_state(where, only.state)
        if only.tag is not None:
            where.add("tags @> ARRAY[{}]::text[]", only.tag)
        if only.has_role:
            where.add(HAS_ROLE)
        if only.expires_within_s is not None:
            _add_state(where, KeyState.ACTIVE)
            where.add(f"{EXPIRES_AT} <= now() + make_interval(secs => {{}})", only.expires_within_s)
        if only.unused_for_s is not None:
            _add_state(where, KeyState.ACTIVE)
            # greatest() ignores NULL, so for a key that was never used, the time since its creation
            # counts.
            where.add(
                "greatest(created_at, last_used_at) <= now() - make_interval(secs => {})",
                only.unused_for_s,
            )
        return where

    async def _customers_named(self, text: str) -> list[str] | None:
        """IDs of the customers whose name matches a search, which the planner has to know in order
        to choose an index. None: more than CUSTOMERS_MAX.
        """
        where = Conditions()
        where.add(customers_named(text), text)
        statement = f"{str(where).removeprefix(' WHERE ')} LIMIT {CUSTOMERS_MAX + 1}"
        rows = await self._pool.fetch(statement, *where.values)
        return None if len(rows) > CUSTOMERS_MAX else [row["id"] for row in rows]


async def follow_lifetime(
    connection: Connection,
    kind: Literal["plan", "customer", "key"],
    id: str,
    lifetimes: tuple[int | None, int | None],
    location: str,
    *,
    after: str = "",
    size: int | None = None,
) -> str | None:
    """Gives the keys of a plan or a customer, or one key, the lifetime of their plan, in seconds
    from their creation. lifetimes: the one that they had, and the new one. Keys with another
    expiry, which is their own, keep it, as do expired keys.

    Writes at most `size` keys, from the ID `after` on, and returns the last ID, or None if there
    was none. Raises BadRequest for the field at `location` if a key would end at once.
    """
    if lifetimes[0] == lifetimes[1]:
        return None
    keys = _KEYS_OF[kind]
    ended = not after and await connection.fetchval(_COUNT_ENDED.format(keys), id, *lifetimes)
    if ended:
        number = "1 key" if ended == 1 else f"{ended} keys"
        raise invalid(
            location,
            f"would end {number} at once, older than the lifetime of {lifetimes[1]} seconds",
            "rotate older keys, or set their `expires_at`, first",
        )
    last: str | None = await connection.fetchval(
        _FOLLOW_LIFETIME.format(keys), id, *lifetimes, after, size
    )
    return last


def _plan_of(key: Key) -> tuple[str | None, str | None]:
    return key.customer_id, key.plan


async def _follow_plan(
    connection: Connection, before: Key, after: Key, event: AuditEvent
) -> AuditEvent:
    """Gives a key that follows another plan the lifetime of that plan, and returns the event of the
    update with it. A key that leaves its plan, or whose expiry is updated too, keeps its expiry.
    """
    old, new = [await connection.fetchrow(_PLAN_TTL_S, *_plan_of(each)) for each in (before, after)]
    if new is None:
        return event
    changed = {*cast("list[str]", event.details["changed"])}
    if "expires_at" in changed:
        return event
    lifetimes = old and old["ttl_s"], new["ttl_s"]
    location = "body.plan" if after.plan else "body.customer_id"
    await follow_lifetime(connection, "key", after.id, lifetimes, location)
    ends_at = await connection.fetchval("SELECT expires_at FROM api_key WHERE id = $1", after.id)
    ends = {"expires_at": None if ends_at is None else to_seconds(ends_at)}
    if ends["expires_at"] == before.expires_at:
        return event
    details = change_details(before, ends, ends)
    details = {**event.details, **details, "changed": sorted(changed | ends.keys())}
    return msgspec.structs.replace(event, details=details)


async def add_customers(
    connection: Connection, names: Mapping[str, str], event: AuditEvent
) -> None:
    """Creates the customers that do not exist. names: by ID. event: creates their keys."""
    at, by = to_datetime(event.occurred_at), Actor(event.actor_type, event.actor_id).label  # type: ignore[arg-type]
    ids = sorted(names)  # the order of the locks
    values = [names[each] for each in ids]
    created = AuditAction.CUSTOMER_CREATE
    events = [
        msgspec.structs.replace(
            event,
            action=created.value,
            target_type=created.target_type,
            target_id=customer_id,
            details={},
        )
        for (customer_id,) in await connection.fetch(_ADD_CUSTOMERS, ids, values, at, by)
    ]
    await append_all(connection, events)


def unknown_reference(exc: asyncpg.ForeignKeyViolationError) -> BadRequest:
    """The error for a customer or a plan that does not exist."""
    if "plan" in (exc.constraint_name or ""):
        return invalid("body.plan", "is not the name of a plan", "see gatehouse plans list")
    return unknown_customer()


def unknown_customer() -> BadRequest:
    return invalid(
        "body.customer_id",
        "is not the ID, the name or the tag of a customer",
        "create the customer first, or send `create_customer` with the new key",
    )


def _add_state(where: Conditions, state: str | None) -> None:
    if state is None:
        where.add("state <> 'purged'")
    else:
        # The state is part of the text, so that the planner knows how many keys are in this state.
        combined = {"expired": EXPIRED, KeyState.ACTIVE.value: USABLE}
        where.add(combined.get(state) or f"state = '{KeyState(state)}'")


async def _is_last_admin(connection: Connection, key: Key) -> bool:
    if not can_manage_keys(key):
        return False
    await connection.execute("SELECT pg_advisory_xact_lock($1)", ADMIN_LOCK)
    return bool(await connection.fetchval(_IS_LAST_ADMIN, key.id))


async def _write(connection: Connection, before: Key, change: KeyChange) -> None:
    key = change.key
    if change.successor is not None:
        await _insert(connection, change.successor)
    if change.others_end_at is not None:
        excluded = [key.id, *([change.successor.id] if change.successor else [])]
        await connection.execute(
            _END_OTHERS, to_datetime(change.others_end_at), key.subject, excluded
        )
    await connection.execute(_UPDATE, *WRITTEN.values(stored(key)))
    if before.state is KeyState.ACTIVE and key.state is not KeyState.ACTIVE:
        await connection.execute(_END_REGISTRATIONS, key.id)
    if key.state is KeyState.PURGED:
        await _purge_traces(connection, key.id, key.subject)
    elif change.credits is not UNSET:
        await _change_family_credits(connection, before, change.credits)


async def _insert(connection: Connection, key: Key) -> None:
    await connection.execute(_INSERT, *WRITTEN.values(stored(key)))
    if key.credits is not None and key.generation == 1:
        await _add_credits(connection, key.subject, key.credits.remaining, key.credits.refill)


async def _add_credits(
    connection: Connection, subject: str, remaining: int, refill: Refill | None
) -> None:
    await connection.execute(_ADD_CREDITS, subject, remaining, *_refill(refill))


def _refill(refill: Refill | None) -> tuple[int | None, str | None]:
    return (refill.amount, refill.every) if refill else (None, None)


async def _change_family_credits(
    connection: Connection, before: Key, change: UpdateCredits | None
) -> None:
    """Changes or removes the credits of a key family, which apply to every generation."""
    await change_credits(connection, before.subject, before.credits, change)
    statement = (
        "UPDATE api_key SET has_credits = $2 "
        "WHERE family_id = $1 AND has_credits <> $2 AND state <> 'purged'"
    )
    await connection.execute(statement, before.subject, change is not None)


async def change_credits(
    connection: Connection, subject: str, before: Credits | None, change: UpdateCredits | None
) -> None:
    """Changes, adds or removes the credits of a subject."""
    if change is None:
        await connection.execute("DELETE FROM key_credit WHERE family_id = $1", subject)
    elif before is None and change.remaining is not UNSET:
        refill = None if change.refill is UNSET else change.refill
        await _add_credits(connection, subject, change.remaining, refill)
    elif change.remaining is not UNSET:
        await connection.execute(_SET_REMAINING, subject, change.remaining)
    else:
        await connection.execute(_CHANGE_REMAINING, subject, change.add)
    if before is not None and change is not None and change.refill is not UNSET:
        await connection.execute(_SET_REFILL, subject, *_refill(change.refill))


async def _purge_traces(connection: Connection, key_id: KeyId, subject: str) -> None:
    """Erases a key from the other tables. Credits remain while another generation can use them."""
    await connection.execute("SELECT forget_key_use($1)", key_id)
    for table in ("sign_in_link", "console_session"):  # the order in which a sign-in locks
        statement = f"DELETE FROM {table} WHERE actor_type = 'key' AND actor_id = $1"
        await connection.execute(statement, key_id)
    await connection.execute(
        (
            "UPDATE core SET url = '', lease_id = '', draining = true, expires_at = now() "
            "WHERE registered_by = $1"
        ),
        key_id,
    )
    await connection.execute(
        "DELETE FROM key_credit WHERE family_id = $1 AND NOT EXISTS (SELECT FROM api_key "
        "WHERE family_id = $1 AND state <> 'purged')",
        subject,
    )
