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

from gatehouse.audit.chain import first_break
from gatehouse.audit.checkpoint import Checkpoint, PublicKey, disagreement, public_keys
from gatehouse.audit.models import AuditRow
from gatehouse.audit.schemas import AuditEventView, CheckpointView, audit_row, checkpoint_of
from gatehouse.cli.connection import ConsoleOption, JsonOption, TokenOption, connect
from gatehouse.cli.output import FAILED, USAGE, note, print_json, print_table, stop


def register(app: typer.Typer) -> None:
    audit = typer.Typer(help="Read the audit trail and check its hash chain.")
    audit.command(name="list")(list_)
    audit.command()(export)
    audit.command()(verify)
    app.add_typer(audit, name="audit")


def list_(
    target: Annotated[str, typer.Option(help="Only acts on this key or Core.")] = "",
    action: Annotated[str, typer.Option(help="Only this action, such as key.revoke, or key.* for all on keys.")] = "",
    actor: Annotated[str, typer.Option(help="Only acts of this one: a key's id, bootstrap, a person's subject.")] = "",
    since: Annotated[str, typer.Option(help="From this instant on, such as 2031-01-01T00:00:00Z.")] = "",
    until: Annotated[str, typer.Option(help="Before this instant.")] = "",
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
        events = client.audit_events(
            target_id=target or None, action=action or None, actor_id=actor or None, since=since or None, until=until or None
        )
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


def export(
    file: Annotated[Path, typer.Argument(help="Where to write it; must not exist yet.")],
    as_csv: Annotated[
        bool, typer.Option("--csv", help="For a spreadsheet, instead of exact NDJSON; cells cannot run as formulas.")
    ] = False,
    target: Annotated[str, typer.Option(help="Only acts on this key or Core.")] = "",
    action: Annotated[str, typer.Option(help="Only this action, such as key.revoke, or key.* for all on keys.")] = "",
    actor: Annotated[str, typer.Option(help="Only acts of this one.")] = "",
    since: Annotated[str, typer.Option(help="From this instant on, such as 2031-01-01T00:00:00Z.")] = "",
    until: Annotated[str, typer.Option(help="Before this instant.")] = "",
    checkpoints: Annotated[Path | None, typer.Option(help="Write the checkpoints here too, for `audit verify`.")] = None,
    console: ConsoleOption = "",
    token: TokenOption = "",
) -> None:
    """Download the audit trail, oldest first. Without a filter, the file can be verified offline."""
    query = {
        "format": "csv" if as_csv else "ndjson",
        "target_id": target or None,
        "action": action or None,
        "actor_id": actor or None,
        "since": since or None,
        "until": until or None,
    }
    with connect(console, token) as client:
        try:
            with file.open("xb") as out:
                for piece in client.audit_export(**query):
                    out.write(piece)
            if checkpoints is not None:
                lines = [one.model_dump_json() for one in client.audit_checkpoints()]
                checkpoints.write_text("".join(f"{line}\n" for line in lines))
        except FileExistsError:
            stop(f"{file} exists already: choose another name", code=USAGE)
        except OSError as exc:
            stop(f"{exc.filename} cannot be written: {exc.strerror}", code=USAGE)
    note(f"wrote {file}")


def verify(
    file: Annotated[
        Path | None,
        typer.Option(help="Check a copy instead: what `gatehouse audit export` wrote. Needs no network."),
    ] = None,
    checkpoints: Annotated[
        Path | None,
        typer.Option(
            help="Hold the rows against checkpoints: the folder that the bucket was copied to, or a file of JSON lines."
        ),
    ] = None,
    public_key: Annotated[
        Path | None, typer.Option(help="PEM of the keys whose checkpoints you trust; several may follow each other.")
    ] = None,
    console: ConsoleOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Read the whole trail and check every hash here. Exit 1 when a row was changed, is missing, or stands elsewhere.

    Rows cut off the end, and a trail that was written anew, show only against checkpoints: give --checkpoints and --public-key.
    """
    if (checkpoints is None) is not (public_key is None):
        stop(
            "--checkpoints and --public-key need each other: a checkpoint is worth as much as the key that you trust", code=USAGE
        )
    proofs = None if checkpoints is None or public_key is None else (_checkpoints(checkpoints), _public_keys(public_key))
    if file is not None:
        rows = sorted(_read(file), key=lambda row: row.seq)
    else:
        with connect(console, token) as client:
            rows = [_row(view, "the console") for view in client.audit_events()][::-1]
    try:
        broken = first_break((row.seq, row.event, row.previous_hash, row.hash) for row in rows)
    except (ValueError, AttributeError):
        stop("a row holds values that no row can have: the trail was changed")
    reason = "it was changed, or a row before it is missing or stands elsewhere"
    if broken is None and proofs is not None:
        finding = disagreement({row.seq: row.hash for row in rows}, *proofs)
        broken, reason = (None, "") if finding is None else (finding.seq, finding.reason)
    _report(rows, broken, reason, None if proofs is None else proofs[0], as_json=as_json)


def _report(rows: list[AuditRow], broken: int | None, reason: str, proofs: list[Checkpoint] | None, *, as_json: bool) -> None:
    last = rows[-1].hash.hex() if rows else ""
    vouched = None if proofs is None else max((proof.seq for proof in proofs), default=0)
    if as_json:
        found = {"rows": len(rows), "intact": broken is None, "first_broken_seq": broken, "last_hash": last}
        print_json({**found, "reason": reason if broken is not None else "", "checkpointed_seq": vouched})
    elif broken is None:
        held = "" if proofs is None else f", {len(proofs)} checkpoints agree, the last one at row {vouched}"
        print(f"intact: {len(rows)} rows, last hash {last or 'none'}{held}")
    else:
        print(f"BROKEN at row {broken} (of {len(rows)}): {reason}")
    if broken is not None:
        sys.exit(FAILED)


def _checkpoints(place: Path) -> list[Checkpoint]:
    try:
        texts = [file.read_text() for file in sorted(place.glob("*.json"))] if place.is_dir() else place.read_text().splitlines()
        found = [checkpoint_of(CheckpointView.model_validate_json(text)) for text in texts if text.strip()]
    except OSError as exc:
        stop(f"--checkpoints {place} cannot be read: {exc.strerror}", code=USAGE)
    except ValueError:
        stop(f"--checkpoints {place} holds something that is no checkpoint: it was changed, or is another file")
    if not found:
        stop(f"--checkpoints {place} holds no checkpoint", code=USAGE)
    return found


def _public_keys(file: Path) -> list[PublicKey]:
    try:
        return public_keys(file.read_bytes())
    except OSError as exc:
        stop(f"--public-key {file} cannot be read: {exc.strerror}", code=USAGE)
    except ValueError:
        stop(f"--public-key {file} holds no Ed25519 or ECDSA P-256 public key in PEM", code=USAGE)


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
                stop(f"line {number} of {file} is no audit row; make the file with: gatehouse audit export FILE")


def _row(view: AuditEventView, where: str) -> AuditRow:
    try:
        return audit_row(view)
    except ValueError:
        stop(f"row {view.seq} in {where} has a date or hash that is none: the trail was changed")


def _actor(event: AuditEventView) -> str:
    return event.actor_id if event.actor_type == event.actor_id else f"{event.actor_type} {event.actor_id}"
