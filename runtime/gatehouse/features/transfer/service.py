"""Imports keys and Cores from another system. The whole file is validated before the first row is
written.

An invalid row prevents the import, unless invalid rows are skipped. The ID of a key is derived from
its token (verification/imported_tokens.py), so a repeated import does not insert a key twice. The
progress is stored with each batch, so that a repeated import resumes where the earlier import
ended.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice

import msgspec

from gatehouse.core.actor import Actor
from gatehouse.core.audit_events import AuditAction
from gatehouse.core.clock import Clock
from gatehouse.core.cores import IMPORTED_INSTANCE, CoreName, CoreRecord
from gatehouse.core.errors import Problem, Unavailable
from gatehouse.core.imported_tokens import imported_key_id
from gatehouse.core.keys import Key, KeyEnvironment, KeyId, KeyState
from gatehouse.core.token import NULL_DIGEST, read_pepper
from gatehouse.features.keys.schemas import settings_of
from gatehouse.features.keys.service import DEFAULT_SCOPES, KeyService
from gatehouse.features.transfer.file_formats import entries, kind_of
from gatehouse.features.transfer.repository import ExportRepository, ImportRepository, Run
from gatehouse.features.transfer.schemas import ImportedCore, ImportedKey, parse_entry
from gatehouse.platform.db.pool import Pool, database
from gatehouse.platform.settings import Settings

BATCH_ROWS = 1000

#: Duration of the lease of an imported Core. The agent of the Core is expected to register before
#: the lease expires.
CORE_LEASE_S = 7 * 86_400.0


class InvalidRow(msgspec.Struct, frozen=True):
    line: int
    problems: tuple[Problem, ...]


Row = ImportedKey | ImportedCore | InvalidRow


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """Options of an import.

    cores: True if the entries are URLs of Cores.
    ignored: members that are ignored.
    scopes: scopes of keys whose row specifies no scopes.
    registered_by: ID of the key that registers Cores whose row specifies no key.
    """

    cores: bool = False
    ignored: frozenset[str] = frozenset()
    scopes: tuple[str, ...] = DEFAULT_SCOPES
    registered_by: str = ""

    def text(self) -> str:
        """The options as unambiguous text."""
        return f"{self.cores} {sorted(self.ignored)} {self.scopes} {self.registered_by}"


@dataclass(frozen=True, slots=True)
class CheckedImport:
    """Result of the validation of a file: the run that imports the file, and the invalid rows."""

    run: Run
    invalid: list[InvalidRow]


class ImportJob:
    """Imports one file. The text is parsed twice, first for the validation and then for the
    import.

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
        self._kind = kind_of(source)
        self._options = options
        self._source = source
        self._id = hashlib.sha256(
            f"{options.text()} {self._kind}\0".encode() + text.encode()
        ).hexdigest()
        self._now = keys.clock.now()

    async def check(self, on_row: Callable[[int], None] = lambda _: None) -> CheckedImport:
        """Validates the whole file and writes nothing. Raises MalformedFile, Unavailable."""
        rows, invalid = 0, list[InvalidRow]()
        lines: dict[str, int] = {}
        batch: dict[KeyId, tuple[int, str]] = {}
        for rows, (line, row) in enumerate(self._rows(), 1):
            on_row(rows)
            if isinstance(row, InvalidRow):
                invalid.append(row)
                continue
            name = (
                self._key_id(row.material())
                if isinstance(row, ImportedKey)
                else self._core_name(row)
            )
            if name in lines:
                subject = "Core" if self._options.cores else "key"
                problem = Problem(
                    "", f"is the same {subject} as line {lines[name]}", "remove one of them"
                )
                invalid.append(InvalidRow(line, (problem,)))
                continue
            lines[name] = line
            if isinstance(row, ImportedKey):
                batch[KeyId(name)] = (line, row.scheme)
            if len(batch) >= BATCH_ROWS:
                invalid, batch = invalid + await self._collisions(batch), {}
        invalid += await self._collisions(batch)
        invalid.sort(key=lambda row: row.line)
        return CheckedImport(Run(self._id, self._source, rows), invalid)

    async def write(
        self, checked: CheckedImport, actor: Actor, on_batch: Callable[[Run], None] = lambda _: None
    ) -> Run:
        """Inserts the valid rows, starting where an earlier import of the file ended. Raises
        Conflict, Unavailable.
        """
        run = await self._repository.run(checked.run, now=self._now)
        on_batch(run)
        invalid = {row.line for row in checked.invalid}
        keys: list[Key] = []
        cores: list[CoreRecord] = []
        for position, (line, row) in enumerate(self._rows(run.done), run.done + 1):
            if isinstance(row, ImportedKey) and line not in invalid:
                keys.append(self._key(row))
            elif isinstance(row, ImportedCore) and line not in invalid:
                cores.append(self._core(row))
            if position - run.done >= BATCH_ROWS or position == run.rows:
                run = await self._write_batch(run, keys, cores, position, actor)
                keys, cores = [], []
                on_batch(run)
        return run

    async def _write_batch(
        self, run: Run, keys: list[Key], cores: list[CoreRecord], done: int, actor: Actor
    ) -> Run:
        event = actor.event(
            AuditAction.CORE_IMPORT if self._options.cores else AuditAction.KEY_IMPORT,
            target_id=self._id[:16],
            at=self._keys.clock.now(),
            details={"source": self._source, "rows_from": run.done + 1, "rows_to": done},
        )
        try:
            return await self._repository.write(run, keys, cores, done=done, event=event)
        except Unavailable as exc:
            raise Unavailable(
                "The database is not available; start the same import again to resume it.",
                detail=exc.detail,
            ) from exc

    def _rows(self, skip: int = 0) -> Iterator[tuple[int, Row]]:
        options, prefix = self._options, self._keys.prefix
        named = bool(options.registered_by)
        for entry in islice(entries(self._text, self._kind), skip, None):
            row = parse_entry(
                entry, cores=options.cores, ignored=options.ignored, prefix=prefix, named=named
            )
            if isinstance(row, ImportedCore) and row.key is None and not named:
                row = (
                    Problem(
                        "key",
                        "is missing",
                        "specify the key that registers the Core: --registered-by ID",
                    ),
                )
            yield entry.line, InvalidRow(entry.line, row) if isinstance(row, tuple) else row

    async def _collisions(self, batch: dict[KeyId, tuple[int, str]]) -> list[InvalidRow]:
        """The rows whose derived ID belongs to a key with another scheme, which has a probability
        of 1 in 62^8 for each key."""
        schemes = await self._repository.existing(list(batch)) if batch else {}
        return [
            InvalidRow(
                batch[key_id][0],
                (
                    Problem(
                        "", f"has the ID {key_id} of another key", "create a new key for its holder"
                    ),
                ),
            )
            for key_id, scheme in schemes.items()
            if scheme != batch[key_id][1]
        ]

    def _key_id(self, material: str) -> KeyId:
        key_id = imported_key_id(material, self._keys.pepper, self._generation)
        if key_id is None:
            raise Unavailable(
                "Key import is temporarily unavailable.",
                detail="the pepper generation is not available",
            )
        return key_id

    def _core_name(self, row: ImportedCore) -> str:
        return row.core_name or f"core-{self._key_id(row.material() or '')[:8].lower()}"

    def _key(self, row: ImportedKey) -> Key:
        keys, generation, material = self._keys, self._generation, row.material()
        key_id = self._key_id(material)
        settings = {
            name: value for name, value in settings_of(row).items() if name in Key.__struct_fields__
        }
        scopes = self._options.scopes if row.scopes is None else settings["scopes"]
        values = {
            **settings,
            "id": key_id,
            "digest": keys.pepper.digest(material, generation) or NULL_DIGEST,
            "pepper_generation": generation,
            "environment": keys.environment
            if row.environment is None
            else KeyEnvironment(row.environment),
            "state": KeyState.ACTIVE if row.enabled else KeyState.DISABLED,
            "scopes": scopes,
            "own_scopes": scopes,
            "limits": (keys.default_limit,) if row.limits is None else settings["limits"],
            "version": 1,
            "family_id": key_id,
            "scheme": row.scheme,
            "created_at": self._now if row.created_at is None else row.created_at,
            "created_by": f"import:{self._id[:16]}",
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
            lease_id=f"import:{self._id[:16]}",
            registered_by=KeyId(self._options.registered_by)
            if material is None
            else self._key_id(material),
            pepper_generation=self._generation,
            expires_at=self._now + CORE_LEASE_S,
            draining=False,
            health_path="",
            healthy=True,
            version=0,
        )


