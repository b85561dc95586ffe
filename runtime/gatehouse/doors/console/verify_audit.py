"""GET /v1/audit-verification: walks the whole hash chain inside the server."""

from __future__ import annotations

from gatehouse.doors.console.caller import Door
from gatehouse.wire.audit import AuditVerification


async def verify_audit(door: Door) -> AuditVerification:
    """Check the whole audit trail for edits, gaps and reorders. `gatehouse audit verify` does so without trusting the server."""
    rows, broken = await door.audit.verify()
    return AuditVerification(rows=rows, intact=broken is None, first_broken_seq=broken)
