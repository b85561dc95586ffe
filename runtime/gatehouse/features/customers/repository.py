"""Stores customers and plans in PostgreSQL. Each write and its audit event are in one transaction,
except for a new lifetime of the keys of a plan (`PlanRepository.alter`).

The columns of the tables are the fields of `Customer` and `Plan`.
"""

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import asyncpg
import msgspec
from msgspec import UNSET, UnsetType

from gatehouse.core.audit_events import AuditEvent
from gatehouse.core.clock import to_datetime
from gatehouse.core.customers import Customer, NamedLimit, Plan
from gatehouse.core.errors import Conflict
from gatehouse.core.keys import Credits, PlanRecord, Refill, UpdateCredits
from gatehouse.features.customers.schemas import CustomerFilter, CustomerSort, Override
from gatehouse.features.keys.repository import (
    HAS_LIFETIME,
    change_credits,
    follow_lifetime,
    unknown_reference,
)
from gatehouse.platform.audit_log import append
from gatehouse.platform.db.pool import Connection, Pool, Row, row_count
from gatehouse.platform.db.statements import CREATED_BY, Conditions, RowMapping, count

T = TypeVar("T", bound=msgspec.Struct)

_OTHERS = {"credits", "keys", "version"}
_READ = RowMapping(Customer, skip=_OTHERS - {"version"})
_WRITTEN = RowMapping(Customer, skip=_OTHERS)
_INSERT = _WRITTEN.insert("customer")
_UPDATE = (
    "UPDATE customer SET "
    f"{', '.join(f'{column} = ${n}' for n, column in enumerate(_WRITTEN.columns, 1))} WHERE id = $1"
)
_TABLES = "customer LEFT JOIN key_credit ON family_id = '@' || customer.id"
_SELECT = (
    f"SELECT {_READ.select}, remaining, refill_amount, refill_every, "
    "(SELECT count(*) FROM api_key WHERE customer_id = customer.id) AS keys, "
    "(SELECT to_jsonb(followed) FROM plan AS followed WHERE followed.name = customer.plan) "
    f"AS terms FROM {_TABLES}"
)
_SORT = {"id": "id", "name": "lower(name)", "created_at": "created_at"}
_KINDS = {"id": "text", "name": "text", "created_at": "timestamptz"}

#: A key that a disabled customer has registered Cores with can no longer renew their leases.
_END_REGISTRATIONS = (
    "UPDATE core SET draining = true, expires_at = LEAST(expires_at, now()) WHERE registered_by "
    "IN (SELECT id FROM api_key WHERE customer_id = $1) AND (NOT draining OR expires_at > now())"
)

_END_PORTAL_SESSIONS = (
    "UPDATE portal_session SET ends_at = least(ends_at, $2) WHERE customer_id = $1"
)

#: Customers that inherit credits from a plan. $1: of this plan. $2: or this customer.
_FOLLOWERS = (
    "SELECT customer.id, credits FROM customer LEFT JOIN plan ON plan.name = customer.plan "
    "WHERE inherits_credits AND (customer.plan = $1 OR customer.id = $2)"
)
#: The remaining credits change by the difference of the refills.
_GIVE_CREDITS = (
    f"WITH follower AS ({_FOLLOWERS}) INSERT INTO key_credit "
    "(family_id, remaining, refill_amount, refill_every, refilled_at) "
    "SELECT '@' || id, (credits ->> 'amount')::bigint, (credits ->> 'amount')::bigint, "
    "credits ->> 'every', now() FROM follower WHERE credits IS NOT NULL ORDER BY id "
    "ON CONFLICT (family_id) DO UPDATE SET refill_amount = excluded.refill_amount, "
    "refill_every = excluded.refill_every, remaining = greatest(key_credit.remaining "
    "+ excluded.refill_amount - coalesce(key_credit.refill_amount, excluded.refill_amount), 0)"
)
_TAKE_CREDITS = (
    f"WITH follower AS ({_FOLLOWERS}) DELETE FROM key_credit USING follower "
    "WHERE family_id = '@' || id AND credits IS NULL"
)
_MARK_CREDITS = (
    f"WITH follower AS ({_FOLLOWERS}) UPDATE customer SET has_credits = credits IS NOT NULL "
    "FROM follower WHERE customer.id = follower.id AND has_credits <> (credits IS NOT NULL)"
)

