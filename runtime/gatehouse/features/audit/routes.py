"""Endpoints of the audit trail."""

import json
from collections.abc import AsyncIterator
from functools import partial

import msgspec

from gatehouse.core.audit_chain import AuditRow
from gatehouse.core.roles import AUDITORS
from gatehouse.features.audit.repository import AuditRepository
from gatehouse.features.audit.schemas import (
    AuditEventPage,
    AuditEventView,
    AuditStatus,
    ListAudit,
    SearchAudit,
    audit_view,
)
from gatehouse.features.audit.service import CheckpointReader
from gatehouse.platform.web.endpoint import Endpoint
from gatehouse.platform.web.examples import example
from gatehouse.platform.web.fields import TOTAL_MAX
from gatehouse.platform.web.request import Reply, Request

#: Number of events that are read and sent at a time.
_BATCH = 200
_MEDIA_TYPE = "application/x-ndjson"
_EXPORT = {
    _MEDIA_TYPE: {
        "schema": {"type": "string", "description": "One AuditEventView per line, oldest first."},
        "example": json.dumps(example(AuditEventView)) + "\n",
    }
}


async def list_audit(request: Request, query: ListAudit, audit: AuditRepository) -> AuditEventPage:
    """List audit events.

    Each event contains its hash and the hash of the previous event.
    """
    only = msgspec.convert(query, SearchAudit, from_attributes=True)
    cursors = request.cursors(f"audit|{only!r}|{query.order}")
    after = cursors.read(query.cursor, int)
    rows, last = await audit.page(
        after=after, size=query.limit, only=only, oldest=query.order == "oldest"
    )
    total = await audit.count(only, TOTAL_MAX) if query.total else None
    events, names = [audit_view(row) for row in rows], await audit.names(rows)
    return AuditEventPage(events, names, cursors.write(last), total)


async def export_audit(request: Request, query: SearchAudit, audit: AuditRepository) -> Reply:
    """Export audit events.

    Downloads all matching events, oldest first. `gatehouse audit verify --file` verifies an export
    without filters.
    """
    # Read the first rows before the response starts, so that an unavailable database results in
    # status 503.
    first, last = await audit.page(after=None, size=_BATCH, only=query, oldest=True)
    headers = [
        (b"content-type", _MEDIA_TYPE.encode()),
        (b"content-disposition", b'attachment; filename="audit.ndjson"'),
    ]
    return request.streamed(_lines(audit, query, first, last), headers=headers)


async def show_audit_status(request: Request, checkpoints: CheckpointReader) -> AuditStatus:
    """Retrieve the state of the audit trail.

    Returns the last checkpoint, the number of the newest event and the public key. Verifies
    nothing: `gatehouse audit verify` does.
    """
    return await checkpoints.status()


async def _lines(
    audit: AuditRepository, only: SearchAudit, rows: list[AuditRow], last: int | None
) -> AsyncIterator[bytes]:
    while rows:
        yield b"".join(msgspec.json.encode(audit_view(row)) + b"\n" for row in rows)
        if last is None:
            return
        rows, last = await audit.page(after=last, size=_BATCH, only=only, oldest=True)


_audit = partial(Endpoint, "GET", tag="audit", roles=AUDITORS)

ENDPOINTS = (
    _audit("/v1/audit-events", list_audit),
    _audit("/v1/audit-export", export_audit, content=_EXPORT),
    _audit("/v1/audit-status", show_audit_status),
)
