"""The log line of each request: written in the form of every other line, and many of them in one write.

A line by itself for each request cost a fifth of the gateway's time at saturation, half of it the write itself (py-spy). Here a
line is encoded straight from its fields and waits FLUSH_S for company. Other lines push waiting ones out first, so the order
stays; the end of a worker does too. What `kill -9` takes is at most the last FLUSH_S."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import BinaryIO

import msgspec

#: Seconds that a line waits for others at the most, and bytes that are written without waiting.
FLUSH_S = 0.01


FLUSH_BYTES = 65_536


DEBUG, INFO, WARNING, ERROR = 10, 20, 30, 40


RANK = {"debug": DEBUG, "info": INFO, "warning": WARNING, "error": ERROR}


class RequestLine(msgspec.Struct, omit_defaults=True, gc=False):
    """`path` is without the query, which a careless client may have put a key into. `ms`: time to answer, in milliseconds."""

    environment: str
    request_id: str
    service: str
    method: str
    route: str
    path: str
    status: int
    ms: float
    key_id: str | None
    code: str | None
    event: str
    level: str
    ts: str
    detail: str = ""


class Stream:
    """What log lines are written to: those of requests wait a moment, all others go out at once behind them."""

    def __init__(self, out: BinaryIO | None = None) -> None:
        self._out: BinaryIO = sys.stdout.buffer if out is None else out
        self._waiting = bytearray()
        self._timer: asyncio.TimerHandle | None = None
        self._encoder = msgspec.json.Encoder()
        self._second = 0
        self._clock = ""

    def request(self, line: RequestLine) -> None:
        """Takes a line; without a running event loop it is written at once."""
        self._waiting += self._encoder.encode(line)
        self._waiting += b"\n"
        if len(self._waiting) >= FLUSH_BYTES:
            self.flush()
        elif self._timer is None:
            try:
                self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self.flush)
            except RuntimeError:
                self.flush()

    def write(self, data: bytes) -> int:
        """Any other line, as structlog writes it; it is out when `flush` was called."""
        self._waiting += data
        return len(data)

    def flush(self) -> None:
        """Writes what waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting:
            data, self._waiting = bytes(self._waiting), bytearray()
            self._out.write(data)
            self._out.flush()

    def now(self) -> str:
        """The time as every line has it: RFC 3339 in UTC with microseconds."""
        seconds = time.time()
        second = int(seconds)
        if second != self._second:
            self._second, self._clock = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._clock}.{int((seconds - second) * 1_000_000):06d}Z"
