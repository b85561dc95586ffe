"""Operations of a running console."""

import asyncio
import io
import json
from dataclasses import replace
from typing import Any

import pytest
from gatehouse.core.errors import Unavailable
from gatehouse.core.features import FEATURES, Features, off, switched
from gatehouse.core.log_levels import Level
from gatehouse.features.operations import service
from gatehouse.features.operations.service import (
    FeatureService,
    LogLevelFollower,
    LogLevelOverride,
    LogLevelService,
)
from gatehouse.platform.db.pool import login
from gatehouse.platform.observability import Observer
from hypothesis import given
from hypothesis import strategies as st

from sandbox.local import servers
from tests.runtime.clocks import ManualClock
from tests.runtime.conftest import Database, locked, opened
from tests.runtime.console_client import Console
from tests.runtime.waiting import PAUSE_S


async def test_log_level_reverts_after_its_duration(console: Console) -> None:
    clock = ManualClock(console.clock.now())
    applied: list[Level] = []
    follower = LogLevelFollower(LogLevelService(console.pool, clock, "info"), applied.append)
    await follower.run_once()
    reply = await console.request("PUT", "/v1/log-level", json={"level": "debug", "for_s": 60})
    assert (reply.status_code, reply.json()["level"], reply.json()["set_by"]) == (
        200,
        "debug",
        "bootstrap",
    )
    await follower.run_once()
    clock.advance(61)
    await follower.run_once()
    assert applied == ["debug", "info"]
    assert (await console.get("/v1/log-level")).json()["level"] == "debug"
    console.sql("UPDATE log_level SET until = now() - interval '1 day'")
    shown = (await console.get("/v1/log-level")).json()
    assert shown == {"level": "info", "configured": "info", "until": None, "set_by": None}


async def test_log_level_reverts_without_a_database(console: Console) -> None:
    available = True

    class Source(LogLevelService):
        async def stored(self) -> LogLevelOverride | None:
            if not available:
                raise Unavailable
            return LogLevelOverride("error", 100.0, "bootstrap")

    clock, applied = ManualClock(50.0), list[Level]()
    follower = LogLevelFollower(Source(console.pool, clock, "info"), applied.append)
    await follower.run_once()
    available = False
    await follower.run_once()
    clock.advance(50)
    await follower.run_once()
    assert applied == ["error", "info"]


@pytest.mark.bound("operations.service:READ_TIMEOUT_S")
async def test_log_level_is_unchanged_while_the_database_does_not_respond(
    console: Console, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "READ_TIMEOUT_S", 0.1)
    applied = list[Level]()
    async with opened(replace(database.app, statement_s=600)) as pool, asyncio.timeout(60):
        follower = LogLevelFollower(LogLevelService(pool, console.clock, "info"), applied.append)
        await console.request("PUT", "/v1/log-level", json={"level": "error"})
        async with locked(database, "log_level"):
            await follower.run_once()
            assert applied == []
        monkeypatch.setattr(service, "READ_TIMEOUT_S", 60.0)
        await follower.run_once()
    assert applied == ["error"]


async def test_log_level_change_is_audited_with_actor(console: Console) -> None:
    await console.request("PUT", "/v1/log-level", json={"level": "error"})
    event = (await console.events())[0]
    assert (event["action"], event["details"]) == (
        "log-level.set",
        {"level": "error", "for_s": 900},
    )


@pytest.mark.parametrize(
    "properties",
    [{"level": "trace"}, {"level": "debug", "for_s": 9}, {"level": "debug", "for_s": 86_401}, {}],
)
async def test_invalid_log_level_is_rejected(console: Console, properties: dict[str, Any]) -> None:
    assert (await console.request("PUT", "/v1/log-level", json=properties)).status_code == 400


