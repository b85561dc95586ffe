"""`gatehouse import` and `gatehouse export`: keys in from an older deployment, the sealed registry out and back in.

They work on the database itself, with the console's environment (GATEHOUSE_DATABASE_URL, GATEHOUSE_PEPPER): as a one-off task
beside the console, as `gatehouse migrate` is."""

from __future__ import annotations

import asyncio
import secrets
import sys
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gatehouse import settings as configuration
from gatehouse.aws import object_storage as places
from gatehouse.cli.output import FAILED, USAGE, note, print_json, stop
from gatehouse.crypto.token import key_id
from gatehouse.errors import BadRequest
from gatehouse.http.models import RequestId
from gatehouse.identity.models import Actor
from gatehouse.keys.schemas import rfc3339
from gatehouse.settings import Settings
from gatehouse.transfer import sealed_export as sealedfile
from gatehouse.transfer.legacy_files import MalformedFile, kind_of
from gatehouse.transfer.models import Run
from gatehouse.transfer.schemas import reader
from gatehouse.transfer.service import CheckedImport, ImportDependencies, ImportOptions, ImportResult, Read, open_yard

#: Wrong rows that are told one by one; of more, the number is enough.
_SHOWN_MAX = 50


Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    app.command(name="import")(import_)
    app.command()(export)


def import_(
    place: Annotated[str, typer.Argument(metavar="PLACE", help="A file, or s3://bucket/key: .json, .ndjson, .csv.")],
    cores: Annotated[bool, typer.Option("--cores", help="It holds URLs of Cores, as ngrok_urls.json does.")] = False,
    sealed: Annotated[bool, typer.Option("--sealed", help="It is a registry that gatehouse export made: restore it.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, write nothing.")] = False,
    skip_wrong: Annotated[
        bool, typer.Option("--skip-wrong", help="Import the other rows. Default: one wrong row, no import.")
    ] = False,
    ignore: Annotated[list[str] | None, typer.Option(help="Member or column to leave out; may be repeated.")] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="For keys that name none; may be repeated. Default: cores:read.")
    ] = None,
    registered_by: Annotated[str, typer.Option(metavar="ID", help="With --cores: their key; the file then names Cores.")] = "",
    as_json: Json = False,
) -> None:
    """Bring keys or Cores of an older deployment in: api_keys.json, ngrok_urls.json, CSV, hashes. Run again, it goes on.

    Works on the database: run it with the console's environment (see docs/guides/migrate.md).
    """
    if sealed and (cores or skip_wrong or ignore or scope or registered_by):
        stop("--sealed takes no option but --dry-run and --json", code=USAGE)
    if registered_by and key_id(registered_by) is None:
        stop("--registered-by must be the id of a key, such as 3fGh82kLmQ0a", code=USAGE)
    settings = configuration.load()
    content, _ = places.read(place)
    if sealed:
        asyncio.run(_restore(settings, content, place, dry_run, as_json))
        return
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as exc:
        stop(f"{place}: byte {exc.start + 1} is no UTF-8; save the file as UTF-8", code=USAGE)
    wishes = ImportOptions(cores, frozenset(ignore or ()), tuple(scope or ("cores:read",)), registered_by)
    named = bool(registered_by)
    read = reader(cores=cores, ignored=wishes.ignored, prefix=settings.key_prefix, named=named)
    try:
        asyncio.run(_import(settings, text, place, wishes, read, dry_run=dry_run, skip_wrong=skip_wrong, as_json=as_json))
    except MalformedFile as exc:
        stop(f"{place}, line {exc.line}: {exc.message}; nothing was written", code=USAGE)


def export(
    to: Annotated[str, typer.Option("--to", metavar="PLACE", help="A file, or s3://bucket/key; must not be there yet.")],
    as_json: Json = False,
) -> None:
    """Write the registry of keys, sealed under the pepper: without it, a copy opens nothing and verifies nothing."""
    settings = configuration.load()
    rows, size = asyncio.run(_export(settings, to))
    if as_json:
        print_json({"place": to, "rows": rows, "bytes": size})
    else:
        print(f"{to}: {rows} rows, {size} bytes, sealed; restore with gatehouse import --sealed {to}")


