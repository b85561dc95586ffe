"""Builds SQL statements: columns and values of structs, conditions that are composed at run
time, and the deletion of expired rows.

The columns of a table are declared once, as the fields of a struct. The type of a field determines
how it is stored: a float as a time (timestamptz), a tuple of strings as an array, a tuple of
structs, a struct or a dict as JSON (jsonb), and an enum as its value. Any other type is stored
unchanged. Values are always bound as numbered parameters and are never part of the text.
"""

import types
from collections.abc import Callable, Collection
from datetime import datetime
from enum import Enum
from functools import lru_cache
from typing import Annotated, Any, Generic, TypeVar, get_args, get_origin

import msgspec

from gatehouse.core.clock import to_datetime, to_seconds
from gatehouse.platform.db.pool import Connection, Pool, Row

#: Rows that a key of the same family as the key {0} has created.
CREATED_BY = (
    "created_by = ANY (ARRAY(SELECT 'key:' || maker.id FROM api_key AS maker "
    "JOIN api_key AS caller USING (family_id) WHERE caller.id = {0}))"
)
#: Keys of the customers that a key of the same family as the key {0} has created.
OF_CREATED_CUSTOMER = f"customer_id = ANY (ARRAY(SELECT id FROM customer WHERE {CREATED_BY}))"

T = TypeVar("T", bound=msgspec.Struct)
V = TypeVar("V", str, tuple[str, ...])

Convert = Callable[[Any], Any]

#: Number of expired rows that a statement deletes, in 0.1 s, so that it ends before its timeout.
PRUNE_ROWS = 10_000


class RowMapping(Generic[T]):
    """Mapping between a struct and the columns of a table.

    skip: fields without a column of their own.
    """

    def __init__(self, struct: type[T], *, skip: Collection[str] = ()) -> None:
        self._struct = struct
        self._fields = [
            (field.name, *_codec(field.type))
            for field in msgspec.structs.fields(struct)
            if field.name not in skip
        ]
        self.columns = tuple(name for name, _, _ in self._fields)

    @property
    def select(self) -> str:
        return ", ".join(self.columns)

    def read(self, row: Row) -> T:
        """Decodes a row into the struct. Only for mappings created without `skip`."""
        return self._struct(**self.fields(row))

    def fields(self, row: Row) -> dict[str, Any]:
        return {name: decode(row[name]) for name, _, decode in self._fields}

    async def first(self, connection: "Connection | Pool", rest: str, *values: Any) -> T | None:
        """The first row of `SELECT columns FROM rest`."""
        row = await connection.fetchrow(f"SELECT {self.select} FROM {rest}", *values)
        return None if row is None else self.read(row)

    async def all(self, connection: "Connection | Pool", rest: str, *values: Any) -> list[T]:
        rows = await connection.fetch(f"SELECT {self.select} FROM {rest}", *values)
        return [self.read(row) for row in rows]

    def values(self, struct: T) -> list[Any]:
        """Encoded column values from a struct, in the order of the columns."""
        return [encode(getattr(struct, name)) for name, encode, _ in self._fields]

    def insert(self, table: str) -> str:
        """INSERT statement with a parameter for each column, in the order of `values`."""
        return f"INSERT INTO {table} ({self.select}) VALUES ({placeholders(len(self.columns))})"

    def upsert(self, table: str, key: str) -> str:
        """Like `insert`, but replaces the row with the same `key`."""
        new = ", ".join(f"excluded.{column}" for column in self.columns)
        return f"{self.insert(table)} ON CONFLICT ({key}) DO UPDATE SET ({self.select}) = ({new})"


_known = lru_cache(maxsize=10_000)(lambda value: value)


def shared(value: V) -> V:
    """An object that is equal to a value of a row, and the same for all equal values, which takes
    less memory in a cache.
    """
    known: V = _known(value)
    return known


def placeholders(count: int) -> str:
    """Placeholders for `count` parameters: `$1, $2` and so on."""
    return ", ".join(f"${number}" for number in range(1, count + 1))


