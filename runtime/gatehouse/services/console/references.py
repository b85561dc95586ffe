"""Resolves references: what a request names by an ID, a name or a tag. They are the query
parameters and the parameters of paths that mean a key, a customer, a Core, a plan or an actor, and
the customer of a key in a body.

An ID has precedence over a name, and a name over a tag. Objects that are active or disabled have
precedence over others, and the newest key of a family over those that it replaces. If several
objects are left, the request is invalid. A filter that means nothing is invalid too, except for a
Core or an actor, which can be one that the console does not know, or no longer.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from gatehouse.core.errors import BadRequest
from gatehouse.core.keys import KeyState
from gatehouse.features.keys.conditions import NAMED
from gatehouse.platform.db.pool import Pool
from gatehouse.platform.db.statements import CREATED_BY, OF_CREATED_CUSTOMER, Conditions
from gatehouse.platform.web.fields import Kind
from gatehouse.platform.web.validation import invalid, references

Query = TypeVar("Query", bound=msgspec.Struct)
Body = TypeVar("Body", bound=msgspec.Struct)

#: The parameters of paths that are references.
PATH: dict[str, Kind] = {"id": "key", "customer": "customer", "plan": "plan", "name": "core"}
#: Maximum number of characters of a name in a path.
PATH_CHARS_MAX = 100
#: Maximum number of keys in a parameter, and of objects that an error lists.
KEYS_MAX, LISTED_MAX = 100, 10

#: The objects that a reference can mean. A Core has no ID but its name.
_NOUNS: dict[Kind, tuple[str, ...]] = {
    "key": ("key",),
    "keys": ("key",),
    "family": ("key",),
    "customer": ("customer",),
    "core": (),
    "plan": ("plan",),
    "actor": ("key",),
    "target": ("key", "customer"),
    "owner": ("key",),
}
#: Kinds whose values can mean something that the console does not know.
_OPEN = ("core", "actor", "target", "owner")
#: A value is in the trail.
_KNOWN = {
    "actor": "SELECT EXISTS (SELECT FROM audit_event WHERE actor_id = $1)",
    "target": "SELECT EXISTS (SELECT FROM audit_event WHERE target_id = $1)",
}
#: Beginnings of owners.
_OWNERS = ("bootstrap", "key:", "person:")

_IN_USE = f"state IN ('{KeyState.ACTIVE}', '{KeyState.DISABLED}')"
#: The columns of `Referred`. {0}: noun. {1}: ID. {2}: ID of the family. {3}: state. {4}: condition.
_SELECT = (
    "SELECT '{0}', {1}, {2}, {3}, {1} = $1 AS has_id, search_form(name) = search_form($1) "
    "AS has_name, {4} AS is_current FROM {0}"
)
_HAS = "(id = {{0}} OR {} OR tags @> ARRAY[{{0}}::text])"
_NAMED_CUSTOMER = (
    "(trigrams('  ' || name || E'\\n  ' || id) @> trigrams('  ' || {0}::text) "
    "AND search_form(name) = search_form({0}))"
)


class _Source(msgspec.Struct, frozen=True):
    """condition: the row has this ID, name or tag. created: by a key of the family of a key."""

    select: str
    condition: str
    created: str


_SOURCES = {
    "key": _Source(
        _SELECT.format(
            "api_key", "id", "family_id", "state", f"{_IN_USE} AND successor_id IS NULL"
        ),
        _HAS.format(NAMED),
        f"({OF_CREATED_CUSTOMER} OR EXISTS (SELECT FROM api_key AS first "
        f"WHERE first.id = api_key.family_id AND first.{CREATED_BY}))",
    ),
    "customer": _Source(
        _SELECT.format("customer", "id", "id", "state", _IN_USE),
        _HAS.format(_NAMED_CUSTOMER),
        CREATED_BY,
    ),
    "plan": _Source(
        _SELECT.format("plan", "name", "name", "'active'", "true"),
        "search_form(name) = search_form({0})",
        CREATED_BY,
    ),
}


class Referred(msgspec.Struct, frozen=True):
    """An object that a reference can mean."""

    table: str
    id: str
    family_id: str
    state: str
    has_id: bool
    has_name: bool
    is_current: bool

    @property
    def noun(self) -> str:
        return self.table.rpartition("_")[2]

    @property
    def precedence(self) -> tuple[bool, bool, bool]:
        """Sorts objects that have precedence first."""
        return not self.has_id, not self.has_name, not self.is_current


@dataclass(frozen=True, slots=True)
class References:
    """Methods raise Unavailable. creator: only what a key of the family of this key has created."""

    pool: Pool

    async def named(
        self, text: str, nouns: Iterable[str], creator: str | None = None
    ) -> list[Referred]:
        """The objects that have precedence among those with this ID, name or tag."""
        found = list[Referred]()
        for source in map(_SOURCES.__getitem__, nouns):
            where = Conditions()
            where.add(source.condition, text)
            if creator is not None:
                where.add(source.created, creator)
            statement = (
                f"{source.select}{where} ORDER BY has_id DESC, has_name DESC, is_current DESC, 2 "
                f"LIMIT {LISTED_MAX + 1}"
            )
            found += [Referred(*row) for row in await self.pool.fetch(statement, *where.values)]
        first = min((each.precedence for each in found), default=None)
        return [each for each in found if each.precedence == first]

    async def resolve(
        self, kind: Kind, text: str, location: str, creator: str | None = None
    ) -> str | None:
        """What a reference means, or None for nothing. Raises BadRequest for several objects."""
        known = _KNOWN.get(kind)
        if known is not None and await self.pool.fetchval(known, text):
            return text
        found = await self.named(text, _NOUNS[kind], creator)
        if len(found) > 1:
            raise _ambiguous(location, found)
        for each in found:
            return {"family": each.family_id, "owner": f"key:{each.family_id}"}.get(kind, each.id)
        return None

    async def query(self, query: Query, creator: str | None = None) -> tuple[Query, dict[str, str]]:
        """The query with the values that its references mean, and those that are others than in the
        request. Raises BadRequest for a reference that means several objects, or none.
        """
        changes = dict[str, str]()
        for name, kind in references(type(query)).items():
            if text := getattr(query, name):
                value = await self._required(kind, text, f"query.{name}", creator)
                if value != text:
                    changes[name] = value
        return (msgspec.structs.replace(query, **changes) if changes else query), changes

    async def body(self, body: Body, creator: str | None = None) -> tuple[Body, dict[str, str]]:
        """As `query`, for a body. The operation reports a reference that means nothing. A customer
        that is created with its key is named by its ID alone.
        """
        changes = dict[str, str]()
        if getattr(body, "create_customer", False):
            return body, changes
        for name, kind in references(type(body)).items():
            if text := getattr(body, name):
                value = await self.resolve(kind, text, f"body.{name}", creator)
                if value not in (None, text):
                    changes[name] = str(value)
        return (msgspec.structs.replace(body, **changes) if changes else body), changes

    async def _required(self, kind: Kind, text: str, location: str, creator: str | None) -> str:
        if kind == "owner" and text.startswith(_OWNERS):
            return text
        found = await self.resolve(kind, text, location, creator)
        if found is not None:
            return found
        if kind == "keys" and "," in text:
            return await self._several(text.split(","), location, creator)
        if kind in _OPEN:
            return text
        if kind == "plan":
            raise invalid(location, "is not the name of a plan", "see GET /v1/plans")
        [noun] = _NOUNS[kind]
        fix = f"find the {noun} with POST /v1/lookup, which also accepts a part of the name"
        raise invalid(location, f"is not the ID, the name or the tag of a {noun}", fix)

    async def _several(self, texts: Sequence[str], location: str, creator: str | None) -> str:
        if len(texts) > KEYS_MAX:
            raise invalid(location, f"names more than {KEYS_MAX} keys", "send fewer")
        ids = [await self._required("key", text.strip(), location, creator) for text in texts]
        return ",".join(dict.fromkeys(ids))


def _ambiguous(location: str, found: Sequence[Referred]) -> BadRequest:
    part = "name" if found[0].has_name else "tag"
    listed = ", ".join(f"{each.id} ({each.noun}, {each.state})" for each in found[:LISTED_MAX])
    more = ", and others" if len(found) > LISTED_MAX else ""
    fix = f"send the ID of one of them: {listed}{more}"
    return invalid(location, f"is the {part} of several objects", fix)
