"""SQL of the reports of workers."""

import msgspec

from gatehouse.core.clock import to_seconds
from gatehouse.features.operations.health import LEASE_REPORTS, REPORT_S, Reported, WorkerReport
from gatehouse.platform.db.pool import Pool

#: Number of seconds after which the report of a worker that was killed is removed. Until then, the
#: worker is not taken for one of an earlier version.
REMOVED_S = 2 * LEASE_REPORTS * REPORT_S
TIMEOUT_S = 2.0

_WRITE = (
    "INSERT INTO worker_report (id, seen_at, report) VALUES ($1, now(), $2) ON CONFLICT (id) "
    "DO UPDATE SET seen_at = excluded.seen_at, report = excluded.report"
)
_REMOVE_ENDED = "DELETE FROM worker_report WHERE seen_at < now() - make_interval(secs => $1)"
_REMOVE = "DELETE FROM worker_report WHERE id = $1"
_READ = "SELECT report, seen_at FROM worker_report"
# Workers of the version before this table write only gateway_worker.
_UNREPORTED = (
    "SELECT id, seen_at FROM gateway_worker WHERE seen_at > now() - make_interval(secs => $1) "
    "AND NOT EXISTS (SELECT FROM worker_report WHERE worker_report.id = gateway_worker.id)"
)


class WorkerReportRepository:
    """The reports of the gateway and of the console. Methods raise Unavailable."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def write(self, report: WorkerReport) -> None:
        """Also removes the reports of workers that were killed."""
        values = report.id, msgspec.json.encode(report).decode()
        await self._pool.execute(_WRITE, *values, timeout_s=TIMEOUT_S)
        await self._pool.execute(_REMOVE_ENDED, REMOVED_S, timeout_s=TIMEOUT_S)

    async def remove(self, worker_id: str) -> None:
        await self._pool.execute(_REMOVE, worker_id, timeout_s=TIMEOUT_S)

    async def all(self) -> list[Reported]:
        rows = await self._pool.fetch(_READ, timeout_s=TIMEOUT_S)
        return [
            (msgspec.json.decode(row["report"], type=WorkerReport), to_seconds(row["seen_at"]))
            for row in rows
        ]

    async def unreported(self, lease_s: float) -> dict[str, float]:
        """Gateway workers that write no reports, with the time in Unix seconds at which they were
        last seen.
        """
        rows = await self._pool.fetch(_UNREPORTED, lease_s, timeout_s=TIMEOUT_S)
        return {row["id"]: to_seconds(row["seen_at"]) for row in rows}
