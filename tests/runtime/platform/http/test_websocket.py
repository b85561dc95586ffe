"""WebSocket handshakes and frames, compared with `websockets`."""

import itertools
from collections.abc import Sequence

import pytest
from gatehouse.platform.http.websocket import (
    CloseCode,
    FrameChecker,
    FrameError,
    acceptance_problem,
    close_frame,
    handshake_problem,
)
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Close, Frame, Opcode
from websockets.streams import StreamReader

MAX = 1_000
ALL = 1_000_000
KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455, section 1.3
ACCEPTED = [
    ("upgrade", "WebSocket"),
    ("connection", "keep-alive, Upgrade"),
    ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
]


def encoded(*frames: Frame, mask: bool = True) -> bytes:
    return b"".join(frame.serialize(mask=mask) for frame in frames)


def decoded(data: bytes, *, mask: bool = True) -> list[Frame]:
    reader = StreamReader()
    reader.feed_data(data)
    frames = []
    while reader.buffer:
        parsing = Frame.parse(reader.read_exact, mask=mask)
        with pytest.raises(StopIteration) as parsed:
            next(parsing)
        frames.append(parsed.value.value)
    return frames


def messages(frames: Sequence[Frame]) -> list[tuple[Opcode, bytes]]:
    result: list[tuple[Opcode, bytes]] = []
    parts: list[Frame] = []
    for frame in frames:
        if frame.opcode >= Opcode.CLOSE:
            result.append((frame.opcode, bytes(frame.data)))
            continue
        assert (frame.opcode is Opcode.CONT) is bool(parts)
        parts.append(frame)
        if frame.fin:
            result.append((parts[0].opcode, b"".join(bytes(part.data) for part in parts)))
            parts = []
    return result


def text(data: bytes, *, fin: bool = True) -> Frame:
    return Frame(Opcode.TEXT, data, fin=fin)


def continuation(data: bytes, *, fin: bool = True) -> Frame:
    return Frame(Opcode.CONT, data, fin=fin)


@pytest.mark.parametrize(
    ("key", "version", "word"),
    [
        ([KEY], ["13"], ""),
        ([KEY], ["8"], ""),
        ([], ["13"], "key"),
        ([KEY, KEY], ["13"], "key"),
        (["short"], ["13"], "key"),
        (["é" * 24], ["13"], "key"),
        ([KEY], [], "version"),
        ([KEY], ["13", "13"], "version"),
    ],
)
def test_handshake_headers_are_checked(key: list[str], version: list[str], word: str) -> None:
    problem = handshake_problem(key, version)
    assert (word in problem) if word else problem == ""


