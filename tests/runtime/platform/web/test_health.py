"""Readiness with probes of dependencies that do not respond."""

import asyncio

import pytest
from gatehouse.platform.web import health
from gatehouse.platform.web.health import ServiceHealth, readiness


class Silent:
    name = "silent"

    async def check(self) -> None:
        await asyncio.Event().wait()


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
