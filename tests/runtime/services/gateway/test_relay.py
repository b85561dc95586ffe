"""Relays of WebSockets on recorded transports."""

import asyncio
import socket
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from gatehouse.core.clock import Clock
from gatehouse.core.cores import CoreSettings
from gatehouse.core.keys import KeyEnvironment, KeyId, KeyRecord
from gatehouse.core.verification import VerificationRequest
from gatehouse.platform import turns
from gatehouse.platform.executions import Places
from gatehouse.platform.http.websocket import CloseCode, FrameChecker
from gatehouse.platform.turns import SMALL_READ_BYTES
from gatehouse.services.gateway import websocket
from gatehouse.services.gateway.websocket import FrameQueue, Relay, WebSockets
from websockets.frames import Close, Frame, Opcode

from tests.runtime.core_records import instance
from tests.runtime.key_records import RECORD
from tests.runtime.waiting import until

MESSAGE_MAX = 100_000
OTHER = msgspec.structs.replace(RECORD, id=KeyId("abcdefghijkm"))
CORE = msgspec.structs.replace(
    instance("a"), settings=CoreSettings(websocket_message_max_bytes=MESSAGE_MAX)
)
PATIENCE_S = 60
HELLO = Frame(Opcode.TEXT, b"hello")
CLOSE = Frame(Opcode.CLOSE, Close(1000, "").serialize())


class Transport(asyncio.Transport):
    """Records what is written. `buffered`: size of the write buffer. `high`: bytes until
    `pause_writing`.
    """

    def __init__(self, high: int = 10**9, *, is_core: bool = False) -> None:
        super().__init__()
        self.is_core = is_core
        self.high = high
        self.written = b""
        self.buffered = 0
        self.reading = True
        self.ended = ""
        self.side: asyncio.BaseProtocol | None = None
        self.socket: socket.socket | None = None

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self.socket if name == "socket" else default

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data
        if len(self.written) > self.high and self.side is not None:
            self.side.pause_writing()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high == 1

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = self.ended or "eof"

    def is_closing(self) -> bool:
        return self.ended in ("close", "abort")

    def close(self) -> None:
        self.ended = "close"

    def abort(self) -> None:
        self.ended = "abort"

    @property
    def closes(self) -> list[int]:
        codes, data = [], self.written
        while data:
            checker = FrameChecker(masked=self.is_core, message_max_bytes=MESSAGE_MAX)
            data = data[len(checker.feed(data, 1_000_000)) :]
            codes += [] if checker.close_code is None else [checker.close_code]
        return codes


@dataclass
class Sides:
    relay: Relay
    client: Transport
    core: Transport
    running: asyncio.Task[None]

    def lose(self, side: Transport) -> None:
        (self.relay.client if side is self.client else self.relay.core).connection_lost(None)


@asynccontextmanager
async def relaying(
    core_data: bytes = b"",
    client_high: int = 10**9,
    queue: FrameQueue | None = None,
    record: KeyRecord = RECORD,
) -> AsyncIterator[Sides]:
    relay = Relay(PATIENCE_S, record, VerificationRequest(), CORE, queue or FrameQueue())
    client, core = Transport(client_high), Transport(is_core=True)
    core.reading = False
    client.side, core.side = relay.client, relay.core
    relay.core.connection_made(core)
    relay.client.connection_made(client)
    running = asyncio.create_task(relay.run(b"", core_data))
    await asyncio.sleep(0)
    sides = Sides(relay, client, core, running)
    yield sides
    for side in (relay.client, relay.core):
        if side.is_open:
            side.connection_lost(None)
    async with asyncio.timeout(PATIENCE_S):
        await running


async def test_reading_pauses_while_the_other_side_does_not_read() -> None:
    async with relaying() as sides:
        assert (sides.client.reading, sides.core.reading) == (True, True)
        for transport, other, side in (
            (sides.client, sides.core, sides.relay.client),
            (sides.core, sides.client, sides.relay.core),
        ):
            side.pause_writing()
            assert (transport.reading, other.reading) == (True, False)
            side.resume_writing()
            assert (transport.reading, other.reading) == (True, True)


async def test_data_beside_the_handshake_can_fill_the_buffer() -> None:
    data = Frame(Opcode.BINARY, bytes(50_000)).serialize(mask=False)
    async with relaying(core_data=data, client_high=10_000) as sides:
        assert sides.client.written == data
        assert not sides.core.reading
        sides.relay.client.resume_writing()
        assert sides.core.reading


@pytest.mark.bound("gateway.websocket:_READ_BYTES")
@pytest.mark.parametrize("sender", ["client", "core"])
async def test_reads_of_large_frames_take_turns(
    sender: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "READ_TURN_S", 1e-9)
    data, sizes = Frame(Opcode.BINARY, bytes(40_000)).serialize(mask=sender == "client"), []
    async with relaying() as sides, asyncio.timeout(PATIENCE_S):
        source, side = getattr(sides, sender), getattr(sides.relay, sender)
        for size in (16_000, 16_000, SMALL_READ_BYTES):
            buffer = side.get_buffer(-1)
            sizes.append(len(buffer))
            buffer[:size], data = data[:size], data[size:]
            side.buffer_updated(size)
        assert (sizes, source.reading) == ([16_384, 16_384, SMALL_READ_BYTES], False)
        await until(lambda: source.reading)


