"""Reads the access log of Envoy, of which the line of a request is its completion.

Envoy writes a line to a pipe at the end of each request that the worker has allowed. The parent
process keeps the pipe open, so a worker that replaces another also reads the lines of the requests
that the other has allowed. A line contains neither a path nor a query.
"""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

from gatehouse.platform.envoy.admin import Admin
from gatehouse.platform.envoy.bootstrap import LOG_FIELDS
from gatehouse.services.gateway.completions import Completions, Line

_READ_BYTES = 262_144


def _line(text: bytes) -> Line:
    """Takes a third of the time of `msgspec.convert`. Raises ValueError for a malformed line."""
    fields = text.decode("latin-1").split(" ", len(LOG_FIELDS))
    kind, type_, request_id, key_id, status, flags, details, ms, before_us, core_us, *rest = (
        # Envoy writes a hyphen for an unknown value.
        ["" if field == "-" else field for field in fields]
    )
    attempts, upstream_sent, instance, received, sent, cause = rest
    return Line(
        kind,
        type_,
        request_id,
        key_id,
        int(status),
        flags,
        details,
        float(ms or 0),
        float(before_us) if before_us else None,
        float(core_us) if core_us else None,
        int(attempts or 0),
        int(upstream_sent),
        instance,
        int(received),
        int(sent),
        cause,
    )


@dataclass(slots=True, eq=False)
class PipeMetrics:
    """Publishes the lines that were lost, and those that wait in Envoy because a worker does not
    read its pipe. admin: None if another worker publishes the state of Envoy.
    """

    completions: Completions
    admin: Admin | None
    _failed: int = 0

    async def publish(self) -> None:
        completions, observer = self.completions, self.completions.observer
        lost, completions.lines_lost = completions.lines_lost, 0
        if self.admin is not None:
            text = (await self.admin.get("/stats?filter=^filesystem.write_")).decode()
            pairs = (line.partition(": ") for line in text.splitlines())
            values = {name: int(value) for name, _, value in pairs}
            failed = values.get("filesystem.write_failed", self._failed)
            lost += failed - self._failed
            self._failed = failed
            buffered = values.get("filesystem.write_total_buffered", 0)
            observer.publish({"CompletionsBufferedBytes": buffered}, "Bytes")
        observer.publish({"CompletionsLost": lost}, "Count")


class Pipe:
    """Reads the lines of Envoy from a pipe."""

    def __init__(self, path: Path, completions: Completions) -> None:
        self._completions = completions
        self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self._rest = b""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._descriptor, self.read)

    def read(self) -> bool:
        """Processes what is in the pipe. False if it is empty."""
        try:
            data = os.read(self._descriptor, _READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            return False
        lines, _, self._rest = (self._rest + data).rpartition(b"\n")
        for text in lines.splitlines():
            self._process(text)
        return True

    def _process(self, text: bytes) -> None:
        completions = self._completions
        try:
            line = _line(text)
        except ValueError:
            completions.observer.metrics.completions_malformed.inc()
            completions.lines_lost += 1
        else:
            completions.ended(line.request_id, line)

    async def expire(self) -> None:
        """Processes the lines, then ends the requests whose lines were lost."""
        while self.read():
            pass
        self._completions.expire()

    def close(self) -> None:
        """Processes the last lines."""
        while self.read():
            pass
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)
