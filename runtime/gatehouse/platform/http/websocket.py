"""Checks WebSocket handshakes and frames, for a proxy that forwards frames without reading their
payload. Pure.

A frame that arrives in several parts is forwarded as several fragments, so that each part is
forwarded at once and a Close frame can follow at any time. An intermediary may change the
fragmentation of messages if no extension is negotiated (RFC 6455, section 5.4). The payload is
never unmasked: the masking key of a fragment is the key of its frame, rotated to the position of
the fragment.

Sources: RFC 6455, sections 4 (handshake), 5 (frames) and 7.4 (close codes).
"""

import base64
import binascii
import hashlib
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import NamedTuple

VERSION = "13"

#: Appended to the key of a handshake (RFC 6455, section 1.3).
_ACCEPT_SUFFIX = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY_BYTES = 16

_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_OPCODES = frozenset({_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG})
_FINAL, _RESERVED, _OPCODE, _MASKED = 0x80, 0x70, 0x0F, 0x80
_CONTROL_BYTES_MAX = 125
_REASON_BYTES_MAX = 123

#: Maximum number of frames without payload in a message, besides its last frame. They cost work and
#: transfer nothing.
_EMPTY_FRAMES_MAX = 16

#: Close codes that a frame may contain: RFC 6455, section 7.4.2, and the IANA registry.
_CODES = frozenset({*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)})


class CloseCode(IntEnum):
    """Close codes that the gateway sends or logs."""

    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    NO_STATUS = 1005  # never sent: the Close frame contains no code
    ABNORMAL = 1006  # never sent: the connection ended without a Close frame
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    TRY_AGAIN_LATER = 1013