async def _import(
    settings: Settings,
    text: str,
    place: str,
    wishes: ImportOptions,
    read: Read,
    *,
    dry_run: bool,
    skip_wrong: bool,
    as_json: bool,
) -> None:
    async with open_yard(settings) as yard:
        move = ImportResult(yard.house, text, kind_of(place), place, wishes, read)
        with _progress() as progress:
            bar = progress.add_task("checking", total=None)
            checked = await move.check(lambda count: progress.update(bar, completed=count) if count % 1000 == 0 else None)
        _tell(checked, place)
        if checked.wrong and not (skip_wrong or dry_run):
            _end(checked, checked.run, place, as_json, "nothing was written: mend these rows, or add --skip-wrong")
            sys.exit(FAILED)
        if dry_run:
            _end(checked, checked.run, place, as_json, "dry run: nothing was written")
            sys.exit(FAILED if checked.wrong else 0)
        with _progress() as progress:
            bar = progress.add_task("importing", total=checked.rows)
            stages: list[Run] = []

            def told(at: Run) -> None:
                stages.append(at)
                progress.update(bar, completed=at.done)

            run = await move.write(checked, _actor(), told)
        bound_s = settings.max_staleness_ms / 1000
        if not await yard.house.imports.known(live_s=2 * bound_s, timeout_s=bound_s):
            note("some gateways have not read all of it yet; they follow by themselves")
    _end(checked, run, place, as_json, "done" if len(stages) > 1 else "an earlier run did all of it; nothing was left to do")


async def _export(settings: Settings, place: str) -> tuple[int, int]:
    async with open_yard(settings) as yard:
        generation, salt, now = yard.house.generation, secrets.token_hex(16), yard.house.clock.now()
        event = _actor().did("registry.export", target_type="registry", target_id=salt, at=now, details={"place": place})
        parts = [sealedfile.head(generation, salt, made_at=rfc3339(now), environment=settings.environment)]
        held, rows = b"", 0

        def close(lines: bytes, last: bool) -> bytes:
            return sealedfile.frame(
                lines,
                len(parts) - 1,
                last=last,
                salt=salt,
                pepper=yard.pepper,
                generation=generation,
                random_bytes=secrets.token_bytes,
            )

        async for lines, count in yard.registry.lines(event):
            if held:
                parts.append(close(held, last=False))
            held, rows = lines, rows + count
        parts.append(close(held, last=True))
        content = b"".join(parts)
    places.write(place, content, only_if="")
    return rows, len(content)


async def _restore(settings: Settings, content: bytes, place: str, dry_run: bool, as_json: bool) -> None:
    async with open_yard(settings) as yard:
        try:
            said, batches = sealedfile.read_head(content), list(sealedfile.frames(content, yard.pepper))
        except sealedfile.UnreadableExport as exc:
            raise BadRequest(f"{place} {exc}") from exc
        rows = sum(batch.count(b"\n") for batch in batches)
        counts = {} if dry_run else await _put_back(yard, batches, place, str(said["salt"]))
    if as_json:
        print_json({"place": place, "rows": rows, "restored": {table: made for table, (made, _) in counts.items()}})
        return
    print(f"{place}: a whole registry of {rows} rows, made {said.get('made_at', 'at an unknown time')}")
    for table, (made, kept) in counts.items():
        print(f"  {table}: {made} put back, {kept} were there and stay as they are")
    if dry_run:
        note("dry run: nothing was written")


async def _put_back(yard: ImportDependencies, batches: list[bytes], place: str, salt: str) -> dict[str, tuple[int, int]]:
    at = yard.house.clock.now()
    event = _actor().did("registry.restore", target_type="registry", target_id=salt, at=at, details={"place": place})
    return await yard.registry.restore(batches, event)


def _actor() -> Actor:
    """Whoever may start a task with the console's secrets."""
    return Actor(type="system", id="command", request_id=RequestId(""), source_address="")


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    from_stderr = sys.stderr.isatty()
    return Progress(*columns, transient=True, disable=not from_stderr)


def _tell(checked: CheckedImport, place: str) -> None:
    for wrong in checked.wrong[:_SHOWN_MAX]:
        for problem in wrong.problems:
            what = " ".join(part for part in (problem.location, problem.message) if part)
            note(f"{place}, line {wrong.line}: {what}{f' ({problem.fix})' if problem.fix else ''}")
    if len(checked.wrong) > _SHOWN_MAX:
        note(f"... and {len(checked.wrong) - _SHOWN_MAX} more wrong rows")


def _end(checked: CheckedImport, run: Run, place: str, as_json: bool, word: str) -> None:
    if as_json:
        wrong = [
            {"line": one.line, "errors": [{"location": p.location, "message": p.message, "fix": p.fix} for p in one.problems]}
            for one in checked.wrong
        ]
        print_json({"place": place, "rows": checked.rows, "made": run.made, "kept": run.kept, "wrong": wrong, "result": word})
        return
    print(f"{place}: {checked.rows} rows, {run.made} imported, {run.kept} there already, {len(checked.wrong)} wrong")
    note(word)
