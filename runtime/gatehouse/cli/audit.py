"""`gatehouse audit`: read the audit trail, and check its hash chain without trusting the server that keeps it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from gatehouse.cli.console import ConsoleOption, JsonOption, TokenOption, connect
from gatehouse.cli.output import FAILED, USAGE, print_json, print_table, stop
from gatehouse.core.auditchain import first_break
from gatehouse.store.ports import AuditRow
from gatehouse.wire.audit import AuditEventView, audit_row


def register(app: typer.Typer) -> None:
    audit = typer.Typer(help="Read the audit trail and check its hash chain.")
    audit.command(name="list")(list_)
    audit.command()(verify)
    app.add_typer(audit, name="audit")


def list_(
    target: Annotated[str, typer.Option(help="Only acts on this key or Core.")] = "",
    action: Annotated[str, typer.Option(help="Only this action, such as key.revoke.")] = "",
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many, newest first.")] = 50,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    console: ConsoleOption = "",
    token: TokenOption = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line, as `audit verify --file` reads them.")
    ] = False,
) -> None:
    """List the audit trail, newest first."""
    with connect(console, token) as client:
        events = client.audit_events(target_id=target or None, action=action or None)
        shown = list(events if everything else islice(events, count))
    if as_json:
        for event in shown:
            print(json.dumps(event.model_dump(mode="json"), ensure_ascii=False))
        return
    rows = [
        (
            str(one.seq),
            one.occurred_at,
            _actor(one),
            one.action,
            f"{one.target_type} {one.target_id}",
            one.outcome,
            one.source_address,
        )
        for one in shown
    ]
    print_table("", ("seq", "at", "actor", "action", "target", "outcome", "from"), rows)


def verify(
    file: Annotated[
        Path | None,
        typer.Option(help="Check a copy instead: what `gatehouse audit list --all --json` printed. Needs no network."),
    ] = None,
    console: ConsoleOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Read the whole trail and check every hash here. Exit 1 when a row was changed, is missing, or stands elsewhere.

    Rows cut off the end leave no trace in the chain itself: compare the number of rows and the last hash with an earlier run's.
    """
    if file is not None:
        rows = sorted(_read(file), key=lambda row: row.seq)
    else:
        with connect(console, token) as client:
            rows = [_row(view, "the console") for view in client.audit_events()][::-1]
    try:
        broken = first_break((row.seq, row.event, row.previous_hash, row.hash) for row in rows)
    except (ValueError, AttributeError):
        stop("a row holds values that no row can have: the trail was changed")
    last = rows[-1].hash.hex() if rows else ""
    if as_json:
        print_json({"rows": len(rows), "intact": broken is None, "first_broken_seq": broken, "last_hash": last})
    elif broken is None:
        print(f"intact: {len(rows)} rows, last hash {last or 'none'}")
    else:
        print(f"BROKEN at row {broken} (of {len(rows)}): it was changed, or a row before it is missing or stands elsewhere")
    if broken is not None:
        sys.exit(FAILED)


def _read(file: Path) -> Iterator[AuditRow]:
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        stop(f"--file {file} cannot be read: {getattr(exc, 'strerror', None) or 'it is not text'}", code=USAGE)
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield _row(AuditEventView.model_validate_json(line), f"line {number} of {file}")
            except ValidationError:
                stop(f"line {number} of {file} is no audit row; make the file with: gatehouse audit list --all --json")


def _row(view: AuditEventView, where: str) -> AuditRow:
    try:
        return audit_row(view)
    except ValueError:
        stop(f"row {view.seq} in {where} has a date or hash that is none: the trail was changed")


def _actor(event: AuditEventView) -> str:
    return event.actor_id if event.actor_type == event.actor_id else f"{event.actor_type} {event.actor_id}"
