"""GET /v1/audit-events: the audit trail, newest first, page by page."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from gatehouse.doors.console.caller import Door
from gatehouse.doors.console.cursor import Cursors
from gatehouse.wire.audit import AuditEventPage, ListAudit, audit_filter, audit_view


async def list_audit(query: Annotated[ListAudit, Query()], door: Door) -> AuditEventPage:
    """List the audit trail. Every row carries its hash and that of the row before, so a reader can check the chain."""
    wanted = audit_filter(query)
    cursors = Cursors(door.cursor_pepper, f"audit|{wanted!r}")
    before = None if query.cursor is None else int(cursors.read(query.cursor))
    page = await door.audit.page(before=before, size=query.limit, more=wanted)
    return AuditEventPage(
        events=[audit_view(row) for row in page.events],
        next_cursor=None if page.next_before is None else cursors.write(str(page.next_before)),
    )
