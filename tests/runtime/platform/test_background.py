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