class FrameError(Exception):
    """A frame that must not be forwarded, with the close code and a reason for its sender.
    `forwarded`: valid frames that were received before it."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.forwarded = b""


def handshake_problem(key: Sequence[str], version: Sequence[str]) -> str:
    """Sentence that explains why the values of Sec-WebSocket-Key and Sec-WebSocket-Version are
    invalid. Empty if they are valid, or if only the version is not supported."""
    if len(version) != 1:
        return "The header sec-websocket-version must be sent once."
    try:
        valid = len(key) == 1 and len(base64.b64decode(key[0], validate=True)) == _KEY_BYTES
    except (ValueError, binascii.Error):
        valid = False
    return (
        "" if valid else "The header sec-websocket-key must be sent once, with 16 bytes in base64."
    )


def accept_value(key: str) -> str:
    """Value of Sec-WebSocket-Accept for the Sec-WebSocket-Key of a request."""
    digest = hashlib.sha1(key.encode("ascii") + _ACCEPT_SUFFIX, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode("ascii")


def acceptance_problem(
    headers: Iterable[tuple[str, str]], key: str, protocols: Sequence[str]
) -> str:
    """Reason why a 101 response does not accept a handshake with this key. Empty if the response is
    valid.

    protocols: values of Sec-WebSocket-Protocol in the request. The request offered no extension.
    """
    fields = list(headers)

    def values(name: str) -> list[str]:
        return [value for field, value in fields if field == name]

    offered = _tokens(protocols)
    chosen = values("sec-websocket-protocol")
    if [value.lower() for value in values("upgrade")] != ["websocket"]:
        return "101 with a wrong Upgrade header"
    if "upgrade" not in _tokens(value.lower() for value in values("connection")):
        return "101 without Connection: upgrade"
    if values("sec-websocket-accept") != [accept_value(key)]:
        return "101 with a wrong Sec-WebSocket-Accept"
    if values("sec-websocket-extensions"):
        return "101 with an extension that was not offered"
    if len(chosen) > 1 or any(value not in offered for value in chosen):
        return "101 with a subprotocol that was not offered"
    if values("content-length") or values("transfer-encoding"):
        return "101 with a body"
    return ""


def _tokens(values: Iterable[str]) -> list[str]:
    return [part.strip() for value in values for part in value.split(",")]


def close_frame(code: int, reason: str, mask: bytes | None) -> bytes:
    """A Close frame, without payload if the code is NO_STATUS. `reason`: ASCII text. `mask`:
    masking key of 4 bytes, or None in a frame to a client."""
    payload = (
        b""
        if code == CloseCode.NO_STATUS
        else code.to_bytes(2, "big") + reason.encode("ascii")[:_REASON_BYTES_MAX]
    )
    head = bytes((_FINAL | _CLOSE, len(payload) | (0 if mask is None else _MASKED)))
    return head + payload if mask is None else head + mask + _masked(payload, mask)


def _masked(payload: bytes, mask: bytes) -> bytes:
    return bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


class _Header(NamedTuple):
    """Header of a frame. `payload`: position of the payload. `mask`: empty if the payload is not
    masked.
    """

    first: int
    payload: int
    length: int
    mask: bytes

    @property
    def opcode(self) -> int:
        return self.first & _OPCODE


class FrameChecker:
    def __init__(self, *, masked: bool, message_max_bytes: int) -> None:
        """masked: True for the frames of a client, which must be masked. message_max_bytes: maximum
        payload of a message.
        """
        self._masked = masked
        self._message_max_bytes = message_max_bytes
        self._held = b""  # an incomplete header or control frame, or the data that waits
        self._in_message = False
        self._message_bytes = 0
        self._empty_frames = 0
        # The data frame of which a part has not been received yet.
        self._remaining = 0
        self._first = 0
        self._mask = b""
        #: Code of the Close frame, after which nothing is forwarded; None until it is received.
        self.close_code: int | None = None
        #: Number of frames that have been checked.
        self.frames = 0
        #: True if received frames wait, because `frames_max` was reached. The next call of `feed`
        #: checks them.
        self.is_waiting = False

    def feed(self, data: bytes, frames_max: int) -> bytes:
        """Checks at most this number of frames in received bytes, and holds the rest.

        Returns the bytes to forward, which end at the end of a frame. Raises FrameError.
        """
        self.is_waiting = False
        if self.close_code is not None:
            return b""
        if self._held:
            data, self._held = self._held + data, b""
        forwarded: list[bytes] = []
        start = position = self._continue(data, 0, forwarded) if self._remaining else 0
        frames_end = self.frames + frames_max
        try:
            while (header := self._header(data, position)) is not None:
                if self.frames == frames_end:
                    self.is_waiting = True
                    break
                end = header.payload + header.length
                if end <= len(data):
                    self._check(header, data[header.payload : end])
                    position = end
                    if header.opcode == _CLOSE:
                        break
                elif header.opcode >= _CLOSE:
                    break
                else:
                    self._check(header)
                    forwarded.append(data[start:position])
                    self._first, self._mask, self._remaining = (
                        header.first,
                        header.mask,
                        header.length,
                    )
                    start = position = self._continue(data, header.payload, forwarded)
        except FrameError as exc:
            exc.forwarded = b"".join((*forwarded, data[start:position]))
            raise
        self._held = data[position:]
        return b"".join((*forwarded, data[start:position]))

    def discard(self) -> None:
        """Frees the data that waits, which otherwise waits for garbage collection."""
        self._held, self.is_waiting = b"", False

    def _continue(self, data: bytes, position: int, forwarded: list[bytes]) -> int:
        """Forwards the received part of an incomplete data frame as a fragment. Returns the
        position after the part.
        """
        part = data[position : position + self._remaining]
        if part:
            self._remaining -= len(part)
            final = self._first & _FINAL if not self._remaining else 0
            forwarded += (
                _fragment_header(final | (self._first & _OPCODE), len(part), self._mask),
                part,
            )
            self._first &= _FINAL  # the next fragment is a continuation
            shift = len(part) % 4
            self._mask = self._mask[shift:] + self._mask[:shift]
        return position + len(part)

    def _header(self, data: bytes, position: int) -> _Header | None:
        """The header at a position, or None if it is incomplete. Raises FrameError."""
        if len(data) < position + 2:
            return None
        first, second = data[position], data[position + 1]
        opcode, length = first & _OPCODE, second & ~_MASKED
        if first & _RESERVED or opcode not in _OPCODES:
            raise FrameError(CloseCode.PROTOCOL_ERROR, "a frame has a reserved bit or opcode")
        if bool(second & _MASKED) is not self._masked:
            raise FrameError(
                CloseCode.PROTOCOL_ERROR,
                "a frame must be masked" if self._masked else "a frame must not be masked",
            )
        if opcode >= _CLOSE and (length > _CONTROL_BYTES_MAX or not first & _FINAL):
            raise FrameError(CloseCode.PROTOCOL_ERROR, "a control frame is too long or fragmented")
        position += 2
        extended = {126: 2, 127: 8}.get(length, 0) if length > _CONTROL_BYTES_MAX else 0
        payload = position + extended + (4 if self._masked else 0)
        if len(data) < payload:
            return None
        if extended:
            length = int.from_bytes(data[position : position + extended], "big")
            if length <= (_CONTROL_BYTES_MAX if extended == 2 else 0xFFFF) or length >> 63:
                raise FrameError(
                    CloseCode.PROTOCOL_ERROR,
                    "the length of a frame is not encoded in the shortest form",
                )
        return _Header(first, payload, length, data[payload - 4 : payload] if self._masked else b"")

    def _check(self, header: _Header, payload: bytes = b"") -> None:
        """Checks a frame against the message in progress, and the code in a Close frame. Raises
        FrameError.
        """
        self.frames += 1
        if header.opcode == _CLOSE:
            self.close_code = _close_code(payload, header.mask)
        if header.opcode >= _CLOSE:
            return
        if (header.opcode == _CONTINUATION) is not self._in_message:
            raise FrameError(
                CloseCode.PROTOCOL_ERROR, "a frame does not continue the message in progress"
            )
        if not self._in_message:
            self._message_bytes = self._empty_frames = 0
        self._in_message = not header.first & _FINAL
        self._message_bytes += header.length
        self._empty_frames += self._in_message and not header.length
        if self._message_bytes > self._message_max_bytes:
            raise FrameError(
                CloseCode.MESSAGE_TOO_BIG,
                f"a message is larger than {self._message_max_bytes} bytes",
            )
        if self._empty_frames > _EMPTY_FRAMES_MAX:
            raise FrameError(
                CloseCode.POLICY_VIOLATION,
                f"a message has more than {_EMPTY_FRAMES_MAX} empty frames",
            )


def _fragment_header(first: int, length: int, mask: bytes) -> bytes:
    masked = _MASKED if mask else 0
    if length <= _CONTROL_BYTES_MAX:
        return bytes((first, masked | length)) + mask
    if length <= 0xFFFF:
        return bytes((first, masked | 126)) + length.to_bytes(2, "big") + mask
    return bytes((first, masked | 127)) + length.to_bytes(8, "big") + mask


def _close_code(payload: bytes, mask: bytes) -> int:
    if not payload:
        return CloseCode.NO_STATUS
    code = int.from_bytes(_masked(payload[:2], mask) if mask else payload[:2], "big")
    if len(payload) < 2 or code not in _CODES:
        raise FrameError(CloseCode.PROTOCOL_ERROR, "a Close frame has an invalid code")
    return code