#: Maximum number of plans, and of limits for subjects without a key. Lists contain all of them.
OBJECTS_MAX = 1_000
OVERRIDES_MAX = 500
#: Maximum number of keys that one transaction gives another lifetime. Until its end, no other
#: change of a key is written.
FOLLOWERS_MAX = 1_000
_OVERRIDES = f"""
SELECT id AS customer_id, NULL AS key_id, name, array_remove(ARRAY[
    CASE WHEN limits IS NOT NULL THEN 'limits' END,
    CASE WHEN NOT inherits_credits THEN 'credits' END], NULL) AS fields
FROM customer WHERE plan = $1 AND (limits IS NOT NULL OR NOT inherits_credits)
UNION ALL
SELECT * FROM (
    SELECT customer_id, api_key.id AS key_id, api_key.name, array_remove(ARRAY[
        CASE WHEN {HAS_LIFETIME.format("ttl_s")} IS NOT TRUE THEN 'expires_at' END,
        CASE WHEN NOT inherits @> ARRAY['limits'] THEN 'limits' END,
        CASE WHEN NOT inherits @> ARRAY['scopes'] THEN 'scopes' END], NULL) AS fields
    FROM api_key LEFT JOIN customer ON customer.id = customer_id
        JOIN plan ON plan.name = coalesce(api_key.plan, customer.plan)
    WHERE plan.name = $1 AND api_key.state IN ('active', 'disabled') AND successor_id IS NULL
) AS follower WHERE fields <> '{{}}'
ORDER BY customer_id NULLS LAST, key_id NULLS FIRST LIMIT $2
"""

_LOCK_PLANS = "SELECT name, ttl_s FROM plan WHERE name = ANY ($1::text[]) ORDER BY name FOR SHARE"

_terms = msgspec.json.Decoder(PlanRecord).decode


class CustomerPosition(msgspec.Struct, frozen=True):
    """Position of a customer in a sorted list. value: by which the list is sorted, as text."""

    id: str
    value: str


class CustomerChange(msgspec.Struct, frozen=True):
    """A changed customer, and the change to its credits. None: those of the plan."""

    customer: Customer
    event: AuditEvent
    credits: UpdateCredits | Credits | UnsetType | None = UNSET


#: A customer, and the plan that it follows.
Found = tuple[Customer, PlanRecord | None]


