"""Moving in: the keys and Cores of an older deployment, checked as a whole first, then written batch by batch.

A wrong row stops everything before anything is written, unless wrong rows shall be left out. The id of a key follows from its
token (verification/imported_tokens.py), so a second run makes nothing twice; the run's row in the database says where to go on.

Puts together what moves keys in and out: the database as the console uses it, the pepper, and where files are.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice

import asyncpg
import msgspec

from gatehouse.clock import Clock, SystemClock
from gatehouse.cores.models import CoreName, CoreRecord
from gatehouse.crypto.pepper import pepper
from gatehouse.crypto.sealing import seal
from gatehouse.crypto.token import NULL_DIGEST, Pepper
from gatehouse.db.connection import login
from gatehouse.errors import Problem, Unavailable
from gatehouse.identity.models import Actor
from gatehouse.keys.models import Key, KeyEnvironment, KeyId, KeyState, RateLimit
from gatehouse.settings import Settings
from gatehouse.transfer.export_repository import PostgresRegistry
from gatehouse.transfer.legacy_files import Entry, entries
from gatehouse.transfer.models import CoreRow, Imports, Incoming, KeyRow, Run
from gatehouse.transfer.repository import PostgresImports
from gatehouse.verification import imported_tokens
from gatehouse.verification.imported_tokens import hash_purpose
from gatehouse.verification.repository import Pool

ACTION = "key.import"


BATCH_ROWS = 1000


#: How long an imported Core is served from where it was: its own agent should have registered long before.
CORE_LEASE_S = 7 * 86_400.0


_DEFAULT_SCOPES = ("cores:read",)


_CORE_SCOPES = ("cores:read", "cores:register")


#: An entry of a file as a checked row, or what is wrong with it (wire/imports.py).
Read = Callable[[Entry], KeyRow | CoreRow | tuple[Problem, ...]]


class InvalidEntry(msgspec.Struct, frozen=True):
    """A row that cannot be imported: where and what to do about it."""

    line: int
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class ImportContext:
    """What imported keys become part of."""

    imports: Imports
    clock: Clock
    pepper: Pepper
    generation: int  # under which they are stored: one that every live gateway holds
    environment: KeyEnvironment
    default_limit: RateLimit
    random_bytes: Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class ImportOptions:
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
class CheckedImport:
    """What a look at the whole file found."""

    run: Run
    rows: int = 0
    wrong: list[InvalidEntry] = field(default_factory=list)


class ImportResult:
    """One file on its way in. `text` is read twice: for the check, and for the writing."""

    def __init__(self, house: ImportContext, text: str, kind: str, source: str, wishes: ImportOptions, read: Read) -> None:
        self._house = house
        self._read = read
        self._text = text
        self._kind = kind
        self._wishes = wishes
        identity = hashlib.sha256(f"{wishes.text()} {kind}\0".encode() + text.encode()).hexdigest()
        self._source = source
        self._id = identity
        self._now = house.clock.now()

    async def check(self, on_row: Callable[[int], None] = lambda _: None) -> CheckedImport:
        """Reads all of it and writes nothing. Raises oldfiles.Malformed, Unavailable."""
        found = CheckedImport(Run(self._id, self._source, 0))
        lines: dict[str, int] = {}
        batch: dict[KeyId, tuple[int, str]] = {}
        for line, row in self._rows():
            found.rows += 1
            on_row(found.rows)
            if isinstance(row, InvalidEntry):
                found.wrong.append(row)
                continue
            name = self._name(row)
            if name in lines:
                problem = Problem(
                    "", f"is the same {'Core' if self._wishes.cores else 'key'} as line {lines[name]}", "remove one"
                )
                found.wrong.append(InvalidEntry(line, (problem,)))
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

    async def write(self, checked: CheckedImport, actor: Actor, on_batch: Callable[[Run], None] = lambda _: None) -> Run:
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

    def _rows(self, behind: int = 0) -> Iterator[tuple[int, KeyRow | CoreRow | InvalidEntry]]:
        for entry in islice(entries(self._text, self._kind), behind, None):
            row = self._read(entry)
            if isinstance(row, CoreRow) and row.place is None and not self._wishes.registered_by:
                row = (Problem("key", "is missing", "name the key that its Core belongs to: --registered-by ID"),)
            yield entry.line, InvalidEntry(entry.line, row) if isinstance(row, tuple) else row

    async def _collisions(self, batch: dict[KeyId, tuple[int, str]]) -> list[InvalidEntry]:
        """Ids that another kind of key holds: one in 62^8, for each key that there is."""
        taken = await self._house.imports.existing(list(batch)) if batch else {}
        fix = "give its holder a new key with gatehouse keys create"
        return [
            InvalidEntry(batch[key_id][0], (Problem("", f"has the id {key_id}, which another key has", fix),))
            for key_id, scheme in taken.items()
            if scheme != batch[key_id][1]
        ]

    def _id_of(self, place: str) -> KeyId:
        found = imported_tokens.imported_key_id(place, self._house.pepper, self._house.generation)
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
        sealed, digest = None, NULL_DIGEST
        if row.hashed is not None:
            sealed = seal(row.hashed, hash_purpose(key_id), house.pepper, house.generation, house.random_bytes)
        else:
            digest = house.pepper.digest(row.place, house.generation) or NULL_DIGEST
        limits = (house.default_limit,) if row.limits is None else row.limits
        scopes = self._wishes.scopes if row.scopes is None else row.scopes
        key = Key(
            id=key_id,
            digest=digest,
            pepper_generation=house.generation,
            environment=row.environment or house.environment,
            state=KeyState.ACTIVE if row.enabled else KeyState.DISABLED,
            name=row.name,
            owner=row.owner,
            scopes=scopes,
            cores=row.cores,
            limits=limits,
            expires_at=row.expires_at,
            version=1,
            family_id=key_id,
            addresses=row.addresses,
            methods=row.methods,
            scheme=row.scheme,
            created_at=self._now if row.created_at is None else row.created_at,
            created_by=f"import:{self._id[:16]}",
            own_scopes=scopes,
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


_WRITABLE = (
    "SELECT max(held.generation) FROM unnest($1::integer[]) AS held (generation) WHERE NOT EXISTS ("
    " SELECT FROM gateway_worker WHERE seen_at > now() - make_interval(secs => $2)"
    " AND NOT held.generation = ANY (generations) AND generations <> '{}')"
)


@dataclass(frozen=True, slots=True)
class ImportDependencies:
    house: ImportContext
    registry: PostgresRegistry
    pepper: Pepper


@asynccontextmanager
async def open_yard(settings: Settings) -> AsyncIterator[ImportDependencies]:
    """Raises SettingsError, Unavailable (also when the schema is older than this version)."""
    peppered = pepper(settings.pepper, "PEPPER")
    password = settings.database_password.get_secret_value() if settings.database_password else None
    access = login(settings.database_url, settings.database_auth, password)
    try:
        pool: Pool = await asyncpg.create_pool(
            **access.arguments(), min_size=1, max_size=2, server_settings={"application_name": "gatehouse import"}
        )
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as exc:
        raise Unavailable(
            f"cannot log in to PostgreSQL at {access.address} as {access.user} ({type(exc).__name__}):"
            " check GATEHOUSE_DATABASE_URL, GATEHOUSE_DATABASE_AUTH and that the server runs"
        ) from exc
    try:
        held = [generation for generation in peppered.generations if generation <= peppered.current]
        try:
            writing = await pool.fetchval(_WRITABLE, held, 2 * settings.max_staleness_ms / 1000)
            await pool.execute("SELECT FROM import_run LIMIT 1")
        except asyncpg.UndefinedTableError:
            raise Unavailable(f"the database at {access.address} has an older schema: run gatehouse migrate first") from None
        house = ImportContext(
            imports=PostgresImports(pool),
            clock=SystemClock(),
            pepper=peppered,
            generation=writing or peppered.current,
            environment=settings.key_environment,
            default_limit=settings.default_limit,
            random_bytes=secrets.token_bytes,
        )
        yield ImportDependencies(house, PostgresRegistry(pool), peppered)
    finally:
        await pool.close()
