"""Bounds of the streams of server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
from gatehouse.errors import Unavailable
from gatehouse.identity.models import AUDITORS, Role, Session
from gatehouse.live.service import HEARTBEAT_S, STREAMS_MAX, WAITING_MAX, EventStream, EventStreams

from tests.runtime.console_client import BOOTSTRAP, Console


@pytest.fixture
async def session(console: Console) -> Session:
    await console.client.post("/v1/sessions", headers={"Authorization": f"Bearer {BOOTSTRAP}"})
    row = await console.pool.fetchrow("SELECT id FROM console_session LIMIT 1")
    assert row is not None
    return (await console.dependencies.sessions.active([row["id"]]))[row["id"]]


def stream_of(session: Session, heartbeat_s: float = HEARTBEAT_S) -> EventStream:
    return EventStream(session, lambda session, key: AUDITORS, frozenset({Role.OWNER}), lambda stream: None, heartbeat_s)


async def content(stream: EventStream) -> list[bytes]:
    return [message async for message in stream.messages()]


async def test_open_streams_of_a_process_are_bounded(console: Console, session: Session) -> None:
    streams: EventStreams = console.dependencies.event_streams
    for number in range(STREAMS_MAX):
        other = msgspec.structs.replace(session, id=f"s{number}")
        await streams.open(other, frozenset({Role.OWNER}), lambda session, key: AUDITORS, last_seq=None)
    with pytest.raises(Unavailable):
        await streams.open(session, frozenset({Role.OWNER}), lambda session, key: AUDITORS, last_seq=None)
    assert len(streams) == STREAMS_MAX
    await streams.stop()
    assert len(streams) == 0


async def test_client_that_does_not_read_is_ended(session: Session) -> None:
    stream = stream_of(session)
    for _ in range(WAITING_MAX):
        stream.send(b"event")
    messages = stream.messages()
    assert await anext(messages) == b"retry: 3000\n\n"
    assert await anext(messages) == b"event" * WAITING_MAX
    for _ in range(WAITING_MAX + 1):
        stream.send(b"event")
    with pytest.raises(StopAsyncIteration):
        await anext(messages)


async def test_heartbeats_are_sent_without_events(session: Session) -> None:
    messages: AsyncIterator[bytes] = stream_of(session, heartbeat_s=0.01).messages()
    async with asyncio.timeout(60):
        assert [await anext(messages) for _ in range(3)][1:] == [b"event: heartbeat\ndata: {}\n\n"] * 2


async def test_streams_end_when_the_database_is_unavailable(console: Console, session: Session) -> None:
    streams = console.dependencies.event_streams
    streams.poll_s = 0.01
    stream = await streams.open(session, frozenset({Role.OWNER}), lambda session, key: AUDITORS, last_seq=None)
    console.database.sql("ALTER TABLE audit_event RENAME TO moved")
    try:
        async with asyncio.timeout(60):
            assert (await content(stream))[0] == b"retry: 3000\n\n"
    finally:
        console.database.sql("ALTER TABLE moved RENAME TO audit_event")
    assert len(streams) == 0
