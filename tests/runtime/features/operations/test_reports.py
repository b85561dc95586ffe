"""The reports of workers."""

from gatehouse.features.operations.health import WorkerReport
from gatehouse.features.operations.repository import WorkerReportRepository

from tests.runtime.console_client import Console


async def test_reports_of_killed_workers_are_removed_by_those_that_run(console: Console) -> None:
    store = WorkerReportRepository(console.pool)
    for id in ("killed", "late"):
        await store.write(WorkerReport(id, "gateway", "a"))
    console.sql(
        "UPDATE worker_report SET seen_at = now() - CASE id WHEN 'killed' THEN interval '1 hour' "
        "ELSE interval '30 seconds' END"
    )
    await store.write(WorkerReport("running", "gateway", "a"))
    assert {report.id for report, _ in await store.all()} >= {"late", "running"}
    assert "killed" not in {report.id for report, _ in await store.all()}
    for id in ("late", "running"):
        await store.remove(id)
    assert not {report.id for report, _ in await store.all()} & {"late", "running"}
