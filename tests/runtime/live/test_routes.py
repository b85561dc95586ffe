"""The stream of server-sent events, from a real server."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest
from gatehouse.console import asgi as console_asgi
from gatehouse.console.authentication import COOKIE
from gatehouse.http.client_address import ClientAddresses
from gatehouse.http.connections import Connections
from gatehouse.http.listening import listen
from gatehouse.http.server import Server
from gatehouse.identity.models import Actor
from gatehouse.live.service import ROWS_MAX, SESSION_STREAMS_MAX
from gatehouse.settings import ConnectionSettings
from gatehouse.usage.models import UsageBatch, UsageRow

from sandbox.ports import PLAIN_HTTP
from tests.runtime.clocks import ManualClock
from tests.runtime.console_client import BOOTSTRAP, Console

pytestmark = pytest.mark.requirement("CG-13")

PATH = "/v1/event-stream"
PATIENCE_S = 60
LIMITS = ConnectionSettings(drain_s=600, stop_timeout_s=600)


@dataclass
class Stream:
    """An open response, and the events that were read from it."""

    lines: AsyncIterator[str]
    events: list[tuple[str, str, Any]] = field(default_factory=list)
    last_id: str = ""

    async def read(self, kind: str, count: int = 1) -> list[Any]:
        """The data of the next `count` events of this type."""
        return [data for _, _, data in [await self._next(kind) for _ in range(count)]]

    async def _next(self, kind: str) -> tuple[str, str, Any]:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                event = await self._event()
                assert event is not None, "the stream has ended"
                self.events.append(event)
                if event[1] == kind:
                    return event

    async def _event(self) -> tuple[str, str, Any] | None:
        fields: dict[str, str] = {}
        async for line in self.lines:
            if not line:
                self.last_id = fields.get("id", self.last_id)
                if "data" in fields:
                    return self.last_id, fields["event"], json.loads(fields["data"])
                fields = {}
            else:
                name, _, value = line.partition(": ")
                fields[name] = value
        return None

    async def rest(self) -> list[str]:
        """The types of the events until the stream ends."""
        async with asyncio.timeout(PATIENCE_S):
            kinds = []
            while (event := await self._event()) is not None:
                kinds.append(event[1])
            return kinds


@dataclass
class Setup:
    """A running console. `client` has no credential."""

    console: Console
    server: Server
    client: httpx.AsyncClient
    clock: ManualClock

    async def sign_in(self, token: str = BOOTSTRAP) -> dict[str, str]:
        """Headers of a new session."""
        reply = await self.client.post(
            "/v1/sessions", headers={"Authorization": f"Bearer {token}", "Sec-Fetch-Site": "same-origin"}
        )
        assert reply.status_code == 201, reply.text
        cookie = reply.headers["set-cookie"].partition(";")[0]
        assert cookie.startswith(COOKIE)
        self.client.cookies.clear()
        return {"Cookie": cookie, "X-CSRF-Token": reply.json()["csrf_token"], "Sec-Fetch-Site": "same-origin"}

    @asynccontextmanager
    async def stream(self, session: dict[str, str], **headers: str) -> AsyncIterator[Stream]:
        async with self.client.stream("GET", PATH, headers={**session, **headers}) as reply:
            assert reply.status_code == 200
            assert reply.headers["content-type"].startswith("text/event-stream")
            assert (reply.headers["cache-control"], reply.headers["x-accel-buffering"]) == ("no-store", "no")
            yield Stream(reply.aiter_lines())


@pytest.fixture
async def setup(console: Console) -> AsyncIterator[Setup]:
    dependencies, clock = console.dependencies, ManualClock(console.dependencies.clock.now())
    sessions = replace(dependencies.sessions, clock=clock)
    streams = replace(dependencies.event_streams, sessions=sessions, clock=clock, poll_s=0.05, usage_interval_s=0.05)
    app: Any = console_asgi.create(replace(dependencies, clock=clock, sessions=sessions, event_streams=streams))
    sock = listen("127.0.0.1", 0)
    server = Server(app, Connections(LIMITS, ClientAddresses(())), handle_signals=False)
    serving = asyncio.create_task(server.serve([sock]))
    while not server.started:
        await asyncio.sleep(0)
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{sock.getsockname()[1]}", timeout=PATIENCE_S, verify=PLAIN_HTTP
    ) as client:
        yield Setup(console, server, client, clock)
    server.handle_exit(signal.SIGINT, None)
    await serving


async def test_new_audit_events_are_sent_and_missed_events_follow_later(setup: Setup) -> None:
    session = await setup.sign_in()
    async with setup.stream(session) as stream:
        await stream.read("heartbeat")
        created = (await setup.console.create())["key"]["id"]
        (event,) = await stream.read("audit")
        assert (event["action"], event["target_id"]) == ("key.create", created)
        assert stream.last_id == str(event["seq"])
    missed = [(await setup.console.create())["key"]["id"] for _ in range(2)]
    async with setup.stream(session, **{"Last-Event-ID": stream.last_id}) as resumed:
        assert [event["target_id"] for event in await resumed.read("audit", 2)] == missed
        await setup.console.create()
        (event,) = await resumed.read("audit")
        assert event["seq"] == int(stream.last_id) + 3


async def test_first_event_contains_the_position(setup: Setup) -> None:
    """A client that has received no audit event can resume, too."""
    session = await setup.sign_in()
    newest = (await setup.console.client.get("/v1/audit-events?limit=1")).json()["events"][0]["seq"]
    async with setup.stream(session) as stream:
        await stream.read("heartbeat")
        assert stream.last_id == str(newest)


async def test_long_gap_is_bounded_and_visible(setup: Setup) -> None:
    session = await setup.sign_in()
    for _ in range(ROWS_MAX + 5):
        await setup.console.dependencies.log_levels.reset(Actor("bootstrap", "bootstrap"))
    newest = await setup.console.dependencies.audit.newest_seq()
    async with setup.stream(session, **{"Last-Event-ID": "1"}) as stream:
        events = await stream.read("audit", ROWS_MAX)
    assert [event["seq"] for event in events] == list(range(newest - ROWS_MAX + 1, newest + 1))


async def test_counted_requests_are_sent(setup: Setup) -> None:
    session = await setup.sign_in()
    async with setup.stream(session) as stream:
        (before,) = await stream.read("usage")
        now = setup.clock.now()
        batch = UsageBatch("w", 1, now, (UsageRow("", "", "VALID", int(now // 60) * 60, 3),), {})
        await setup.console.dependencies.usage.add(batch)
        (after,) = await stream.read("usage")
    assert after["total"] == before["total"] + 3
    assert after["points"][-1] | {"at": ""} == {"at": "", "key": None, "core": None, "code": "VALID", "count": after["total"]}


@pytest.mark.parametrize("credential", ["bootstrap", "key"])
async def test_stream_ends_with_its_session_and_contains_no_later_event(setup: Setup, credential: str) -> None:
    key = await setup.console.create(scopes=["role:auditor"])
    session = await setup.sign_in(BOOTSTRAP if credential == "bootstrap" else key["token"])
    other = await setup.sign_in()
    async with setup.stream(session) as stream, setup.stream(other) as others:
        await stream.read("usage")
        await others.read("usage")
        if credential == "bootstrap":
            reply = await setup.client.delete("/v1/sessions/current", headers=session)
        else:
            reply = await setup.console.client.post(f"/v1/keys/{key['key']['id']}/revoke", json={})
        assert reply.status_code < 300, reply.text
        assert await stream.rest() == []
        assert [event["action"] for event in await others.read("audit")] == [
            "session.end" if credential == "bootstrap" else "key.revoke"
        ]


async def test_stream_ends_when_the_session_expires_and_does_not_extend_it(setup: Setup) -> None:
    session = await setup.sign_in()
    idle_s = setup.console.dependencies.sessions.rules.idle_s
    setup.clock.advance(idle_s / 2)
    async with setup.stream(session) as stream:
        await stream.read("usage")
        setup.clock.advance(idle_s / 2 + 1)
        assert await stream.rest() == []
    assert (await setup.client.get(PATH, headers=session)).status_code == 401


async def test_roles_determine_the_events(setup: Setup) -> None:
    issuer = await setup.sign_in((await setup.console.create(scopes=["role:issuer"]))["token"])
    owner = await setup.sign_in()
    async with setup.stream(issuer) as stream, setup.stream(owner) as others:
        await stream.read("usage")
        await others.read("usage")
        for _ in range(3):
            await setup.console.create()
            await others.read("audit")
        setup.server.handle_exit(signal.SIGTERM, None)
        assert (stream.last_id, {kind for _, kind, _ in stream.events} | {*await stream.rest()}) == ("", {"heartbeat", "usage"})


async def test_lost_role_ends_the_stream(setup: Setup) -> None:
    key = await setup.console.create(scopes=["role:auditor"])
    async with setup.stream(await setup.sign_in(key["token"])) as stream:
        await stream.read("usage")
        changed = await setup.console.client.patch(
            f"/v1/keys/{key['key']['id']}", json={"scopes": ["role:service"]}, headers={"If-Match": f'"{key["key"]["version"]}"'}
        )
        assert changed.status_code == 200, changed.text
        await stream.rest()


async def test_requests_without_a_permitted_session_are_rejected(setup: Setup) -> None:
    session = await setup.sign_in()
    service = await setup.sign_in((await setup.console.create(scopes=["role:service"]))["token"])
    bearer = await setup.client.get(PATH, headers={"Authorization": f"Bearer {BOOTSTRAP}"})
    replies = [
        await setup.client.get(PATH),
        await setup.client.get(PATH, headers=service),
        await setup.client.get(PATH, headers=session | {"Sec-Fetch-Site": "cross-site"}),
        await setup.client.get(PATH, headers=session | {"Last-Event-ID": "-1"}),
    ]
    assert [(reply.status_code, reply.json()["code"]) for reply in replies] == [
        (401, "unauthorized"),
        (403, "forbidden"),
        (403, "cross_site"),
        (400, "bad_request"),
    ]
    assert (bearer.status_code, bearer.json()["errors"][0]["location"]) == (400, "header.authorization")


async def test_streams_of_a_session_are_bounded(setup: Setup) -> None:
    session, other = await setup.sign_in(), await setup.sign_in()
    streams = [setup.stream(session) for _ in range(SESSION_STREAMS_MAX)]
    opened = [await stream.__aenter__() for stream in streams]
    for stream in opened:
        await stream.read("usage")
    denied = await setup.client.get(PATH, headers=session)
    assert (denied.status_code, denied.json()["code"]) == (429, "too_many_requests")
    async with setup.stream(other) as stream:
        await stream.read("usage")
    for open_stream in streams:
        await open_stream.__aexit__(None, None, None)
    async with asyncio.timeout(PATIENCE_S):
        while (await setup.client.send(setup.client.build_request("GET", PATH, headers=session), stream=True)).status_code != 200:
            await asyncio.sleep(0)


async def test_stopping_server_ends_streams_and_accepts_no_new_ones(setup: Setup) -> None:
    session = await setup.sign_in()
    async with setup.stream(session) as stream:
        await stream.read("usage")
        setup.server.handle_exit(signal.SIGTERM, None)
        assert await stream.rest() == []
    reply = await setup.client.get(PATH, headers=session)
    assert (reply.status_code, reply.text) == (200, "retry: 3000\n\n")
