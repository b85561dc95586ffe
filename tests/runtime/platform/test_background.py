"""Background jobs."""

import asyncio

import pytest
from gatehouse.core.errors import Unavailable
from gatehouse.platform.background import PeriodicJob
from gatehouse.platform.observability import Observer


@pytest.mark.parametrize("failure", [Unavailable("down"), ValueError("gtk_test_canary")])
async def test_job_runs_again_after_a_failure_and_the_log_has_no_message(
    failure: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    observer = Observer("console", "info", "test")
    again = asyncio.Event()
    runs = 0

    async def action() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise failure
        again.set()

    task = asyncio.create_task(PeriodicJob("sessions", 0.0, action).run(observer))
    await asyncio.wait_for(again.wait(), 60)
    task.cancel()
    log = capsys.readouterr()
    assert "background job failed" in log.out + log.err
    assert "canary" not in log.out + log.err
    assert (
        'gatehouse_background_job_failures_total{job="sessions"} 1.0'
        in (await observer.metrics.exposition()).decode()
    )


async def test_ended_entries_are_counted() -> None:
    observer, counts, again = Observer("console", "info", "test"), [2, 0, 3], asyncio.Event()

    async def action() -> int:
        if not counts:
            again.set()
        return counts.pop() if counts else 0

    jobs = [PeriodicJob(name, 0.0, action, name == "sessions") for name in ("sessions", "usage")]
    for job in jobs:
        counts[:] = [2, 0, 3]
        again.clear()
        task = asyncio.create_task(job.run(observer))
        await asyncio.wait_for(again.wait(), 60)
        task.cancel()
    page = (await observer.metrics.exposition()).decode()
    assert 'gatehouse_expired_total{registry="sessions"} 5.0' in page
    assert 'registry="usage"' not in page