def _codec(kind: Any) -> tuple[Convert, Convert]:
    """Functions that encode and decode a value of this type."""
    if get_origin(kind) is Annotated:
        return _codec(get_args(kind)[0])
    options = [option for option in get_args(kind) if option is not types.NoneType]
    if isinstance(kind, types.UnionType) and len(options) == 1:
        encode, decode = _codec(options[0])
        return (
            lambda value: None if value is None else encode(value),
            lambda value: None if value is None else decode(value),
        )
    if kind is float:
        return to_datetime, to_seconds
    if get_origin(kind) is tuple and options[0] is str:
        return list, tuple
    if get_origin(kind) in (tuple, dict) or (
        isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    ):
        decode = msgspec.json.Decoder(kind).decode
        # Instances of a Core have the same settings, and many keys the same limits.
        shares = get_origin(kind) is tuple or getattr(kind, "__struct_config__", None)
        return (
            lambda value: msgspec.json.encode(value).decode(),
            lru_cache(maxsize=256)(decode) if shares else decode,
        )
    if isinstance(kind, type) and issubclass(kind, Enum):
        return lambda value: value.value, kind
    return lambda value: value, lambda value: value


class Conditions:
    """Conditions that are combined with AND.

    values: the parameters of the whole statement.
    """

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._conditions: list[str] = []

    def add(self, condition: str, *values: Any) -> None:
        """Adds a condition, such as `add("owner = {}", owner)`: each `{}` is replaced by the
        placeholder for the value at the same position."""
        self._conditions.append(condition.format(*(self.bind(value) for value in values)))

    def add_equal(self, **columns: Any) -> None:
        for column, value in columns.items():
            if value is not None:
                self.add(f"{column} = {{}}", value)

    def add_range(self, column: str, since: float | None, until: float | None) -> None:
        """Adds the bounds of a time in Unix seconds."""
        for operator, bound in ((">=", since), ("<", until)):
            if bound is not None:
                self.add(f"{column} {operator} {{}}", to_datetime(bound))

    async def page(
        self, pool: Pool, select: str, order: str, size: int
    ) -> "tuple[list[Row], Row | None]":
        """The first `size` rows, and the last of them if there are more."""
        statement = f"{select}{self} ORDER BY {order} LIMIT {self.bind(size + 1)}"
        rows = await pool.fetch(statement, *self.values)
        return rows[:size], rows[size - 1] if len(rows) > size else None

    def bind(self, value: Any) -> str:
        """Adds a parameter to the statement and returns its placeholder."""
        self.values.append(value)
        return f"${len(self.values)}"

    def __str__(self) -> str:
        """The WHERE clause, or an empty string if there are no conditions."""
        return f" WHERE {' AND '.join(self._conditions)}" if self._conditions else ""


async def count(pool: Pool, tables: str, where: Conditions, index: str, most: int) -> int:
    """Number of rows that match the conditions, at most `most`. index: a column with an index,
    in whose order they are read."""
    matching = f"SELECT 1 FROM {tables}{where} ORDER BY {index} LIMIT {where.bind(most)}"
    found: int = await pool.fetchval(
        f"SELECT count(*) FROM ({matching}) AS matching", *where.values
    )
    return found


async def prune(
    pool: Pool, table: str, column: str, *, before: datetime | int, **equal: Any
) -> int:
    """Deletes the rows whose time or number in `column`, which has an index, is before a value, the
    oldest first. Returns their number.

    equal: further columns and their values.
    """
    where, deleted = Conditions(), 0
    where.add_equal(**equal)
    where.add(f"{column} < {{}}", before)
    rows = f"SELECT ctid FROM {table}{where} ORDER BY {column} LIMIT {where.bind(PRUNE_ROWS)}"
    statement = f"DELETE FROM {table} WHERE ctid = ANY (ARRAY({rows}))"
    while count := await pool.execute(statement, *where.values):
        deleted += count
    return deleted
