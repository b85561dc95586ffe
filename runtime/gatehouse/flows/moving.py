"""Moving in: the keys and Cores of an older deployment, checked as a whole first, then written batch by batch.

A wrong row stops everything before anything is written, unless wrong rows shall be left out. The id of a key follows from its
token (core/foreign.py), so a second run makes nothing twice; the run's row in the database says where to go on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import msgspec

from gatehouse.core import foreign
from gatehouse.core.apikey import Pepper
from gatehouse.core.envelope import seal
from gatehouse.core.oldfiles import Entry, entries
from gatehouse.errors import Problem, Unavailable
from gatehouse.flows.actor import Actor
from gatehouse.flows.foreign import purpose
from gatehouse.store.ports import Clock, StoredKey
from gatehouse.store.ports_import import CoreRow, Imports, Incoming, KeyRow, Run
from gatehouse.types import CoreName, CoreRecord, KeyEnvironment, KeyId, KeyRecord, KeyState, Limit

ACTION = "key.import"
BATCH_ROWS = 1000
#: How long an imported Core is served from where it was: its own agent should have registered long before.
CORE_LEASE_S = 7 * 86_400.0
_DEFAULT_SCOPES = ("cores:read",)
_CORE_SCOPES = ("cores:read", "cores:register")


#: An entry of a file as a checked row, or what is wrong with it (wire/imports.py).
Read = Callable[[Entry], KeyRow | CoreRow | tuple[Problem, ...]]


class Wrong(msgspec.Struct, frozen=True):
    """A row that cannot be imported: where and what to do about it."""

    line: int
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class House:
    """What imported keys become part of."""

    imports: Imports
    clock: Clock
    pepper: Pepper
    generation: int  # under which they are stored: one that every live gateway holds
    environment: KeyEnvironment
    default_limit: Limit
    random_bytes: Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Wishes:
    """`cores`: the entries are URLs of Cores. ignored: members that are left out. scopes: for keys that name none.

    registered_by: the key that Cores without one of their own belong to.
    """

    cores: bool = False
    ignored: frozenset[str] = frozenset()
    scopes: tuple[str, ...] = _DEFAULT_SCOPES
    registered_by: str = ""

    def text(self) -> str:
        return f"{self.cores} {sorted(self.ignored)} {self.scopes} {self.registered_by}"


@dataclass(slots=True)
class Checked:
    """What a look at the whole file found."""

    run: Run
    rows: int = 0
    wrong: list[Wrong] = field(default_factory=list)


class Move:
    """One file on its way in. `text` is read twice: for the check, and for the writing."""

    def __init__(self, house: House, text: str, kind: str, source: str, wishes: Wishes, read: Read) -> None:
        self._house = house
        self._read = read
        self._text = text
        self._kind = kind
        self._wishes = wishes
        identity = hashlib.sha256(f"{wishes.text()} {kind}\0".encode() + text.encode()).hexdigest()
        self._source = source
        self._id = identity
        self._now = house.clock.now()

    async def check(self, on_row: Callable[[int], None] = lambda _: None) -> Checked:
        """Reads all of it and writes nothing. Raises oldfiles.Malformed, Unavailable."""
        found = Checked(Run(self._id, self._source, 0))
        lines: dict[str, int] = {}
        batch: dict[KeyId, tuple[int, str]] = {}
        for line, row in self._rows():
            found.rows += 1
            on_row(found.rows)
            if isinstance(row, Wrong):
                found.wrong.append(row)
                continue
            name = self._name(row)
            if name in lines:
                problem = Problem(
                    "", f"is the same {'Core' if self._wishes.cores else 'key'} as line {lines[name]}", "remove one"
                )
                found.wrong.append(Wrong(line, (problem,)))
                continue
            lines[name] = line
            if isinstance(row, KeyRow):
                batch[KeyId(name)] = (line, row.scheme)
            if len(batch) >= BATCH_ROWS:
                found.wrong += await self._collisions(batch)
                batch = {}
        found.wrong += await self._collisions(batch)
        found.wrong.sort(key=lambda one: one.line)
        found.run = Run(self._id, self._source, found.rows)
        return found

    async def write(self, checked: Checked, actor: Actor, on_batch: Callable[[Run], None] = lambda _: None) -> Run:
        """Writes the rows that are right, from where an earlier run stood. Raises Conflict, Unavailable."""
        house = self._house
        run = await house.imports.run(checked.run, now=self._now)
        on_batch(run)
        wrong, begin = {one.line for one in checked.wrong}, run.done
        keys: list[Incoming] = []
        cores: list[CoreRecord] = []
        position = begin
        for line, row in self._rows(begin):
            position += 1
            if isinstance(row, KeyRow) and line not in wrong:
                keys.append(self._key(row))
            elif isinstance(row, CoreRow) and line not in wrong:
                cores.append(self._core(row))
            if position - run.done >= BATCH_ROWS or position == checked.rows:
                run = await self._batch(run, keys, cores, position, actor)
                keys, cores = [], []
                on_batch(run)
        return run

    async def _batch(self, run: Run, keys: list[Incoming], cores: list[CoreRecord], done: int, actor: Actor) -> Run:
        event = actor.did(
            ACTION if not self._wishes.cores else "core.import",
            target_type="import",
            target_id=self._id[:16],
            at=self._house.clock.now(),
            details={"source": self._source, "rows_from": run.done + 1, "rows_to": done},
        )
        return await self._house.imports.write(run, keys, cores, done=done, event=event)

    def _rows(self, behind: int = 0) -> Iterator[tuple[int, KeyRow | CoreRow | Wrong]]:
        for entry in islice(entries(self._text, self._kind), behind, None):
            row = self._read(entry)
            if isinstance(row, CoreRow) and row.place is None and not self._wishes.registered_by:
                row = (Problem("key", "is missing", "name the key that its Core belongs to: --registered-by ID"),)
            yield entry.line, Wrong(entry.line, row) if isinstance(row, tuple) else row

    async def _collisions(self, batch: dict[KeyId, tuple[int, str]]) -> list[Wrong]:
        """Ids that another kind of key holds: one in 62^8, for each key that there is."""
        taken = await self._house.imports.existing(list(batch)) if batch else {}
        fix = "give its holder a new key with gatehouse keys create"
        return [
            Wrong(batch[key_id][0], (Problem("", f"has the id {key_id}, which another key has", fix),))
            for key_id, scheme in taken.items()
            if scheme != batch[key_id][1]
        ]

    def _id_of(self, place: str) -> KeyId:
        found = foreign.foreign_id(place, self._house.pepper, self._house.generation)
        if found is None:
            raise Unavailable("Keys cannot be imported at the moment", detail="the pepper generation is not held")
        return found

    def _name(self, row: KeyRow | CoreRow) -> str:
        return self._id_of(row.place) if isinstance(row, KeyRow) else self._core_name(row)

    def _core_name(self, row: CoreRow) -> str:
        return row.name or f"core-{self._id_of(row.place or '')[:8].lower()}"

    def _key(self, row: KeyRow) -> Incoming:
        house = self._house
        key_id = self._id_of(row.place)
        sealed, digest = None, foreign.UNPROVEN
        if row.hashed is not None:
            sealed = seal(row.hashed, purpose(key_id), house.pepper, house.generation, house.random_bytes)
        else:
            digest = house.pepper.digest(row.place, house.generation) or foreign.UNPROVEN
        limits = (house.default_limit,) if row.limits is None else row.limits
        record = KeyRecord(
            id=key_id,
            digest=digest,
            pepper_generation=house.generation,
            environment=row.environment or house.environment,
            state=KeyState.ACTIVE if row.enabled else KeyState.DISABLED,
            name=row.name,
            owner=row.owner,
            scopes=self._wishes.scopes if row.scopes is None else row.scopes,
            cores=row.cores,
            limits=limits,
            expires_at=row.expires_at,
            version=1,
            lineage=key_id,
            addresses=row.addresses,
            methods=row.methods,
            scheme=row.scheme,
        )
        key = StoredKey(
            record=record,
            created_at=self._now if row.created_at is None else row.created_at,
            created_by=f"import:{self._id[:16]}",
            own_scopes=record.scopes,
            tags=row.tags,
            metadata=row.metadata,
            notes=row.notes,
            id_generation=house.generation,
        )
        return Incoming(key, sealed)

    def _core(self, row: CoreRow) -> CoreRecord:
        place = row.place
        return CoreRecord(
            name=CoreName(self._core_name(row)),
            url=row.url,
            environment=self._house.environment,
            lease_id=f"import:{self._id[:16]}",
            registered_by=KeyId(self._wishes.registered_by) if place is None else self._id_of(place),
            pepper_generation=self._house.generation,
            expires_at=self._now + CORE_LEASE_S,
            draining=False,
            version=0,
        )