class CustomerRepository:
    """Methods raise Unavailable."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add(self, customer: Customer, event: AuditEvent) -> Found:
        """Raises Conflict if the ID exists, and BadRequest if the plan does not."""
        async with self._pool.transaction() as connection:
            try:
                await connection.execute(_INSERT, *_WRITTEN.values(customer))
            except asyncpg.UniqueViolationError as exc:
                raise Conflict("A customer with this ID already exists.") from exc
            except asyncpg.ForeignKeyViolationError as exc:
                raise unknown_reference(exc) from exc
            await _write_credits(connection, customer, None, customer.credits or UNSET)
            await append(connection, event)
            [row] = await connection.fetch(f"{_SELECT} WHERE id = $1", customer.id)
        return _found(row)

    async def get(self, customer_id: str) -> Found | None:
        row = await self._pool.fetchrow(f"{_SELECT} WHERE id = $1", customer_id)
        return None if row is None else _found(row)

    async def page(
        self,
        only: CustomerFilter,
        *,
        after: CustomerPosition | None,
        size: int,
        sort: CustomerSort = "id",
        creator: str | None = None,
    ) -> tuple[list[Found], CustomerPosition | None]:
        """Customers after a position, and the position of the last one if there are more. creator:
        only those that a key of the family of this key has created.
        """
        comparison, direction = ("<", "DESC") if sort.startswith("-") else (">", "ASC")
        name = sort.removeprefix("-")
        expression, kind, where = _SORT[name], _KINDS[name], _conditions(only, creator)
        if after is not None:
            position = f"({{}}::text::{kind}, {{}})"
            where.add(f"({expression}, id) {comparison} {position}", after.value, after.id)
        select = _SELECT.replace("SELECT ", f"SELECT ({expression})::text AS position, ", 1)
        order = f"{expression} {direction}, id {direction}"
        rows, last = await where.page(self._pool, select, order, size)
        end = CustomerPosition(last["id"], last["position"]) if last else None
        return [_found(row) for row in rows], end

    async def count(self, only: CustomerFilter, most: int, creator: str | None = None) -> int:
        return await count(self._pool, "customer", _conditions(only, creator), "id", most)

    async def alter(
        self, customer_id: str, work: Callable[[Customer], CustomerChange | None]
    ) -> tuple[Found, int] | None:
        """Locks a customer and writes the change that `work` returns. If `work` raises an error,
        nothing changes. Returns the customer and its change number, or None if it does not exist.
        """
        lock = f"{_SELECT} WHERE id = $1 FOR UPDATE OF customer"
        async with self._pool.transaction() as connection:
            row = await connection.fetchrow(lock, customer_id)
            if row is None:
                return None
            before = _found(row)[0]
            change = work(before)
            if change is not None:
                try:
                    await connection.execute(_UPDATE, *_WRITTEN.values(change.customer))
                except asyncpg.ForeignKeyViolationError as exc:
                    raise unknown_reference(exc) from exc
                if change.customer.state != "active":
                    await connection.execute(_END_REGISTRATIONS, customer_id)
                    ends_at = to_datetime(change.event.occurred_at)
                    await connection.execute(_END_PORTAL_SESSIONS, customer_id, ends_at)
                await _follow_plan(connection, customer_id, before.plan, change.customer.plan)
                credits = change.customer.credits
                await _write_credits(connection, change.customer, credits, change.credits)
                await append(connection, change.event)
            [row] = await connection.fetch(f"{_SELECT} WHERE id = $1", customer_id)
            seq = await connection.fetchval(
                "SELECT change_seq FROM customer WHERE id = $1", customer_id
            )
        return _found(row), seq

    async def remove(self, customer_id: str, event: AuditEvent) -> bool:
        """Deletes a customer whose keys are purged. Returns False if it has keys."""
        async with self._pool.transaction() as connection:
            try:
                status = await connection.execute("DELETE FROM customer WHERE id = $1", customer_id)
            except asyncpg.ForeignKeyViolationError:
                return False
            if row_count(status):
                for table, column in (("key_credit", "family_id"), ("key_alert", "key_id")):
                    statement = f"DELETE FROM {table} WHERE {column} = $1"
                    await connection.execute(statement, f"@{customer_id}")
                await append(connection, event)
        return True


class NamedRepository(Generic[T]):
    """Stores objects that have a unique name. Methods raise Unavailable.

    noun: what an object is called in messages.
    others: fields that are not columns, each with its expression.
    """

    def __init__(
        self, pool: Pool, table: str, struct: type[T], others: Mapping[str, str] | None = None
    ) -> None:
        others = others or {}
        self._pool, self._table, self._struct = pool, table, struct
        self.noun = table.rpartition("_")[2]
        self._read = RowMapping(struct, skip=others)
        self._written = RowMapping(struct, skip={*others, "version"})
        expressions = "".join(f", {text} AS {name}" for name, text in others.items())
        self._select = f"SELECT {self._read.select}{expressions} FROM {table}"
        self._others = tuple(others)

    async def all(self) -> list[T]:
        rows = await self._pool.fetch(f"{self._select} ORDER BY name")
        return [self._of(row) for row in rows]

    async def get(self, name: str) -> T | None:
        row = await self._pool.fetchrow(f"{self._select} WHERE name = $1", name)
        return None if row is None else self._of(row)

    async def add(self, value: T, event: AuditEvent) -> T:
        """Raises Conflict if the name exists."""
        async with self._pool.transaction() as connection:
            try:
                insert = self._written.insert(self._table)
                await connection.execute(insert, *self._written.values(value))
            except asyncpg.UniqueViolationError as exc:
                raise Conflict("This name is already in use.") from exc
            await self._check_number(connection)
            await append(connection, event)
            [row] = await connection.fetch(f"{self._select} WHERE name = $1", event.target_id)
        return self._of(row)

    async def _check_number(self, connection: Connection) -> None:
        """Raises Conflict if there are more than OBJECTS_MAX."""
        number = await connection.fetchval(f"SELECT count(*) FROM ({self._select}) AS every")
        if number > OBJECTS_MAX:
            raise Conflict(f"There are {OBJECTS_MAX} {self.noun}s; delete one first.")

    async def alter(
        self, name: str, work: Callable[[T], tuple[T, AuditEvent]]
    ) -> tuple[T, int] | None:
        """As `CustomerRepository.alter`."""
        select = f"{self._select} WHERE name = $1"
        async with self._pool.transaction() as connection:
            row = await connection.fetchrow(f"{select} FOR UPDATE OF {self._table}", name)
            if row is None:
                return None
            before = self._of(row)
            value, event = work(before)
            await connection.execute(self._update, *self._written.values(value))
            await self._changed(connection, before, value)
            await append(connection, event)
            [row] = await connection.fetch(select, name)
            statement = f"SELECT change_seq FROM {self._table} WHERE name = $1"
            seq = await connection.fetchval(statement, name)
        return self._of(row), seq

    async def remove(self, name: str, event: AuditEvent) -> bool:
        """Returns False if there is no such object. Raises Conflict if it is in use."""
        async with self._pool.transaction() as connection:
            try:
                statement = f"DELETE FROM {self._table} WHERE name = $1"
                status = await connection.execute(statement, name)
            except asyncpg.ForeignKeyViolationError as exc:
                raise Conflict(
                    "Customers or keys follow this plan; let them follow another plan first."
                ) from exc
            if removed := bool(row_count(status)):
                await append(connection, event)
        return removed

    async def _changed(self, connection: Connection, before: T, after: T) -> None:
        """Other changes in the transaction of an update."""

    @property
    def _update(self) -> str:
        columns = self._written.columns
        assignments = ", ".join(f"{column} = ${n}" for n, column in enumerate(columns, 1))
        return f"UPDATE {self._table} SET {assignments} WHERE name = ${columns.index('name') + 1}"

    def _of(self, row: Row) -> T:
        others = {name: row[name] for name in self._others}
        return self._struct(**self._read.fields(row), **others)


class PlanRepository(NamedRepository[Plan]):
    def __init__(self, pool: Pool) -> None:
        count = "(SELECT count(*) FROM {0} WHERE {0}.plan = plan.name)"
        others = {"customers": count.format("customer"), "keys": count.format("api_key")}
        super().__init__(pool, "plan", Plan, others)

    async def overrides(self, name: str) -> list[Override]:
        """The followers of a plan with values of their own, at most OVERRIDES_MAX."""
        rows = await self._pool.fetch(_OVERRIDES, name, OVERRIDES_MAX)
        return [Override(*row) for row in rows]

    async def alter(
        self, name: str, work: Callable[[Plan], tuple[Plan, AuditEvent]]
    ) -> tuple[Plan, int] | None:
        """As `CustomerRepository.alter`. Keys receive a new lifetime before the plan does, in short
        transactions, between which other changes are written. If the update is interrupted, its
        repetition continues.
        """
        before = await self.get(name)
        last: str | None = ""
        while before is not None and last is not None:
            after, _ = work(before)
            async with self._pool.transaction() as connection:
                last = await _follow(connection, before, after, after_id=last, size=FOLLOWERS_MAX)
        return await super().alter(name, work)

    async def _changed(self, connection: Connection, before: Plan, after: Plan) -> None:
        if after.credits != before.credits:
            await _inherit_credits(connection, plan=after.name)
        await _follow(connection, before, after)


class LimitRepository(NamedRepository[NamedLimit]):
    """Deleted limits stay in the table, so that gateways read that they were deleted."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool, "named_limit", NamedLimit)
        self._select = f"SELECT * FROM ({self._select} WHERE NOT is_deleted) AS named_limit"

    async def add(self, value: NamedLimit, event: AuditEvent) -> NamedLimit:
        columns, mapping = self._written.columns, self._written
        new = ", ".join(f"excluded.{column}" for column in columns)
        statement = (
            f"{mapping.insert(self._table)} ON CONFLICT (name) DO UPDATE "
            f"SET ({mapping.select}) = ({new}) WHERE {self._table}.is_deleted"
        )
        async with self._pool.transaction() as connection:
            if not row_count(await connection.execute(statement, *mapping.values(value))):
                raise Conflict("This name is already in use.")
            await self._check_number(connection)
            await append(connection, event)
            [row] = await connection.fetch(f"{self._select} WHERE name = $1", value.name)
        return self._of(row)

    async def remove(self, name: str, event: AuditEvent) -> bool:
        statement = f"UPDATE {self._table} SET is_deleted = true WHERE name = $1 AND NOT is_deleted"
        async with self._pool.transaction() as connection:
            if removed := bool(row_count(await connection.execute(statement, name))):
                await append(connection, event)
        return removed


