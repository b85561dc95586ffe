"""Readiness with probes of dependencies that do not respond."""

import asyncio

import pytest
from gatehouse.platform.http import health
from gatehouse.platform.http.health import ServiceHealth, readiness


class Silent:
    name = "silent"

    async def check(self) -> None:
        await asyncio.Event().wait()


@pytest.mark.bound("http.health:PROBE_TIMEOUT_S")
async def test_dependency_that_does_not_respond_is_unavailable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "PROBE_TIMEOUT_S", 0.1)
    async with asyncio.timeout(60):
        (required, detail), (optional, _) = await asyncio.gather(
            readiness(ServiceHealth([Silent()])), readiness(ServiceHealth([], [Silent()]))
        )
    assert (required.status, required.checks) == ("unavailable", {"silent": "unavailable"})
    assert (optional.status, optional.checks) == ("degraded", {"silent": "degraded"})
    assert detail.startswith("silent: no response within")


async def test_requests_at_the_same_time_share_a_run_of_the_probes() -> None:
    class Counted:
        name, runs = "counted", 0

        async def check(self) -> None:
            self.runs += 1
            await asyncio.sleep(0)

    probe = Counted()
    checks = ServiceHealth([probe])
    await asyncio.gather(*(readiness(checks) for _ in range(100)))
    assert probe.runs == 1
    await readiness(checks)
    assert probe.runs == 2