def floods(count: int) -> dict[str, bytes]:
    frames = {
        "pings": Frame(Opcode.PING, b""),
        "pongs": Frame(Opcode.PONG, b""),
        "empty messages": Frame(Opcode.TEXT, b""),
        "messages": Frame(Opcode.BINARY, b"x"),
    }
    fragments = Frame(Opcode.TEXT, b"x", fin=False).serialize(mask=True) + count * Frame(
        Opcode.CONT, b"x", fin=False
    ).serialize(mask=True)
    return {
        **{name: frame.serialize(mask=True) * count for name, frame in frames.items()},
        "fragments": fragments,
    }


async def forwarded(transport: Transport, size: int) -> list[int]:
    """Waits until this number of bytes was written. Returns the size by turn of the event loop."""
    sizes, before = [], 0
    async with asyncio.timeout(PATIENCE_S):
        while before < size:
            await asyncio.sleep(0)
            sizes += [len(transport.written) - before]
            before += sizes[-1]
    return sizes


@pytest.mark.bound("gateway.websocket:_FRAMES_MAX")
@pytest.mark.parametrize("sender", ["client", "core"])
@pytest.mark.parametrize("name", floods(0))
async def test_frames_of_a_flood_are_forwarded_in_parts(name: str, sender: str) -> None:
    data = floods(5_000)[name]
    async with relaying() as sides:
        source, target, side = sides.client, sides.core, sides.relay.client
        if sender == "core":
            source, target, side = target, source, sides.relay.core
            # To send the same data.
            side.checker = FrameChecker(masked=True, message_max_bytes=MESSAGE_MAX)
        side.data_received(data)
        assert 0 < len(target.written) <= 64 * 7
        assert not source.reading
        assert max(await forwarded(target, len(data))) <= 1_000 * 7
        assert target.written == data
        assert source.reading


@pytest.mark.bound("gateway.websocket:_WAITING_FRAMES_MAX", "gateway.websocket:_FRAMES_BATCH")
async def test_websockets_of_a_worker_share_the_frames_of_a_turn() -> None:
    data, queue = floods(3_000)["messages"], FrameQueue()
    async with (
        relaying(queue=queue) as first,
        relaying(queue=queue) as second,
        relaying(queue=queue, record=OTHER) as of_other_key,
        relaying(queue=queue) as other,
    ):
        for each in (first, second, of_other_key):
            each.relay.client.data_received(data)
        written = 0
        async with asyncio.timeout(PATIENCE_S):
            while (total := len(first.core.written) + len(second.core.written)) < 2 * len(data):
                share = min(total, len(data))
                assert len(of_other_key.core.written) >= share - 250 * 7
                await asyncio.sleep(0)
                if total == written:
                    continue
                assert total - written <= 1_000 * 7
                assert abs(len(first.core.written) - len(second.core.written)) <= 250 * 7
                written, before = total, len(other.core.written)
                other.relay.client.data_received(HELLO.serialize(mask=True))
                assert len(other.core.written) > before  # does not wait for the floods


async def test_waiting_frames_are_forwarded_only_while_the_other_side_reads() -> None:
    data = floods(1_000)["pings"]
    async with relaying() as sides:
        sides.relay.client.data_received(data)
        sides.relay.core.pause_writing()
        before = len(sides.core.written)
        async with relaying() as other:  # takes longer than an interval
            other.relay.client.data_received(data)
            await forwarded(other.core, len(data))
        assert len(sides.core.written) == before
        sides.relay.core.resume_writing()
        assert not sides.client.reading
        await forwarded(sides.core, len(data))
        assert sides.client.reading


async def test_revoked_key_ends_a_websocket_whose_frames_wait() -> None:
    async with relaying() as sides:
        sides.relay.client.data_received(floods(5_000)["messages"])
        before = len(sides.core.written)
        sides.relay.close(client=(CloseCode.POLICY_VIOLATION, ""))
        assert (sides.client.closes, sides.core.closes) == ([1008], [1001])
        assert len(sides.core.written) == before + 2 + 4 + 2
        assert sides.client.reading  # so that the end of the connection is noticed
    assert not sides.relay.client.checker._held


DRAINING, REPLACED = {"draining": True, "expires_at": 20}, {"lease_id": "b", "url": "http://b"}


