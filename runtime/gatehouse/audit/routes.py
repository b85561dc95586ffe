"""GET /v1/audit-events: the audit trail, newest first, page by page.

GET /v1/audit-export: the audit trail as one download, oldest first, as NDJSON (exact) or CSV (for spreadsheets).

GET /v1/audit-checkpoints: the signed checkpoints of the audit trail, as the database knows them.

GET /v1/audit-verification: walks the whole hash chain inside the server.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Query
from starlette.responses import StreamingResponse

from gatehouse.audit import csv as cells
from gatehouse.audit.models import AuditFilter, AuditRow
from gatehouse.audit.schemas import (
    AuditEventPage,
    AuditEventView,
    AuditVerification,
    CheckpointPage,
    ExportAudit,
    ListAudit,
    ListCheckpoints,
    audit_filter,
    audit_view,
    checkpoint_view,
)
from gatehouse.console.dependencies import Door
from gatehouse.http.pagination import Cursors


async def list_audit(query: Annotated[ListAudit, Query()], door: Door) -> AuditEventPage:
    """List the audit trail. Every row carries its hash and that of the row before, so a reader can check the chain."""
    wanted = audit_filter(query)
    cursors = Cursors(door.cursor_pepper, f"audit|{wanted!r}")
    before = None if query.cursor is None else int(cursors.read(query.cursor))
    page = await door.audit.page(before=before, size=query.limit, only=wanted)
    return AuditEventPage(
        events=[audit_view(row) for row in page.events],
        next_cursor=None if page.next_before is None else cursors.write(str(page.next_before)),
    )


_BATCH = 1000


_TYPES = {"ndjson": "application/x-ndjson", "csv": "text/csv; charset=utf-8; header=present"}


async def export_audit(query: Annotated[ExportAudit, Query()], door: Door) -> StreamingResponse:
    """Download the audit trail. NDJSON without a filter is what `gatehouse audit verify --file` checks."""
    wanted = audit_filter(query)
    # The first rows are read before the answer begins, so that a database that is away is a 503 and no broken download.
    first = await door.audit.following(0, _BATCH, wanted)
    headers = {"Content-Disposition": f'attachment; filename="audit.{query.format}"'}
    return StreamingResponse(_lines(door, wanted, first, query.format), media_type=_TYPES[query.format], headers=headers)


async def _lines(door: Door, wanted: AuditFilter, rows: tuple[AuditRow, ...], format: str) -> AsyncIterator[bytes]:
    write = _csv if format == "csv" else _json
    if format == "csv":
        yield cells.line(list(AuditEventView.model_fields)).encode()
    while rows:
        yield "".join(write(audit_view(row)) for row in rows).encode()
        rows = await door.audit.following(rows[-1].seq, _BATCH, wanted) if len(rows) == _BATCH else ()


def _json(view: AuditEventView) -> str:
    return json.dumps(view.model_dump(mode="json"), ensure_ascii=False) + "\n"


def _csv(view: AuditEventView) -> str:
    members = view.model_dump(mode="json")
    details = json.dumps(members["details"], ensure_ascii=False, sort_keys=True)
    return cells.line([details if name == "details" else str(value) for name, value in members.items()])


async def list_checkpoints(query: Annotated[ListCheckpoints, Query()], door: Door) -> CheckpointPage:
    """List checkpoints. Trust those in the locked bucket; these are the same ones, easier to reach."""
    found = await door.audit.checkpoints(after=query.after, size=query.limit + 1)
    shown = found[: query.limit]
    return CheckpointPage(
        checkpoints=[checkpoint_view(one) for one in shown],
        next_after=shown[-1].seq if len(found) > query.limit else None,
        public_key=None if door.signer is None else (await door.signer.public_key()).decode(),
    )


async def verify_audit(door: Door) -> AuditVerification:
    """Check the whole audit trail for edits, gaps and reorders. `gatehouse audit verify` does so without trusting the server."""
    rows, broken = await door.audit.verify()
    return AuditVerification(rows=rows, intact=broken is None, first_broken_seq=broken)
