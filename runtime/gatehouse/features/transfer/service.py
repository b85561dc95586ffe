"""Imports keys and Cores from another system. The whole file is validated before the first row is
written.

An invalid row prevents the import, unless invalid rows are skipped. The ID of a key is derived from
its token (core/imported_tokens.py), so a repeated import inserts only what is missing, for example
after an interruption.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import msgspec

from gatehouse.core.actor import Actor
from gatehouse.core.audit_events import AuditAction
from gatehouse.core.clock import Clock
from gatehouse.core.cores import IMPORTED_INSTANCE, CoreName, CoreRecord
from gatehouse.core.errors import Problem, Unavailable
from gatehouse.core.imported_tokens import SCHEME, imported_key_id
from gatehouse.core.keys import Key, KeyEnvironment, KeyId, KeyState
from gatehouse.core.token import read_pepper
from gatehouse.features.keys.schemas import settings_of
from gatehouse.features.keys.service import DEFAULT_SCOPES, KeyService
from gatehouse.features.transfer.file_formats import Entry, entries
from gatehouse.features.transfer.repository import ExportRepository, ImportRepository
from gatehouse.features.transfer.schemas import ImportedCore, ImportedKey, parse_entry
from gatehouse.platform.db.pool import Pool, database
from gatehouse.platform.settings import Settings

BATCH_ROWS = 1000

#: Duration of the lease of an imported Core. The agent of the Core is expected to register before
#: the lease expires.
CORE_LEASE_S = 7 * 86_400.0


class InvalidRow(msgspec.Struct, frozen=True):
    row: int
    errors: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """Options of an import.

    cores: True if the entries are URLs of Cores.
    ignored: members that are ignored.
    registered_by: ID of the key that registers Cores whose row specifies no key.
    """

    cores: bool = False
    ignored: frozenset[str] = frozenset()
    registered_by: str = ""


@dataclass(frozen=True, slots=True)
class CheckedImport:
    """Result of the validation of a file: the valid and the invalid rows."""

    valid: list[ImportedKey | ImportedCore]
    invalid: list[InvalidRow]

    @property
    def rows(self) -> int:
        return len(self.valid) + len(self.invalid)


class ImportJob:
    """Imports one file.

    keys: creates the other keys of the deployment.
    generation: pepper generation for new digests, which every live gateway worker can read.
    """

    def __init__(
        self,
        repository: ImportRepository,
        keys: KeyService,
        generation: int,
        text: str,
        source: str,
        options: ImportOptions,
    ) -> None:
        self._repository = repository
        self._keys = keys
        self._generation = generation
        self._text = text
        self._options = options
        self._source = source
        self._id = hashlib.sha256(text.encode()).hexdigest()[:16]
        self._now = keys.clock.now()

    def check(self) -> CheckedImport:
        """Validates the whole file. Raises MalformedFile, Unavailable."""
        checked, rows = CheckedImport([], []), dict[str, int]()
        for entry in entries(self._text):
            row = self._parsed(entry)
            if isinstance(row, tuple):
                checked.invalid.append(InvalidRow(entry.row, row))
                continue
            name = (
                self._key_id(row.material())
                if isinstance(row, ImportedKey)
                else self._core_name(row)
            )
            if name in rows:
                subject = "Core" if self._options.cores else "key"
                problem = Problem(
                    "", f"is the same {subject} as row {rows[name]}", "remove one of them"
                )
                checked.invalid.append(InvalidRow(entry.row, (problem,)))
                continue
            rows[name] = entry.row
            checked.valid.append(row)
        return checked

    async def write(self, checked: CheckedImport, actor: Actor) -> int:
        """Inserts the valid rows that do not exist, in batches. Returns their number. Raises
        Unavailable.
        """
        imported = 0
        for start in range(0, len(checked.valid), BATCH_ROWS):
            rows = checked.valid[start : start + BATCH_ROWS]
            imported += await self._write_batch(
                [self._key(row) for row in rows if isinstance(row, ImportedKey)],
                [self._core(row) for row in rows if isinstance(row, ImportedCore)],
                start + len(rows),
                actor,
            )
        return imported

    async def _write_batch(
        self, keys: list[Key], cores: list[CoreRecord], rows_to: int, actor: Actor
    ) -> int:
        event = actor.event(
            AuditAction.CORE_IMPORT if self._options.cores else AuditAction.KEY_IMPORT,
            target_id=self._id,
            at=self._keys.clock.now(),
            details={"source": self._source, "rows_to": rows_to},
        )
        try:
            return await self._repository.write(keys, cores, event)
        except Unavailable as exc:
            raise Unavailable(
                "The database is not available; start the same import again to resume it.",
                detail=exc.detail,
            ) from exc

    def _parsed(self, entry: Entry) -> ImportedKey | ImportedCore | tuple[Problem, ...]:
        options, named = self._options, bool(self._options.registered_by)
        row = parse_entry(
            entry,
            cores=options.cores,
            ignored=options.ignored,
            prefix=self._keys.prefix,
            named=named,
        )
        if isinstance(row, ImportedCore) and row.key is None and not named:
            fix = "specify the key that registers the Core: --registered-by ID"
            return (Problem("key", "is missing", fix),)
        return row

    def _key_id(self, material: str) -> KeyId:
        return imported_key_id(material, self._keys.pepper, self._generation)

    def _core_name(self, row: ImportedCore) -> str:
        return row.core_name or f"core-{self._key_id(row.material() or '')[:8].lower()}"

    def _key(self, row: ImportedKey) -> Key:
        keys, generation, material = self._keys, self._generation, row.material()
        key_id = self._key_id(material)
        settings = {
            name: value for name, value in settings_of(row).items() if name in Key.__struct_fields__
        }
        scopes = DEFAULT_SCOPES if row.scopes is None else settings["scopes"]
        values = {
            **settings,
            "id": key_id,
            "digest": keys.pepper.hmac(material, generation),
            "pepper_generation": generation,
            "environment": keys.environment
            if row.environment is None
            else KeyEnvironment(row.environment),
            "state": KeyState.ACTIVE if row.enabled else KeyState.DISABLED,
            "scopes": scopes,
            "limits": (keys.default_limit,) if row.limits is None else settings["limits"],
            "version": 1,
            "family_id": key_id,
            "scheme": SCHEME,
            "created_at": self._now if row.created_at is None else row.created_at,
            "created_by": f"import:{self._id}",
            "id_generation": generation,
        }
        return Key(**values)

    def _core(self, row: ImportedCore) -> CoreRecord:
        material = row.material()
        return CoreRecord(
            name=CoreName(self._core_name(row)),
            instance_id=IMPORTED_INSTANCE,
            url=row.url.rstrip("/"),
            environment=self._keys.environment,
            lease_id=f"import:{self._id}",
            registered_by=KeyId(self._options.registered_by)
            if material is None
            else self._key_id(material),
            pepper_generation=self._generation,
            expires_at=self._now + CORE_LEASE_S,
            draining=False,
            healthy=True,
            version=0,
        )


@asynccontextmanager
async def open_transfer(
    settings: Settings,
) -> AsyncIterator[tuple[KeyService, ImportRepository, ExportRepository]]:
    """Connects to the database and yields what imports and exports need.

    Raises SettingsError, and Unavailable, including if the schema does not exist.
    """
    pepper = read_pepper(settings.pepper, "GATEHOUSE_PEPPER")
    pool = Pool(database(settings), application="gatehouse import", size_max=2)
    try:
        await pool.open()
        if await pool.fetchval("SELECT to_regclass('api_key') IS NULL"):
            raise Unavailable("the database has no schema: run gatehouse migrate first")
        keys = KeyService.of(settings, pool, Clock(), pepper)
        yield keys, ImportRepository(pool, keys.store), ExportRepository(pool)
    finally:
        await pool.close()
