"""Imports keys and Cores from another system. The whole file is validated before the first row is
written.

An invalid row prevents the import, unless invalid rows are skipped. The ID of a key is derived from
its token and a pepper generation (core/tokens/imported_tokens.py). A key that exists under any
generation is not inserted again, so a repeated import inserts only what is missing, for example
after an interruption.
"""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property

import msgspec

from gatehouse.core.actor import Actor
from gatehouse.core.audit_events import AuditAction
from gatehouse.core.clock import Clock
from gatehouse.core.cores import IMPORTED_INSTANCE, CoreName, CoreRecord
from gatehouse.core.errors import BadRequest, Problem, Unavailable
from gatehouse.core.keys import Key, KeyId, KeyState
from gatehouse.core.tokens import imported_tokens
from gatehouse.core.tokens.token import read_pepper
from gatehouse.features.keys.service import KeyService
from gatehouse.features.transfer.file_formats import HASH, TOKEN, Entry, FileFormat, entries
from gatehouse.features.transfer.repository import ExportRepository, ImportRepository
from gatehouse.features.transfer.schemas import COLUMNS, parse_core, parse_key
from gatehouse.platform.db.pool import pool_of
from gatehouse.platform.settings import Settings
from gatehouse.platform.web.validation import invalid

BATCH_ROWS = 1000

#: Duration of the lease of an imported Core. The agent of the Core is expected to register before
#: the lease expires.
CORE_LEASE_S = 7 * 86_400.0


class InvalidRow(msgspec.Struct, frozen=True):
    row: int
    errors: tuple[Problem, ...]


class CheckedImport(msgspec.Struct, frozen=True):
    """Result of the validation of a file: the valid and the invalid rows. hashed: some rows have a
    hash of a token.
    """

    valid: list[Key | CoreRecord]
    invalid: list[InvalidRow]
    hashed: bool

    @property
    def rows(self) -> int:
        return len(self.valid) + len(self.invalid)


def _in_file(problem: Problem) -> Problem:
    """The problem without the location of the body of a request."""
    return msgspec.structs.replace(problem, location=problem.location.removeprefix("body."))


