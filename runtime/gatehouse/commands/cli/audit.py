"""`gatehouse audit`: reads the audit trail and verifies its hash chain independently of the
server.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from gatehouse.client.services import ConsoleClient
from gatehouse.commands.cli.options import (
    ConsoleOption,
    JsonOption,
    TokenOption,
    connect,
    own_parameters,
    with_options,
)
from gatehouse.commands.cli.output import FAILED, USAGE, note, print_json, print_table, stop
from gatehouse.commands.cli.shapes import parameters, request
from gatehouse.core.audit_chain import (
    AuditRow,
    Checkpoint,
    PublicKey,
    find_contradiction,
    first_break,
    public_keys,
)
from gatehouse.features.audit.schemas import (
    AuditEventView,
    CheckpointPage,
    CheckpointView,
    SearchAudit,
    audit_row,
    checkpoint_of,
)
from gatehouse.platform.http.fields import PAGE_SIZE_MAX


def register(app: typer.Typer) -> None:
    """Adds `gatehouse audit`."""
    audit = typer.Typer(help="Read and verify the audit trail.")
    filters = parameters(SearchAudit)
    audit.command(name="list")(with_options(list_, [*filters, *own_parameters(list_)]))
    file, *others = own_parameters(export)
    audit.command()(with_options(export, [file, *filters, *others]))
    audit.command()(verify)
    app.add_typer(audit, name="audit")


def list_(
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, help="Maximum number of events.")
    ] = 50,
    all_events: Annotated[bool, typer.Option("--all", help="List all events.")] = False,
    console: ConsoleOption = "",
    token: TokenOption = "",
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print one JSON object per line, as input for `audit verify --file`."
        ),
    ] = False,
    **filters: Any,
) -> None:
    """List audit events, newest first."""
    with connect(console, token) as client:
        events = _events(client, **request(filters))
        shown = list(events if all_events else islice(events, count))
    if as_json:
        for event in shown:
            print(msgspec.json.encode(event).decode())
        return
    rows = [
        (
            str(event.seq),
            event.occurred_at,
            _actor(event),
            event.action,
            f"{event.target_type} {event.target_id}",
            event.outcome,
            event.source_address,
        )
        for event in shown
    ]
    print_table(("seq", "time", "actor", "action", "target", "outcome", "address"), rows)


def export(
    file: Annotated[Path, typer.Argument(help="Output file; must not exist.")],
    as_csv: Annotated[
        bool,
        typer.Option(
            "--csv", help="Write CSV for spreadsheets, with formulas escaped, instead of NDJSON."
        ),
    ] = False,
    checkpoints: Annotated[
        Path | None,
        typer.Option(help="Also write the checkpoints to this file, for `audit verify`."),
    ] = None,
    console: ConsoleOption = "",
    token: TokenOption = "",
    **filters: Any,
) -> None:
    """Download the audit trail, oldest first. An export without filters can be verified offline."""
    query = {"format": "csv" if as_csv else "ndjson", **request(filters)}
    with connect(console, token) as client:
        try:
            with file.open("xb") as out:
                for piece in client.stream("/v1/audit-export", **query):
                    out.write(piece)
            if checkpoints is not None:
                lines = [
                    msgspec.json.encode(checkpoint).decode()
                    for checkpoint in _all_checkpoints(client)
                ]
                checkpoints.write_text("".join(f"{line}\n" for line in lines))
        except FileExistsError:
            stop(f"{file} exists: choose another name", code=USAGE)
        except OSError as exc:
            stop(f"{exc.filename} cannot be written: {exc.strerror}", code=USAGE)
    note(f"Wrote {file}.")


def _events(client: ConsoleClient, **query: Any) -> Iterator[AuditEventView]:
    return client.items(AuditEventView, "/v1/audit-events", **query, limit=PAGE_SIZE_MAX)


def _all_checkpoints(client: ConsoleClient) -> Iterator[CheckpointView]:
    """All checkpoints, oldest first."""
    path = "/v1/audit-checkpoints"
    after: int | None = 0
    while after is not None:
        page = client.get(CheckpointPage, path, after=after, limit=PAGE_SIZE_MAX)
        yield from page.checkpoints
        after = page.next_after


def verify(
    file: Annotated[
        Path | None,
        typer.Option(help="Verify a file created by `gatehouse audit export`, offline."),
    ] = None,
    checkpoints: Annotated[
        Path | None,
        typer.Option(
            help=(
                "Checkpoints to compare with: a directory with a copy of the bucket, or a "
                "file in JSON Lines format."
            )
        ),
    ] = None,
    public_key: Annotated[
        Path | None, typer.Option(help="PEM file with the trusted public keys for the checkpoints.")
    ] = None,
    console: ConsoleOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Verify every hash in the audit trail locally. Exits with code 1 if a row was changed, removed
    or moved.

    Truncation and a complete rewrite are detected only with --checkpoints and --public-key.
    """
    if (checkpoints is None) is not (public_key is None):
        stop("--checkpoints and --public-key must be used together", code=USAGE)
    proofs = (
        None
        if checkpoints is None or public_key is None
        else (_checkpoints(checkpoints), trusted_keys(public_key))
    )
    if file is not None:
        rows = sorted(_read(file), key=lambda row: row.seq)
    else:
        with connect(console, token) as client:
            rows = [_row(view, "the console") for view in _events(client)][::-1]
    try:
        broken = first_break(rows)
    except (ValueError, AttributeError):
        stop("a row has invalid values: the trail was changed")
    reason = "the row was changed, or an earlier row was removed or moved"
    if broken is None and proofs is not None:
        finding = find_contradiction({row.seq: row.hash for row in rows}, *proofs)
        broken, reason = (None, "") if finding is None else (finding.seq, finding.reason)
    _report(rows, broken, reason, None if proofs is None else proofs[0], as_json=as_json)


