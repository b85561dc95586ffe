"""GET /v1/audit-export: the audit trail as one download, oldest first, as NDJSON (exact) or CSV (for spreadsheets)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Query
from starlette.responses import StreamingResponse

from gatehouse.doors.console.caller import Door
from gatehouse.store.ports import AuditFilter, AuditRow
from gatehouse.wire import cells
from gatehouse.wire.audit import AuditEventView, ExportAudit, audit_filter, audit_view

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