@dataclass(frozen=True, kw_only=True)
class ImportJob:
    """Imports one file.

    keys: creates the other keys of the deployment.
    generation: pepper generation for new digests, which every live gateway worker can read.
    cores: True if the entries are URLs of Cores.
    file_format, hashed: see `file_formats.entries`.
    ignored: members that are ignored.
    plans: names of the plans.
    registered_by: ID of the key that registers the Cores, if the file contains their names and not
        tokens.
    materials: inputs of the HMACs for the IDs that were derived.
    customers: names of the customers in the file by ID.
    """

    repository: ImportRepository
    keys: KeyService
    generation: int
    text: str
    source: str
    cores: bool
    file_format: FileFormat
    hashed: bool
    ignored: frozenset[str]
    plans: frozenset[str]
    registered_by: str
    materials: dict[KeyId, str] = field(default_factory=dict, init=False)
    customers: dict[str, str] = field(default_factory=dict, init=False)

    @cached_property
    def id(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]

    def check(self) -> CheckedImport:
        """Raises MalformedFile."""
        columns = COLUMNS | self.ignored
        rows = entries(self.text, self.file_format, columns=columns, hashed=self.hashed)
        checked = CheckedImport([], [], any(entry.hashed for entry in rows))
        now, numbers = self.keys.clock.now(), dict[KeyId, int]()
        for entry in rows:
            try:
                record = self._core(entry, now) if self.cores else self._key(entry, now)
                if isinstance(record, Key):
                    first = numbers.setdefault(record.id, entry.row)
                    if first != entry.row:
                        message = f"is the same as in row {first}"
                        raise invalid(HASH if entry.hashed else TOKEN, message, "")
            except BadRequest as exc:
                checked.invalid.append(InvalidRow(entry.row, tuple(map(_in_file, exc.errors))))
            else:
                checked.valid.append(record)
        return checked

    async def write(self, checked: CheckedImport, actor: Actor) -> int:
        """Inserts the valid rows that do not exist, in batches. Returns their number. Raises
        Unavailable.
        """
        imported = 0
        for start in range(0, len(checked.valid), BATCH_ROWS):
            rows = checked.valid[start : start + BATCH_ROWS]
            event = actor.event(
                AuditAction.CORE_IMPORT if self.cores else AuditAction.KEY_IMPORT,
                target_id=self.id,
                at=self.keys.clock.now(),
                details={"source": self.source, "rows_to": start + len(rows)},
            )
            try:
                imported += await self.repository.write(
                    rows, event, self._other_ids(rows), self.customers
                )
            except Unavailable as exc:
                raise Unavailable(
                    "The database is not available; start the same import again to resume it.",
                    detail=exc.detail,
                ) from exc
        return imported

    def _other_ids(self, rows: list[Key | CoreRecord]) -> dict[KeyId, KeyId]:
        """IDs that the keys of rows may have under other pepper generations, with their IDs in the
        rows.
        """
        ids = [row.id if isinstance(row, Key) else row.registered_by for row in rows]
        return {
            other: id
            for id in self.materials.keys() & ids
            for other in imported_tokens.ids_of(self.materials[id], self.keys.pepper)
            if other != id
        }

    def _key_id(self, material: str) -> KeyId:
        id = imported_tokens.imported_key_id(material, self.keys.pepper, self.generation)
        self.materials[id] = material
        return id

    def _key(self, entry: Entry, now: float) -> Key:
        keys, generation = self.keys, self.generation
        row, material = parse_key(entry, self.ignored, keys.prefix)
        if row.plan and row.plan not in self.plans:
            raise invalid("plan", "is not the name of a plan", "see gatehouse plans list")
        lifetime = {} if row.ttl_s is None else {"expires_at": now + row.ttl_s}
        if row.customer_id:
            self.customers.setdefault(row.customer_id, row.customer_name or row.customer_id)
        return keys.new_key(
            row,
            now,
            id=self._key_id(material),
            digest=keys.pepper.hmac(material, generation),
            pepper_generation=generation,
            state=KeyState.ACTIVE if row.enabled else KeyState.DISABLED,
            scheme=imported_tokens.SCHEME,
            created_by=f"import:{self.id}",
            **lifetime,
        )

    def _core(self, entry: Entry, now: float) -> CoreRecord:
        named = bool(self.registered_by)
        row = parse_core(entry, self.keys.prefix, named=named)
        key_id = (
            KeyId(self.registered_by)
            if named
            else self._key_id(imported_tokens.material(entry.name))
        )
        return CoreRecord(
            name=CoreName(row.core_name or f"core-{key_id[:8].lower()}"),
            instance_id=IMPORTED_INSTANCE,
            url=row.url.rstrip("/"),
            environment=self.keys.environment,
            lease_id=f"import:{self.id}",
            registered_by=key_id,
            pepper_generation=self.generation,
            expires_at=now + CORE_LEASE_S,
            draining=False,
            version=0,
        )


@asynccontextmanager
async def open_transfer(
    settings: Settings,
) -> AsyncIterator[tuple[KeyService, ImportRepository, ExportRepository]]:
    """Connects to the database and yields what imports and exports need.

    Raises SettingsError, also if the schema does not exist, and Unavailable.
    """
    pepper = read_pepper(settings.pepper, "GATEHOUSE_PEPPER")
    clock = Clock()
    pool = pool_of(settings, "gatehouse import", clock, size_max=2)
    try:
        await pool.open()
        keys = KeyService.of(settings, pool, clock, pepper)
        yield keys, ImportRepository(pool, keys.store), ExportRepository(pool)
    finally:
        await pool.close()