@pytest.mark.parametrize(
    ("changes", "now", "has_ended"),
    [
        ([{}], 100, False),
        ([DRAINING], 19, False),
        ([DRAINING], 20, True),
        ([DRAINING, REPLACED], 19, False),
        ([DRAINING, REPLACED], 20, True),
        ([DRAINING, REPLACED | {"registered_by": "y"}], 19, True),
        ([DRAINING, REPLACED | {"draining": True, "expires_at": 19}], 19, True),
        ([DRAINING, None], 20, True),
        ([DRAINING, {"lease_id": "b"}], 20, False),
        ([REPLACED], 19, True),
        ([{"expires_at": 20}, None], 619, False),
        ([{"expires_at": 20}, None], 620, True),
    ],
)
async def test_websocket_ends_with_the_drain_or_the_replacement_of_its_instance(
    changes: list[dict[str, Any] | None], now: float, has_ended: bool
) -> None:
    async with relaying() as sides:
        for changed in changes[:-1]:
            sides.relay.has_ended(msgspec.structs.replace(CORE, **(changed or {})), 0)
        last = changes[-1]
        current = None if last is None else msgspec.structs.replace(CORE, **last)
        assert sides.relay.has_ended(current, now) is has_ended


async def test_each_side_receives_one_close_frame() -> None:
    async with relaying() as sides:
        sides.relay.client.data_received(CLOSE.serialize(mask=True))
        sides.relay.close(client=(CloseCode.POLICY_VIOLATION, ""))
        assert (sides.client.closes, sides.core.closes) == ([1008], [1000])
        assert (sides.client.ended, sides.core.ended) == ("close", "")  # the Core ends it
    assert sides.relay.use.close_code == 1000


@pytest.mark.parametrize("confirmed", [True, False])
async def test_core_that_ends_without_confirming_a_close_frame(confirmed: bool) -> None:
    async with relaying() as sides:
        sides.relay.client.data_received(CLOSE.serialize(mask=True))
        if confirmed:
            sides.relay.core.data_received(CLOSE.serialize(mask=False))
        sides.lose(sides.core)
        assert (sides.client.closes, sides.client.ended) == ([1000], "close")


async def test_client_that_ends_after_the_close_frame_of_the_core() -> None:
    async with relaying() as sides:
        sides.relay.core.data_received(HELLO.serialize(mask=False) + CLOSE.serialize(mask=False))
        assert (sides.client.closes, sides.client.ended) == ([1000], "")
        sides.lose(sides.client)
        assert (sides.core.closes, sides.core.ended) == ([1000], "")


async def test_data_after_the_end_is_discarded() -> None:
    async with relaying() as sides:
        sides.relay.shutdown()
        before = sides.core.written
        sides.relay.client.data_received(HELLO.serialize(mask=True))
        assert sides.core.written == before
        assert (sides.client.ended, sides.core.ended) == ("eof", "")


async def test_data_after_a_close_frame_takes_no_memory() -> None:
    async with relaying() as sides:
        sides.relay.client.data_received(CLOSE.serialize(mask=True))
        before = sys.getallocatedblocks()
        for _ in range(1000):
            sides.relay.client.data_received(b"x")
        assert sys.getallocatedblocks() < before + 500


@pytest.mark.bound("gateway.websocket:_HANDSHAKE_S")
async def test_close_frame_that_is_not_confirmed_ends_both_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(websocket, "_HANDSHAKE_S", 0.0)
    async with relaying() as sides:
        sides.relay.client.data_received(CLOSE.serialize(mask=True))
        assert (sides.core.closes, sides.core.ended) == ([1000], "")
        await until(lambda: sides.client.ended)
        assert (sides.client.ended, sides.core.ended) == ("close", "")
        assert sides.client.closes == []  # not closed by the idle timeout


@pytest.mark.bound("gateway.websocket:_END_S")
@pytest.mark.parametrize("reads", [((1_000, "eof"), (0, "eof"), (0, "abort")), ((4_990, "abort"),)])
async def test_connection_that_does_not_end_is_aborted(reads: tuple[tuple[int, str], ...]) -> None:
    async with relaying() as sides:
        sides.client.buffered = 5_000
        sides.relay.shutdown()
        for sides.client.buffered, ended in reads:
            sides.relay.client._check_end(sides.client)
            assert sides.client.ended == ended


@pytest.mark.bound("gateway.websocket:_END_S")
async def test_core_that_does_not_end_leaves_the_local_port_to_others() -> None:
    async with relaying() as sides:
        with socket.socket() as sock:
            sides.core.socket = sock
            sides.relay.shutdown()
            sides.relay.core._check_end(sides.core)
            linger = sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)
        assert (sides.core.ended, linger) == ("abort", struct.pack("ii", 1, 0))


async def test_unknown_key_state_and_removed_key_close_websockets() -> None:
    for outdated, code in ((True, 1011), (False, 1008)):
        websockets = WebSockets(KeyEnvironment.TEST, Clock(), Places(1), 3000, PATIENCE_S)
        with websockets.relay(RECORD, VerificationRequest(), instance("a")) as relay:
            transport = Transport()
            relay.client.connection_made(transport)
            await websockets.check(lambda: 3000, lambda *_: None)
            assert transport.written == b""
            if outdated:
                await websockets.check(lambda: 3001, lambda *_: None)
            else:
                websockets.key_changed(RECORD.id, None)
            assert transport.closes == [code]
            relay.client.connection_lost(None)
