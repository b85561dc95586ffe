"""`gatehouse audit`: reads the audit trail and verifies its hash chain independently of the
server.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Annotated, Any

import msgspec
import typer
from gatehouse_client import ConsoleClient

from gatehouse.commands.cli.common.connection import (
    ConsoleOption,
    ProfileOption,
    TokenOption,
    api_errors,
    connect,
)
from gatehouse.commands.cli.common.lists import LIMIT, AllOption, LimitOption, Listing
from gatehouse.commands.cli.common.options import (
    Output,
    console_command,
    errors_of_options,
    own_parameters,
    typed_names,
    with_options,
)
from gatehouse.commands.cli.common.output import (
    FAILED,
    Column,
    JsonOption,
    note,
    print_items,
    print_json,
    read_file,
    reject,
    stop,
)
from gatehouse.commands.cli.common.shapes import parameters, request
from gatehouse.commands.cli.endpoints import Command
from gatehouse.commands.cli.endpoints import register as register_all
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
    AuditStatus,
    CheckpointView,
    ListAudit,
    SearchAudit,
    audit_row,
    audit_view,
    checkpoint_of,
)

_FILTERS = parameters(SearchAudit)


def register(app: typer.Typer) -> None:
    audit = typer.Typer(name="audit", help="Read and verify the audit trail.")
    console_command(audit, list_, options=parameters(ListAudit, "cursor", "limit", "total"))
    file, *others = own_parameters(export)
    audit.command()(with_options(export, [file, *_FILTERS, *others]))
    audit.command()(verify)
    status = "Show the last checkpoint and the public key. `audit verify` verifies them."
    operation = "GET /v1/audit-status"
    register_all(
        audit, Command(name="status", operation=operation, response=AuditStatus, help=status)
    )
    app.add_typer(audit)


def list_(
    client: ConsoleClient, limit: LimitOption = LIMIT, all: AllOption = False, **filters: Any
) -> Output:
    """List audit events.

    Example: gatehouse audit list --action 'key.*' --since 2026-11-01
    """
    path, query, limit = "/v1/audit-events", request(filters), 0 if all else limit
    events = Listing(client, AuditEventView, path, query, noun="event", limit=limit)
    columns: tuple[Column, ...] = (
        "seq",
        ("time", lambda event: event.occurred_at),
        ("actor", _actor),
        "action",
        ("target", lambda event: f"{event.target_type} {event.target_id}"),
        "outcome",
        ("address", lambda event: event.source_address),
    )

    def show() -> None:
        print_items(events, *columns)
        events.note_end()

    return events, show


def export(
    file: Annotated[Path, typer.Argument(help="Output file; must not exist.")],
    console: ConsoleOption = "",
    token: TokenOption = "",
    profile: ProfileOption = "",
    **filters: Any,
) -> None:
    """Download the audit trail, oldest first. An export without filters can be verified offline.

    Example: gatehouse audit export audit.ndjson
    """
    query = request(filters)
    with (
        errors_of_options(typed_names(_FILTERS)),
        api_errors(),
        connect(console, token, profile) as client,
    ):
        try:
            # Other users cannot read the file, which appears when it is complete.
            with NamedTemporaryFile(dir=file.parent, prefix=f".{file.name}.") as out:
                if file.exists():
                    raise FileExistsError
                out.writelines(client.stream("/v1/audit-export", **query))
                out.flush()
                os.link(out.name, file)
        except FileExistsError:
            reject(f"{file} exists: choose another name")
        except OSError as exc:
            reject(f"{file} cannot be written: {exc.strerror}")
    note(f"Wrote {file}.")


def verify(
    file: Annotated[
        Path | None,
        typer.Option(help="Verify a file created by `gatehouse audit export`, offline."),
    ] = None,
    checkpoints: Annotated[
        Path | None,
        typer.Option(help="Directory with a copy of the bucket of checkpoints to compare with."),
    ] = None,
    public_key: Annotated[
        Path | None, typer.Option(help="PEM file with the trusted public keys for the checkpoints.")
    ] = None,
    console: ConsoleOption = "",
    token: TokenOption = "",
    profile: ProfileOption = "",
    as_json: JsonOption = False,
) -> None:
    """Verify every hash in the audit trail locally. Exits with code 1 if a row was changed, removed
    or moved.

    Truncation and a complete rewrite are detected only with --checkpoints and --public-key.

    Example: gatehouse audit verify --file audit.ndjson
    """
    if (checkpoints is None) is not (public_key is None):
        reject("--checkpoints and --public-key must be used together")
    proofs = (
        None
        if checkpoints is None or public_key is None
        else (_checkpoints(checkpoints), trusted_keys(public_key))
    )
    if file is not None:
        rows = list(_rows(read_file(file, "--file"), str(file)))
    else:
        with api_errors(), connect(console, token, profile) as client:
            rows = list(_rows(b"".join(client.stream("/v1/audit-export")), "the console"))
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
        print_json(
            {
                "rows": len(rows),
                "intact": broken is None,
                "first_broken_seq": broken,
                "last_hash": last,
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
        checkpoints = [
            checkpoint_of(
                msgspec.json.decode(read_file(file, "--checkpoints"), type=CheckpointView)
            )
            for file in sorted(path.glob("*.json"))
        ]
    except (ValueError, msgspec.DecodeError):
        stop(
            f"--checkpoints {path} contains an invalid checkpoint: it was changed, or the path "
            f"is wrong"
        )
    if not checkpoints:
        reject(f"--checkpoints {path} contains no checkpoint")
    return checkpoints


def trusted_keys(file: Path) -> list[PublicKey]:
    content = read_file(file, "--public-key")
    try:
        return public_keys(content)
    except ValueError:
        reject(f"--public-key {file} contains no ECDSA P-256 public key in PEM format")


def _rows(lines: bytes, source: str) -> Iterator[AuditRow]:
    for number, line in enumerate(lines.splitlines(), 1):
        if line.strip():
            try:
                view = msgspec.json.decode(line, type=AuditEventView)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                stop(
                    f"line {number} of {source} is not an audit event; create the file with: "
                    f"gatehouse audit export FILE"
                )
            try:
                row = audit_row(view)
                if msgspec.json.encode(audit_view(row)) != line:
                    raise ValueError  # other tools may read another value than this one
                yield row
            except ValueError:
                stop(f"line {number} of {source} differs from an exported row: it was changed")


def _actor(event: AuditEventView) -> str:
    return (
        event.actor_id
        if event.actor_type == event.actor_id
        else f"{event.actor_type} {event.actor_id}"
    )
