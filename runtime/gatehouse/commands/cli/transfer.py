"""`gatehouse import` and `gatehouse export`.

Both connect to the database and require the environment of the console (GATEHOUSE_DATABASE_URL,
GATEHOUSE_PEPPER). Run them as one-off tasks from the task definition of the console.
"""

import asyncio
import secrets
import sys
import zlib
from collections.abc import Callable
from functools import partial
from typing import Annotated

import typer

from gatehouse.commands.cli.common.output import (
    FAILED,
    JsonOption,
    note,
    print_json,
    print_sentence,
    reject,
)
from gatehouse.core.actor import Actor
from gatehouse.core.audit_events import AuditAction, AuditEvent
from gatehouse.core.clock import rfc3339
from gatehouse.core.errors import BadRequest
from gatehouse.core.tokens.token import key_id
from gatehouse.features.keys.service import KeyService
from gatehouse.features.transfer import file_formats
from gatehouse.features.transfer.file_formats import ENDINGS, FileFormat, MalformedFile
from gatehouse.features.transfer.service import CheckedImport, ImportJob, open_transfer
from gatehouse.platform import settings as configuration
from gatehouse.platform.aws import object_storage
from gatehouse.platform.settings import Settings

#: Maximum number of invalid rows that are printed.
_MAX_PRINTED_ROWS = 50

#: Actor of commands that run with the console's secrets.
_ACTOR = Actor(type="system", id="command")


def register(app: typer.Typer) -> None:
    app.command(name="import")(import_)
    app.command()(export)