@dataclass(frozen=True, slots=True)
class ImportService:
    """Imports files. `keys`: creates the other keys of the deployment."""

    repository: ImportRepository
    keys: KeyService

    async def job(self, text: str, source: str, options: ImportOptions) -> ImportJob:
        """Raises Unavailable."""
        generation = await self.keys.writable_generation()
        return ImportJob(self.repository, self.keys, generation, text, source, options)

    async def is_confirmed(self) -> bool:
        """Returns True if every live gateway worker has confirmed the imported keys. Raises
        Unavailable.
        """
        return await self.repository.is_confirmed(timeout_s=self.keys.confirmation_timeout_s)


@asynccontextmanager
async def open_transfer(
    settings: Settings,
) -> AsyncIterator[tuple[ImportService, ExportRepository]]:
    """Connects to the database and yields the services for imports and exports.

    Raises SettingsError, and Unavailable, including if the schema is older than this version.
    """
    pepper = read_pepper(settings.pepper, "GATEHOUSE_PEPPER")
    pool = Pool(database(settings), application="gatehouse import", size_max=2)
    try:
        await pool.open()
        if await pool.fetchval("SELECT to_regclass('import_run') IS NULL"):
            raise Unavailable("the database has an older schema: run gatehouse migrate first")
        keys = KeyService.of(settings, pool, Clock(), pepper)
        yield ImportService(ImportRepository(pool, keys.store), keys), ExportRepository(pool)
    finally:
        await pool.close()
