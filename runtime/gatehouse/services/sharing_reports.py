"""The reports of the sharing service about its health, in its DynamoDB table: it has no other
database.
"""

from dataclasses import dataclass

import msgspec

from gatehouse.features.operations.health import LEASE_REPORTS, Reported, WorkerReport
from gatehouse.features.secrets.backend import Backend
from gatehouse.features.secrets.table import Table


@dataclass(frozen=True, slots=True)
class SharingReports:
    """Methods raise Unavailable."""

    backend: Backend

    async def write(self, report: WorkerReport) -> None:
        lease_s = LEASE_REPORTS * report.every_s
        content, now = msgspec.json.encode(report), self.backend.clock.now()
        await self.backend.table.write_report(report.id, content, now, lease_s=lease_s)

    async def remove(self, worker_id: str) -> None:
        await self.backend.table.remove_report(worker_id)


async def reports_of_sharing(table: Table) -> list[Reported] | None:
    """See `HealthService`."""
    reports = await table.reports()
    if reports is None:
        return None
    return [
        (msgspec.json.decode(content, type=WorkerReport), at) for content, at in reports.values()
    ]