def test_changed_log_level_filters_later_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, write_through=True))
    observer = Observer("gateway", "warning", "dev")
    observer.log.info("omitted")
    observer.set_level("info")
    observer.log.info("written")
    observer.set_level("error")
    observer.log.warning("omitted")
    lines = [json.loads(line) for line in raw.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["log level", "log level", "written", "log level"]
    assert {line["environment"] for line in lines} == {"dev"}


async def test_disabled_feature_is_404(console: Console) -> None:
    signed_in = await console.post("/v1/sessions")
    cookie = {"Cookie": signed_in.headers["set-cookie"].partition(";")[0]}
    async with console.connect(features=(("sessions", False), ("webhooks", False))) as without:
        for path in ("/v1/sessions", "/v1/webhooks", "/v1/deliveries"):
            assert (await without.get(path)).status_code == 404
        assert not [
            path
            for path in (await without.get("/openapi.json")).json()["paths"]
            if "sessions" in path
        ]
        del without.headers["Authorization"]
        assert (await without.get("/v1/keys", headers=cookie)).status_code == 401


async def test_feature_is_switched_off_and_on_at_run_time(console: Console) -> None:
    features = Features((("proxy", False),))
    service = FeatureService(console.pool, console.clock, features)
    await service.apply()
    assert features.off == {"proxy"}
    for enabled, off_now in ((False, {"proxy", "webhooks"}), (True, {"proxy"})):
        reply = await console.request("PUT", "/v1/features/webhooks", json={"enabled": enabled})
        assert reply.status_code == 204
        await service.apply()
        assert features.off == off_now
        listed = (await console.get("/v1/features")).json()["features"]
        (shown,) = (each for each in listed if each["name"] == "webhooks")
        assert (shown["enabled"], shown["configured"], shown["changed_by"]) == (
            *(enabled, True),
            "bootstrap",
        )
        event = (await console.events())[0]
        assert (event["action"], event["target_id"], event["details"]) == (
            *("feature.switch", "webhooks"),
            {"enabled": enabled},
        )


async def test_requests_for_a_feature_that_is_switched_off_result_in_503(console: Console) -> None:
    signed_in = await console.post("/v1/sessions")
    cookie = {"Cookie": signed_in.headers["set-cookie"].partition(";")[0]}
    async with console.connect() as client:
        for name in ("webhooks", "sessions"):
            await client.put(f"/v1/features/{name}", json={"enabled": False})
        console.sql("DELETE FROM feature_switch")  # other tests read the table
        for path in ("/v1/webhooks", "/v1/sessions"):
            reply = await client.get(path)
            assert (reply.status_code, reply.json()["code"]) == (503, "unavailable")
        assert (await client.get("/readyz")).json()["features_off"] == ["sessions", "webhooks"]
        del client.headers["Authorization"]
        assert (await client.get("/v1/keys", headers=cookie)).status_code == 401
    assert (await console.get("/v1/webhooks")).status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("proxies", {"enabled": False}, 404),
        ("webhooks", {}, 400),
        ("webhooks", {"enabled": "off"}, 400),
    ],
)
async def test_invalid_switch_of_a_feature_is_rejected(
    console: Console, path: str, body: dict[str, Any], status: int
) -> None:
    reply = await console.request("PUT", f"/v1/features/{path}", json=body)
    assert reply.status_code == status
    assert not console.sql("SELECT name FROM feature_switch")


async def test_feature_that_the_settings_disable_cannot_be_switched_on(console: Console) -> None:
    async with console.connect(features=(("webhooks", False),)) as without:
        reply = await without.put("/v1/features/webhooks", json={"enabled": True})
        assert (reply.status_code, reply.json()["code"]) == (409, "conflict")


@given(st.dictionaries(st.sampled_from([*FEATURES]), st.booleans()))
def test_features_setting_is_parsed(requested: dict[str, bool]) -> None:
    written = " , ".join(f"{name} = {'on' if on else 'off'}" for name, on in requested.items())
    assert dict(switched(written)) == requested
    assert set(off(switched(written))) == {name for name, on in requested.items() if not on}


async def test_service_without_optional_dependency_is_degraded(console: Console) -> None:
    with servers.redis() as url:
        client = console.connect(redis_url=url, redis_auth="url")
        ready = {"status": "ready", "checks": {"database": "ok", "redis": "ok"}}
        async with asyncio.timeout(60):
            while (await client.get("/readyz")).json() != ready:
                await asyncio.sleep(PAUSE_S)
    reply = await client.get("/readyz")
    assert (reply.status_code, reply.json()) == (
        200,
        {"status": "degraded", "checks": {"database": "ok", "redis": "degraded"}},
    )


async def test_service_without_required_dependency_is_unavailable(
    console: Console, closed_port: int
) -> None:
    host = f"127.0.0.1:{closed_port}"
    async with (
        opened(login(f"postgresql://user@{host}/database", "url")) as pool,
        console.connect(pool=pool, redis_url=f"redis://{host}", redis_auth="url") as client,
    ):
        reply = await client.get("/readyz")
    assert (reply.status_code, reply.json()["status"]) == (503, "unavailable")