def import_(
    location: Annotated[
        str, typer.Argument(metavar="LOCATION", help="File, or s3://bucket/key of one.")
    ],
    cores: Annotated[
        bool, typer.Option("--cores", help="Import Cores with their URLs, as in ngrok_urls.json.")
    ] = False,
    restore: Annotated[
        bool, typer.Option("--restore", help="Restore a file created by `gatehouse export`.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Validate the file without writing.")
    ] = False,
    skip_invalid: Annotated[
        bool,
        typer.Option(
            "--skip-invalid", help="Skip invalid rows. Default: an invalid row stops the import."
        ),
    ] = False,
    ignore: Annotated[
        list[str] | None, typer.Option(help="Field of a key to ignore; repeatable.")
    ] = None,
    file_format: Annotated[
        FileFormat | None,
        typer.Option(
            "--format",
            help="Format of the file: JSON as in api_keys.json, CSV with named columns, or a "
            "declarative file of Kong. Default: by the ending of its name (.csv; .yaml and .yml: "
            "kong; others: json).",
        ),
    ] = None,
    hashed: Annotated[
        bool,
        typer.Option(
            "--sha256",
            help="The file has SHA-256 hashes instead of tokens, in hexadecimal or base64.",
        ),
    ] = False,
    registered_by: Annotated[
        str,
        typer.Option(
            metavar="ID",
            help="With --cores and names of Cores: ID of the key that registers the Cores.",
        ),
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Import keys or Cores of another system: api_keys.json, CSV, a file of Kong, or
    ngrok_urls.json. A repeated run resumes the import.

    The command connects to the database. Run the command with the environment variables of the
    console (see docs/guides/migrate.md).

    Example: gatehouse import api_keys.json --dry-run
    """
    if restore and (cores or skip_invalid or ignore or registered_by or file_format or hashed):
        reject("--restore can only be combined with --dry-run and --json")
    if cores and ignore:
        reject("--cores and --ignore are mutually exclusive")
    ending = location.rpartition(".")[2].lower()
    file_format = file_format or ENDINGS.get(ending, FileFormat.JSON)
    if cores and (hashed or file_format is not FileFormat.JSON):
        reject("--cores requires a JSON file, and cannot be combined with --sha256")
    if registered_by and key_id(registered_by) is None:
        reject("--registered-by must be a key ID such as 3fGh82kLmQ0a")
    settings = configuration.load()
    content, _ = object_storage.read(location, object_storage.BYTES_MAX)
    if restore:
        asyncio.run(_restore(settings, content, location, dry_run, as_json))
        return
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        reject(f"{location}: byte {exc.start + 1} is not valid UTF-8; save the file as UTF-8")
    job = partial(
        ImportJob,
        text=text,
        source=location,
        cores=cores,
        file_format=file_format,
        hashed=hashed,
        ignored=frozenset(ignore or ()),
        registered_by=registered_by,
    )
    try:
        asyncio.run(_import(settings, job, dry_run, skip_invalid, as_json))
    except MalformedFile as exc:
        reject(f"{location} ({file_format}) {exc}; nothing was written")


def export(
    to: Annotated[
        str,
        typer.Option("--to", metavar="LOCATION", help="File or s3://bucket/key; must not exist."),
    ],
    as_json: JsonOption = False,
) -> None:
    """Export the key registry, encrypted under the pepper. Without the pepper, the export can be
    neither read nor restored.

    Example: gatehouse export --to keys.export
    """
    settings = configuration.load()
    rows, size = asyncio.run(_export(settings, to))
    if as_json:
        print_json({"location": to, "rows": rows, "bytes": size})
    else:
        print(
            f"Exported {rows} rows ({size} bytes, encrypted) to {to}. Restore them with: "
            f"gatehouse import --restore {to}"
        )


async def _import(
    settings: Settings,
    create_job: Callable[..., ImportJob],
    dry_run: bool,
    skip_invalid: bool,
    as_json: bool,
) -> None:
    async with open_transfer(settings) as (keys, repository, _):
        generation = await keys.writable_generation()
        plans = await repository.plans()
        job = create_job(repository=repository, keys=keys, generation=generation, plans=plans)
        checked = job.check()
        _print_invalid_rows(checked, job.source)
        if dry_run or (checked.invalid and not skip_invalid):
            stopped = "Nothing was written. Correct these rows, or add --skip-invalid."
            result = "Dry run: nothing was written." if dry_run else stopped
            _print_result(job, checked, None, as_json, result)
            sys.exit(FAILED if checked.invalid else 0)
        imported = await job.write(checked, _ACTOR)
        if not await repository.is_confirmed(timeout_s=keys.confirmation_timeout_s):
            note("Some gateways have not loaded all keys yet. No action is required.")
    _print_result(job, checked, imported, as_json, "Done.")


async def _export(settings: Settings, location: str) -> tuple[int, int]:
    async with open_transfer(settings) as (keys, _, exports):
        number, packer = secrets.token_hex(16), zlib.compressobj()
        event = _event(keys, AuditAction.REGISTRY_EXPORT, number, location)
        generation, packed, rows = await keys.writable_generation(), b"", 0
        async for lines, count in exports.lines(event):
            packed, rows = packed + packer.compress(lines), rows + count
        content = file_formats.export_file(
            packed + packer.flush(),
            keys.pepper,
            generation,
            id=number,
            made_at=rfc3339(keys.clock.now()),
            environment=settings.environment,
        )
    object_storage.write(location, content, only_if="")
    return rows, len(content)


async def _restore(
    settings: Settings, content: bytes, location: str, dry_run: bool, as_json: bool
) -> None:
    async with open_transfer(settings) as (keys, _, exports):
        try:
            head, lines = file_formats.read_export(content, keys.pepper)
        except file_formats.UnreadableExport as exc:
            raise BadRequest(f"{location} {exc}") from exc
        event = _event(keys, AuditAction.REGISTRY_RESTORE, str(head["id"]), location)
        counts = {} if dry_run else await exports.restore(lines, event)
    if as_json:
        restored = {table: inserted for table, (inserted, _) in counts.items()}
        print_json({"location": location, "rows": len(lines), "restored": restored})
        return
    print_sentence(f"{location}: export of {len(lines)} rows, created {head['made_at']}")
    for table, (inserted, existing) in counts.items():
        print(f"  {table}: {inserted} restored, {existing} existed and are unchanged")
    if dry_run:
        note("Dry run: nothing was written.")


def _event(keys: KeyService, action: AuditAction, number: str, location: str) -> AuditEvent:
    return _ACTOR.event(
        action, target_id=number, at=keys.clock.now(), details={"location": location}
    )


def _print_invalid_rows(checked: CheckedImport, location: str) -> None:
    for row in checked.invalid[:_MAX_PRINTED_ROWS]:
        for problem in row.errors:
            text = " ".join(part for part in (problem.location, problem.message) if part)
            note(f"{location}, row {row.row}: {text}{f' ({problem.fix})' if problem.fix else ''}")
    if len(checked.invalid) > _MAX_PRINTED_ROWS:
        note(f"... and {len(checked.invalid) - _MAX_PRINTED_ROWS} more invalid rows")


def _print_result(
    job: ImportJob, checked: CheckedImport, imported: int | None, as_json: bool, result: str
) -> None:
    """imported: None if nothing was written."""
    written = imported or 0
    existing = 0 if imported is None else len(checked.valid) - imported
    if as_json:
        counts = {"rows": checked.rows, "imported": written, "existing": existing}
        source = {"location": job.source, "format": job.file_format, "sha256": checked.hashed}
        print_json({**source, **counts, "invalid": checked.invalid, "result": result})
        return
    file_format = f"{job.file_format} with SHA-256 hashes" if checked.hashed else job.file_format
    print(
        f"{job.source} ({file_format}): {checked.rows} rows, {written} imported, {existing} "
        f"existing, {len(checked.invalid)} invalid"
    )
    note(result)
