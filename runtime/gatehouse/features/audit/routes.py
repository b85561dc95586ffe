"""Endpoints of the audit trail."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import AsyncIterator, Sequence
from functools import partial

import msgspec
from starlette.responses import StreamingResponse

from gatehouse.core.audit_chain import AuditRow
from gatehouse.core.roles import AUDITORS
from gatehouse.features.audit.models import AuditFilter
from gatehouse.features.audit.repository import AuditRepository
from gatehouse.features.audit.schemas import (
    AuditEventPage,
    AuditEventView,
    AuditStatus,
    AuditVerification,
    CheckpointPage,
    ExportAudit,
    ListAudit,
    ListCheckpoints,
    audit_filter,
    audit_view,
    checkpoint_view,
)
from gatehouse.features.audit.service import CheckpointReader
from gatehouse.platform.http.endpoint import Endpoint
from gatehouse.platform.http.request import Request

#: First characters of a spreadsheet formula, including full-width forms, and characters that
#: spreadsheets skip before a formula. A quote begins a quoted cell if the file is read with another
#: separator.
_FORMULA = re.compile('(^|[;\t\r\n])([ "\0\ufeff]*)(?=[=+@\uff1d\uff0b\uff0d\uff20-])')

_BATCH = 1000
_MEDIA_TYPES = {"ndjson": "application/x-ndjson", "csv": "text/csv; charset=utf-8; header=present"}
_EXPORT = {
    "application/x-ndjson": {
        "schema": {"type": "string", "description": "One AuditEventView per line, oldest first."},
        "example": json.dumps(AuditEventView.example) + "\n",
    },
    "text/csv": {
        "schema": {
            "type": "string",
            "description": "A header line, then one event per line. Formulas are escaped.",
        },
        "example": "seq,occurred_at,actor_type\n1204,2030-06-01T09:00:00.123456Z,bootstrap\n",
    },
}


async def list_audit(request: Request, query: ListAudit, audit: AuditRepository) -> AuditEventPage:
    """List audit events.

    Returns events, newest first. Each event contains its hash and the hash of the previous event.
    """
    only = audit_filter(query)
    cursors = request.cursors(f"audit|{only!r}")
    before = None if query.cursor is None else int(cursors.read(query.cursor))
    rows, next_before = await audit.page(before=before, size=query.limit, only=only)
    return AuditEventPage(
        [audit_view(row) for row in rows],
        None if next_before is None else cursors.write(str(next_before)),
    )


async def export_audit(
    request: Request, query: ExportAudit, audit: AuditRepository
) -> StreamingResponse:
    """Export audit events.

    Downloads all matching events, oldest first. `gatehouse audit verify --file` verifies an NDJSON
    export without filters.
    """
    only = audit_filter(query)
    # Read the first rows before the response starts, so that an unavailable database results in
    # status 503.
    first = await audit.following(0, _BATCH, only)
    headers = {"Content-Disposition": f'attachment; filename="audit.{query.format}"'}
    return StreamingResponse(
        _lines(audit, only, first, query.format),
        media_type=_MEDIA_TYPES[query.format],
        headers=headers,
    )


async def list_checkpoints(
    request: Request, query: ListCheckpoints, checkpoints: CheckpointReader
) -> CheckpointPage:
    """List checkpoints.

    Returns the copies of the checkpoints in the database. As evidence, use the checkpoints in the
    locked bucket.
    """
    page = await checkpoints.trail.checkpoints(after=query.after, size=query.limit + 1)
    shown = page[: query.limit]
    return CheckpointPage(
        checkpoints=[checkpoint_view(checkpoint) for checkpoint in shown],
        next_after=shown[-1].seq if len(page) > query.limit else None,
        public_key=await checkpoints.public_key(),
    )


async def show_audit_status(request: Request, checkpoints: CheckpointReader) -> AuditStatus:
    """Retrieve the state of the audit trail.

    Returns the last checkpoint, and whether its signature and the hash of its event are valid.
    """
    return await checkpoints.status()


async def verify_audit(request: Request, audit: AuditRepository) -> AuditVerification:
    """Verify the audit chain.

    Checks the whole chain for edits, gaps and reordering. `gatehouse audit verify` performs the
    same check on the client.
    """
    rows, broken = await audit.verify()
    return AuditVerification(rows=rows, intact=broken is None, first_broken_seq=broken)


async def _lines(
    audit: AuditRepository, only: AuditFilter, rows: tuple[AuditRow, ...], format: str
) -> AsyncIterator[bytes]:
    encode = _csv_event if format == "csv" else _json_event
    if format == "csv":
        yield csv_line(list(AuditEventView.__struct_fields__)).encode()
    while rows:
        yield b"".join(encode(audit_view(row)) for row in rows)
        rows = await audit.following(rows[-1].seq, _BATCH, only) if len(rows) == _BATCH else ()


def _json_event(view: AuditEventView) -> bytes:
    return msgspec.json.encode(view) + b"\n"


def _csv_event(view: AuditEventView) -> bytes:
    values = msgspec.structs.asdict(view)
    values["details"] = json.dumps(values["details"], ensure_ascii=False, sort_keys=True)
    return csv_line([str(value) for value in values.values()]).encode()


def csv_cell(text: str) -> str:
    """Inserts an apostrophe where a spreadsheet would read a formula or skip leading white space.

    Text within the cell is escaped too, because spreadsheets in some regions separate cells with
    semicolons and ignore quotes around other separators.
    """
    text = _FORMULA.sub(lambda match: f"{match[1]}'{match[2]}", text)
    return f"'{text}" if text[:1] in ("\t", "\r", "\n") else text


def csv_line(cells: Sequence[str]) -> str:
    """A line of CSV (RFC 4180) with a line ending. Cells are quoted, and formulas are escaped."""
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerow(
        [csv_cell(cell) for cell in cells]
    )
    return text.getvalue()


_audit = partial(Endpoint, method="GET", tag="audit", roles=AUDITORS)

ENDPOINTS = (
    _audit(path="/v1/audit-events", handler=list_audit),
    _audit(path="/v1/audit-export", handler=export_audit, content=_EXPORT),
    _audit(path="/v1/audit-checkpoints", handler=list_checkpoints),
    _audit(path="/v1/audit-status", handler=show_audit_status),
    _audit(path="/v1/audit-verification", handler=verify_audit),
)
