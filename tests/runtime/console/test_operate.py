"""What operators set while a deployment runs, and what they are told: log level, features, slow statements, degraded health."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import httpx
import pytest
from gatehouse import observability as observe
from gatehouse.console import asgi as console_asgi
from gatehouse.console import dependencies as console_dependencies
from gatehouse.errors import SettingsError, Unavailable
from gatehouse.observability import Metrics, Observer
from gatehouse.operations.features import FEATURES, off, switched
from gatehouse.operations.models import Level, LogLevelOverride
from gatehouse.operations.repository import LogLevelRepository
from gatehouse.operations.service import LogLevelFollower
from gatehouse.settings import load
from hypothesis import given
from hypothesis import strategies as st

from tests.runtime.clocks import ManualClock
from tests.runtime.console.conftest import BOOTSTRAP, Console


class Away:
    """A dependency that can be taken away."""

    name = "redis"

    def __init__(self) -> None:
        self.here = True

    async def check(self) -> None:
        if not self.here:
            raise Unavailable


def client(parts: console_dependencies.Dependencies) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {BOOTSTRAP}"}
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(console_asgi.create(parts)), base_url="https://console.test", headers=headers
    )


@pytest.mark.requirement("TR-14")
async def test_a_log_level_holds_for_its_time_and_then_the_setting_again(door: Console) -> None:
    clock = ManualClock(door.parts.clock.now())
    applied: list[Level] = []
    follower = LogLevelFollower(LogLevelRepository(door.pool), clock, "info", applied.append)
    await follower.run_once()
    reply = await door.client.put("/v1/log-level", json={"level": "debug", "for_s": 60})
    assert (reply.status_code, reply.json()["level"], reply.json()["set_by"]) == (200, "debug", "bootstrap")
    await follower.run_once()
    clock.advance(61)
    await follower.run_once()
    assert applied == ["debug", "info"]
    assert (await door.client.get("/v1/log-level")).json()["level"] == "debug"
    assert (await door.client.delete("/v1/log-level")).status_code == 204
    shown = (await door.client.get("/v1/log-level")).json()
    assert shown == {"level": "info", "configured": "info", "until": None, "set_by": None}


async def test_a_log_level_ends_at_its_time_also_without_a_database(door: Console) -> None:
    class Source(LogLevelRepository):
        there = True

        async def get(self) -> LogLevelOverride | None:
            if not self.there:
                raise Unavailable
            return LogLevelOverride("error", 100.0, "bootstrap")

    source, clock, applied = Source(door.pool), ManualClock(50.0), list[Level]()
    follower = LogLevelFollower(source, clock, "info", applied.append)
    await follower.run_once()
    source.there = False
    await follower.run_once()
    clock.advance(50)
    await follower.run_once()
    assert applied == ["error", "info"]


async def test_who_changed_the_log_level_is_in_the_audit_trail(door: Console) -> None:
    await door.client.put("/v1/log-level", json={"level": "error"})
    event = (await door.client.get("/v1/audit-events")).json()["events"][0]
    assert (event["action"], event["details"]) == ("log-level.set", {"level": "error", "for_s": 900})


@pytest.mark.parametrize("wish", [{"level": "trace"}, {"level": "debug", "for_s": 9}, {"level": "debug", "for_s": 86_401}, {}])
async def test_a_log_level_that_is_none_is_refused(door: Console, wish: dict[str, Any]) -> None:
    assert (await door.client.put("/v1/log-level", json=wish)).status_code == 400


@pytest.mark.requirement("TR-14")
def test_a_changed_level_is_what_the_log_keeps_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, write_through=True))
    observer = observe.observer("gateway", "warning", "dev")
    observer.log.info("unheard")
    observer.set_level("info")
    observer.log.info("heard")
    observer.set_level("error")
    observer.log.warning("unheard")
    lines = [json.loads(line) for line in raw.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["log level", "log level", "heard", "log level"]
    assert {line["environment"] for line in lines} == {"dev"}


@pytest.mark.requirement("TR-02")
async def test_features_are_listed_with_what_they_mean(door: Console) -> None:
    found = (await door.client.get("/v1/features")).json()["features"]
    assert [(one["name"], one["enabled"]) for one in found] == [(feature.name, True) for feature in FEATURES]
    assert all(one["meaning"] for one in found)


@pytest.mark.requirement("TR-02")
async def test_a_feature_that_is_off_is_not_there(door: Console) -> None:
    signed_in = await door.client.post("/v1/sessions")
    cookie = {"Cookie": signed_in.headers["set-cookie"].partition(";")[0]}
    async with client(replace(door.parts, features_off=frozenset({"sessions", "webhooks"}))) as without:
        for path in ("/v1/sessions", "/v1/webhooks", "/v1/deliveries"):
            assert (await without.get(path)).status_code == 404
        found = (await without.get("/v1/features")).json()["features"]
        assert {one["name"] for one in found if not one["enabled"]} == {"sessions", "webhooks"}
        assert not [path for path in (await without.get("/openapi.json")).json()["paths"] if "sessions" in path]
        del without.headers["Authorization"]
        assert (await without.get("/v1/keys", headers=cookie)).status_code == 401


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("session=off", "names an unknown feature; the features are batch-verify, header-verify"),
        ("sessions", "must be name=on or name=off"),
        ("sessions=false", "must be name=on or name=off"),
        ("proxy=on,proxy=off", "each name once"),
    ],
)
def test_features_that_cannot_be_meant_stop_the_start(value: str, message: str) -> None:
    given_ = {"GATEHOUSE_ENVIRONMENT": "dev", "GATEHOUSE_DATABASE_URL": "postgresql://u@h/d", "GATEHOUSE_FEATURES": value}
    with pytest.raises(SettingsError, match=f"GATEHOUSE_FEATURES: .*{message}"):
        load(given_)


@given(st.dictionaries(st.sampled_from([feature.name for feature in FEATURES]), st.booleans()))
def test_features_are_read_as_they_are_written(wanted: dict[str, bool]) -> None:
    written = " , ".join(f"{name} = {'on' if on else 'off'}" for name, on in wanted.items())
    assert dict(switched(written)) == wanted
    assert off(switched(written)) == {name for name, on in wanted.items() if not on}


def test_a_slow_statement_is_a_line_and_a_count(door: Console) -> None:
    lines = door.lines
    observer = Observer("console", lines, Metrics())  # type: ignore[arg-type]
    observer.slow_query("SELECT 1", 0.75)
    assert lines.kept[-1] == {"event": "slow query", "service": "console", "statement": "SELECT 1", "ms": 750.0}
    assert "gatehouse_slow_queries_total 1.0" in observer.metrics.exposition().decode()


@pytest.mark.requirement("TR-12")
async def test_a_door_without_a_helper_is_degraded_and_serves_on(door: Console) -> None:
    away = Away()
    async with client(replace(door.parts, helpers=(away,))) as asking:
        assert (await asking.get("/readyz")).json() == {"status": "ready", "checks": {"database": "ok", "redis": "ok"}}
        away.here = False
        reply = await asking.get("/readyz")
        assert (reply.status_code, reply.json()) == (
            200,
            {"status": "degraded", "checks": {"database": "ok", "redis": "degraded"}},
        )


@pytest.mark.requirement("TR-12")
async def test_a_door_without_what_it_needs_is_unavailable(door: Console) -> None:
    away = Away()
    away.here = False
    async with client(replace(door.parts, probes=(away,), helpers=(away,))) as asking:
        reply = await asking.get("/readyz")
    assert (reply.status_code, reply.json()["status"]) == (503, "unavailable")