def _conditions(only: CustomerFilter, creator: str | None) -> Conditions:
    where = Conditions()
    if creator is not None:
        where.add(f"customer.{CREATED_BY}", creator)
    where.add_equal(state=only.state, plan=only.plan)
    if only.tag is not None:
        where.add("tags @> ARRAY[{}]::text[]", only.tag)
    if only.search is not None:
        where.add(
            "(strpos(search_form(name), search_form({0})) > 0 OR strpos(lower(id), lower({0})) > 0 "
            "OR tags @> ARRAY[{0}::text])",
            only.search,
        )
    return where


async def _follow(
    connection: Connection,
    before: Plan,
    after: Plan,
    *,
    after_id: str = "",
    size: int | None = None,
) -> str | None:
    """As `follow_lifetime`, for the keys of a plan."""
    lifetimes = before.ttl_s, after.ttl_s
    return await follow_lifetime(
        connection, "plan", after.name, lifetimes, "body.ttl_s", after=after_id, size=size
    )


async def _follow_plan(
    connection: Connection, customer_id: str, before: str | None, after: str | None
) -> None:
    """Gives the keys of a customer the lifetime of its new plan."""
    if after is None or after == before:
        return
    # The plans wait: a change of their lifetime applies before or after this one.
    rows = await connection.fetch(_LOCK_PLANS, [before, after])
    ttls_s = {row["name"]: row["ttl_s"] for row in rows}
    lifetimes = ttls_s.get(before), ttls_s[after]
    await follow_lifetime(connection, "customer", customer_id, lifetimes, "body.plan")


async def _write_credits(
    connection: Connection,
    customer: Customer,
    before: Credits | None,
    change: UpdateCredits | Credits | UnsetType | None,
) -> None:
    """Changes the shared credits of a customer. Those that are not its own follow the plan.
    before: the stored credits.
    """
    if isinstance(change, Credits):
        change = UpdateCredits(remaining=change.remaining, refill=change.refill)
    if isinstance(change, UpdateCredits):
        await change_credits(connection, customer.subject, before, change)
    elif customer.inherits_credits:
        await _inherit_credits(connection, customer_id=customer.id)


async def _inherit_credits(
    connection: Connection, *, plan: str | None = None, customer_id: str | None = None
) -> None:
    for statement in (_TAKE_CREDITS, _GIVE_CREDITS, _MARK_CREDITS):
        await connection.execute(statement, plan, customer_id)


def _found(row: Row) -> Found:
    fields: dict[str, Any] = _READ.fields(row)
    amount, credits = row["refill_amount"], None
    if row["remaining"] is not None:
        credits = Credits(row["remaining"], amount and Refill(amount, row["refill_every"]))
    terms = row["terms"]
    customer = Customer(**fields, credits=credits, keys=row["keys"])
    return customer, None if terms is None else _terms(terms)