def _report(
    rows: list[AuditRow],
    broken: int | None,
    reason: str,
    proofs: list[Checkpoint] | None,
    *,
    as_json: bool,
) -> None:
    last = rows[-1].hash.hex() if rows else ""
    checkpointed = None if proofs is None else max((proof.seq for proof in proofs), default=0)
    if as_json:
        result = {
            "rows": len(rows),
            "intact": broken is None,
            "first_broken_seq": broken,
            "last_hash": last,
        }
        print_json(
            {
                **result,
                "reason": reason if broken is not None else "",
                "checkpointed_seq": checkpointed,
            }
        )
    elif broken is None:
        verified = (
            ""
            if proofs is None
            else f", {len(proofs)} checkpoints match, the last at row {checkpointed}"
        )
        print(f"intact: {len(rows)} rows, last hash {last or 'none'}{verified}")
    else:
        print(f"BROKEN at row {broken} (of {len(rows)}): {reason}")
    if broken is not None:
        sys.exit(FAILED)


def _checkpoints(path: Path) -> list[Checkpoint]:
    try:
        texts = (
            [file.read_text() for file in sorted(path.glob("*.json"))]
            if path.is_dir()
            else path.read_text().splitlines()
        )
        checkpoints = [
            checkpoint_of(msgspec.json.decode(text, type=CheckpointView))
            for text in texts
            if text.strip()
        ]
    except OSError as exc:
        stop(f"--checkpoints {path} cannot be read: {exc.strerror}", code=USAGE)
    except (ValueError, msgspec.DecodeError):
        stop(
            f"--checkpoints {path} contains an invalid checkpoint: it was changed, or the path "
            f"is wrong"
        )
    if not checkpoints:
        stop(f"--checkpoints {path} contains no checkpoint", code=USAGE)
    return checkpoints


def trusted_keys(file: Path) -> list[PublicKey]:
    """Return the keys of a PEM file."""
    try:
        return public_keys(file.read_bytes())
    except OSError as exc:
        stop(f"--public-key {file} cannot be read: {exc.strerror}", code=USAGE)
    except ValueError:
        stop(
            f"--public-key {file} contains no Ed25519 or ECDSA P-256 public key in PEM format",
            code=USAGE,
        )


def _read(file: Path) -> Iterator[AuditRow]:
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        stop(
            f"--file {file} cannot be read: {getattr(exc, 'strerror', None) or 'it is not text'}",
            code=USAGE,
        )
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield _row(
                    msgspec.json.decode(line, type=AuditEventView), f"line {number} of {file}"
                )
            except msgspec.DecodeError:
                stop(
                    f"line {number} of {file} is not an audit event; create the file with: "
                    f"gatehouse audit export FILE"
                )


def _row(view: AuditEventView, where: str) -> AuditRow:
    try:
        return audit_row(view)
    except ValueError:
        stop(f"row {view.seq} in {where} has an invalid date or hash: the trail was changed")


def _actor(event: AuditEventView) -> str:
    return (
        event.actor_id
        if event.actor_type == event.actor_id
        else f"{event.actor_type} {event.actor_id}"
    )