@pytest.mark.parametrize(
    ("headers", "valid"),
    [
        (ACCEPTED, True),
        ([*ACCEPTED, ("sec-websocket-protocol", "b")], True),
        ([*ACCEPTED, ("sec-websocket-protocol", "c")], False),
        ([*ACCEPTED, ("sec-websocket-protocol", "a"), ("sec-websocket-protocol", "b")], False),
        ([*ACCEPTED, ("sec-websocket-extensions", "permessage-deflate")], False),
        ([*ACCEPTED, ("content-length", "0")], False),
        ([*ACCEPTED, ACCEPTED[2]], False),
        ([*ACCEPTED[:2], ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOa=")], False),
        (ACCEPTED[:2], False),
        (ACCEPTED[1:], False),
        ([ACCEPTED[0], ACCEPTED[2]], False),
        ([("upgrade", "h2c"), *ACCEPTED[1:]], False),
    ],
)
def test_acceptance_is_checked(headers: list[tuple[str, str]], valid: bool) -> None:
    assert (acceptance_problem(headers, KEY, ["a, b"]) == "") is valid


def checking(*, masked: bool = True) -> FrameChecker:
    return FrameChecker(masked=masked, message_max_bytes=MAX)


def error_of(checker: FrameChecker, data: bytes) -> FrameError:
    with pytest.raises(FrameError) as caught:
        checker.feed(data, ALL)
    return caught.value


FRAMES = (
    text(b"hello"),
    text(b"a" * 40, fin=False),
    Frame(Opcode.PING, b"ping"),
    continuation(b"b" * 150, fin=False),
    continuation(b"", fin=True),
    Frame(Opcode.BINARY, bytes(range(256)) * 3),
    Frame(Opcode.PONG, b""),
    text(b""),
    Frame(Opcode.CLOSE, Close(4000, "done").serialize()),
)


@pytest.mark.parametrize("mask", [True, False])
def test_whole_frames_are_forwarded_unchanged(mask: bool) -> None:
    data = encoded(*FRAMES, mask=mask)
    checker = checking(masked=mask)
    assert checker.feed(data, ALL) == data
    assert checker.close_code == 4000


@given(st.lists(st.integers(0, 1300), max_size=12), st.booleans(), st.integers(1, 3) | st.just(ALL))
def test_messages_survive_any_split_of_the_bytes(
    cuts: list[int], mask: bool, frames_max: int
) -> None:
    data = encoded(*FRAMES, mask=mask)
    checker = checking(masked=mask)
    bounds = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    forwarded: list[Frame] = []
    for start, end in itertools.pairwise(bounds):
        # Each part ends at the end of a frame.
        forwarded += decoded(checker.feed(data[start:end], frames_max), mask=mask)
    while checker.is_waiting:
        forwarded += decoded(checker.feed(b"", frames_max), mask=mask)
    assert messages(forwarded) == messages(FRAMES)


def test_parts_of_a_frame_are_forwarded_at_once() -> None:
    data = encoded(text(b"0123456789"))
    checker = checking()
    parts = [decoded(checker.feed(data[start : start + 1], ALL)) for start in range(len(data))]
    assert [[bytes(frame.data) for frame in part] for part in parts] == [[]] * 6 + [
        [b"%d" % digit] for digit in range(10)
    ]


def test_nothing_follows_a_close_frame() -> None:
    close = encoded(Frame(Opcode.CLOSE, b""))
    checker = checking()
    assert checker.feed(close + encoded(text(b"late")), ALL) == close
    assert checker.feed(encoded(text(b"later")), ALL) == b""
    assert checker.close_code == CloseCode.NO_STATUS


INVALID = {
    "reserved bit": b"\xc1\x80\0\0\0\0",
    "reserved opcode": b"\x83\x80\0\0\0\0",
    "not masked": encoded(text(b"a"), mask=False),
    "fragmented ping": b"\x09\x80\0\0\0\0",
    "long ping": b"\x89\xfe\x00\x7e\0\0\0\0",
    "continuation of nothing": encoded(continuation(b"a")),
    "message in a message": encoded(text(b"a", fin=False), text(b"b")),
    "length in two bytes": b"\x81\xfe\x00\x7d\0\0\0\0",
    "length in eight bytes": b"\x81\xff\x00\x00\x00\x00\x00\x00\xff\xff\0\0\0\0",
    "negative length": b"\x81\xff\xff\x00\x00\x00\x00\x00\x00\x00\0\0\0\0",
    "close code of one byte": encoded(Frame(Opcode.CLOSE, b"\x03")),
    "reserved close code": encoded(Frame(Opcode.CLOSE, (1005).to_bytes(2, "big"))),
}


@pytest.mark.bound("http.websocket:_CONTROL_BYTES_MAX")
@pytest.mark.parametrize("data", INVALID.values(), ids=INVALID)
def test_invalid_frames_are_rejected(data: bytes) -> None:
    assert error_of(checking(), data).code is CloseCode.PROTOCOL_ERROR


def test_masked_frame_of_a_server_is_rejected() -> None:
    error = error_of(checking(masked=False), encoded(text(b"a")))
    assert error.code is CloseCode.PROTOCOL_ERROR


def test_message_size_counts_all_fragments() -> None:
    checker = checking()
    for _ in range(2):
        checker.feed(encoded(text(bytes(MAX))), ALL)
        checker.feed(
            encoded(
                text(bytes(600), fin=False),
                Frame(Opcode.PING, bytes(125)),
                continuation(bytes(400)),
            ),
            ALL,
        )
    checker.feed(encoded(text(bytes(600), fin=False)), ALL)
    error = error_of(checker, encoded(continuation(bytes(401), fin=False)))
    assert error.code is CloseCode.MESSAGE_TOO_BIG


def test_size_is_checked_before_the_payload_arrives() -> None:
    error = error_of(checking(), encoded(text(bytes(MAX + 1)))[:8])
    assert error.code is CloseCode.MESSAGE_TOO_BIG


def test_frames_before_an_invalid_frame_are_forwarded() -> None:
    first = encoded(text(b"a"), text(b"b"))
    assert error_of(checking(), first + encoded(continuation(b"c"))).forwarded == first


def pings(count: int) -> list[Frame]:
    return [Frame(Opcode.PING, b"%d" % number) for number in range(count)]


@pytest.mark.parametrize("mask", [True, False])
def test_frames_beyond_the_maximum_wait(mask: bool) -> None:
    whole, last = encoded(*pings(5), mask=mask), encoded(text(b""), mask=mask)
    checker = checking(masked=mask)
    parts = [checker.feed(whole + last[:-1], 3), checker.feed(b"", 2), checker.feed(b"", 2)]
    assert b"".join(parts) == whole
    assert [len(decoded(part, mask=mask)) for part in parts] == [3, 2, 0]
    assert (checker.frames, checker.is_waiting) == (5, False)
    assert checker.feed(last[-1:], 1) == last


@pytest.mark.parametrize(("frames_max", "waiting"), [(0, True), (1, True), (2, False), (3, False)])
def test_frames_wait_only_beyond_the_maximum(frames_max: int, waiting: bool) -> None:
    checker = checking()
    assert len(decoded(checker.feed(encoded(*pings(2)), frames_max))) == min(frames_max, 2)
    assert checker.is_waiting is waiting


@pytest.mark.bound("http.websocket:_EMPTY_FRAMES_MAX")
def test_frames_without_payload_are_limited_in_each_message() -> None:
    checker = checking()
    empty = [continuation(b"", fin=False)] * 15
    message = encoded(text(b"", fin=False), *empty, Frame(Opcode.PING, b""), continuation(b"end"))
    assert checker.feed(message * 2, ALL) == message * 2
    checker.feed(encoded(text(b"", fin=False), *empty), ALL)
    assert error_of(checker, encoded(*empty[:1])).code is CloseCode.POLICY_VIOLATION


@pytest.mark.parametrize("mask", [None, b"\x01\x02\x03\x04"])
def test_close_frame(mask: bytes | None) -> None:
    (frame,) = decoded(
        close_frame(CloseCode.POLICY_VIOLATION, "the key was revoked", mask), mask=mask is not None
    )
    assert (frame.opcode, Close.parse(bytes(frame.data))) == (
        Opcode.CLOSE,
        Close(1008, "the key was revoked"),
    )
