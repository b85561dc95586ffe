"""Searches the structured logs of the services, newest first: in CloudWatch Logs, or in the log
files of a local environment.

The search in CloudWatch uses FilterLogEvents, and not Logs Insights, which bills the scanned data,
and whose results every principal with `logs:GetQueryResults` can read, because the action supports
no resources (Service Authorization Reference, Amazon CloudWatch Logs). FilterLogEvents returns the
oldest events first, so windows of time are read from the newest to the oldest.
"""

import asyncio
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, get_args

import msgspec

from gatehouse.core.errors import Unavailable
from gatehouse.core.log_levels import Level
from gatehouse.platform.aws import call, create_client
from gatehouse.platform.web.request_ids import requested_at

LEVELS: tuple[str, ...] = get_args(Level)
#: Members of a line in which the text of a search is looked up.
TEXT_MEMBERS = ("event", "detail", "error", "reason", "service", "route", "path", "code")
#: First window of a page in milliseconds, and the factor by which the next window is longer.
WINDOW_MS, _FACTOR = 60_000, 10
#: Maximum number of calls for a page and of calls for one window and group, each of which returns
#: at most 1 MB or 10,000 events, and the time after which no other window is read. FilterLogEvents
#: allows 5 calls per second in an account and region (AWS re:Post, "How do I determine throttling
#: in my CloudWatch logs?").
CALLS_MAX, WINDOW_CALLS_MAX, PAGE_S = 30, 4, 10.0
REQUEST_ID = re.compile(r"(?<![0-9A-Za-z])req_[0-9a-f]{26}(?![0-9A-Za-z])")
#: Time before and after the time in a request ID in which the lines of the request are searched,
#: in milliseconds. A line is written at the end of a request.
REQUEST_BEFORE_MS, REQUEST_AFTER_MS = 5000, 3_600_000

_decode = msgspec.json.Decoder(dict[str, Any]).decode
#: Time in Unix milliseconds, and the members of a line.
Line = tuple[int, dict[str, Any]]


class LogQuery(msgspec.Struct, frozen=True):
    """Filters of a search. since: inclusive, until: exclusive, in Unix milliseconds. level: minimum
    level. text: part of one of TEXT_MEMBERS; case matters.
    """

    since: int
    until: int
    level: Level = "debug"
    text: str = ""
    request_id: str = ""
    key_id: str = ""

    @property
    def levels(self) -> tuple[str, ...]:
        return LEVELS[LEVELS.index(self.level) :]

    @property
    def equal(self) -> dict[str, str]:
        members = {"request_id": self.request_id, "key_id": self.key_id}
        return {name: value for name, value in members.items() if value}

    def matches(self, line: Line) -> bool:
        at, members = line
        return (
            self.since <= at < self.until
            and members.get("level") in self.levels
            and all(members.get(name) == value for name, value in self.equal.items())
            and (not self.text or any(self.text in str(members.get(m, "")) for m in TEXT_MEMBERS))
        )


class FoundLines(msgspec.Struct, frozen=True):
    """Matching lines, newest first. searched_since: start of the time that was searched."""

    lines: list[dict[str, Any]]
    searched_since: int


class LogStore(Protocol):
    """Logs that can be searched."""

    async def search(self, query: LogQuery, size: int) -> FoundLines:
        """Find the newest matching lines: about `size`, because lines of the same millisecond stay
        on one page. Raises Unavailable."""


def times_of_request(request_id: str, now: float) -> tuple[int, int]:
    """The time, in Unix milliseconds, in which the lines of a request are searched."""
    at = requested_at(request_id)
    since = max(at - REQUEST_BEFORE_MS, 0)
    return since, max(since, min(at + REQUEST_AFTER_MS, int(now * 1000))) + 1


def log_store(location: str) -> LogStore:
    """The logs at the value of GATEHOUSE_LOGS, which is not empty."""
    kind, _, rest = location.partition(":")
    return CloudWatchLogs(rest.split(",")) if kind == "cloudwatch" else LogFiles(Path(rest))


class LogFiles:
    """Log files in a folder, such as gateway.log, and their predecessors, such as gateway.log.1.
    The local environment bounds their size.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def search(self, query: LogQuery, size: int) -> FoundLines:
        return await asyncio.to_thread(self._search, query, size)

    def _search(self, query: LogQuery, size: int) -> FoundLines:
        needles = [text.encode() for text in ('"level":', *query.equal.values(), query.text)]
        found: list[Line] = []
        if not self._folder.is_dir():
            raise Unavailable(f"The folder {self._folder} in GATEHOUSE_LOGS does not exist.")
        for file in sorted(self._folder.glob("*.log*")):
            with suppress(FileNotFoundError), file.open("rb") as texts:
                candidates = (text for text in texts if all(part in text for part in needles))
                found += [line for line in map(_line, candidates) if line and query.matches(line)]
        return _page(found, size, query.since)


class CloudWatchLogs:
    """Log groups in CloudWatch Logs."""

    def __init__(self, groups: Sequence[str]) -> None:
        self._groups = groups

    @cached_property
    def _client(self) -> Any:
        return create_client("logs", timeout_s=5, attempts=4)

    async def search(self, query: LogQuery, size: int) -> FoundLines:
        found, until, width, calls = list[Line](), query.until, WINDOW_MS, 0
        end = time.monotonic() + PAGE_S
        while until > query.since and len(found) < size:
            if calls >= CALLS_MAX or time.monotonic() > end:
                break
            window = msgspec.structs.replace(
                query, since=max(query.since, until - width), until=until
            )
            lines, count, complete = await self._read(window)
            calls += count
            if complete or width == 1:
                found += lines
                until, width = window.since, width * _FACTOR
            else:
                width = max(width // _FACTOR, 1)
        return _page(found, size, until)

    async def _read(self, window: LogQuery) -> tuple[list[Line], int, bool]:
        """The lines in a window, the number of calls, and whether these are all lines."""
        found, calls, complete = list[Line](), 0, True
        for group in self._groups:
            token: dict[str, str] = {}
            for _ in range(WINDOW_CALLS_MAX):
                reply = await call(
                    self._client.filter_log_events,
                    "CloudWatch Logs",
                    logGroupName=group,
                    startTime=window.since,
                    endTime=window.until - 1,
                    filterPattern=filter_pattern(window),
                    **token,
                )
                calls += 1
                lines = (_line(item["message"], item["timestamp"]) for item in reply["events"])
                found += [line for line in lines if line and window.matches(line)]
                token = {"nextToken": reply["nextToken"]} if reply.get("nextToken") else {}
                if not token:
                    break
            complete = complete and not token
        return found, calls, complete


def filter_pattern(query: LogQuery) -> str:
    """The pattern of CloudWatch Logs for a query. Source: CloudWatch Logs User Guide, "Filter
    pattern syntax", JSON log events. The text contains none of the characters with a meaning.
    """
    terms = [" || ".join(f'$.level = "{level}"' for level in query.levels)]
    terms += [f'$.{name} = "{value}"' for name, value in query.equal.items()]
    if query.text:
        terms.append(" || ".join(f'$.{name} = "*{query.text}*"' for name in TEXT_MEMBERS))
    return f"{{ {' && '.join(f'({term})' for term in terms)} }}"


def _line(text: str | bytes, at: int | None = None) -> Line | None:
    """A line of a service. None: the text is another line, such as of a traceback. at: time of the
    line in CloudWatch, by which it selects lines."""
    try:
        members = _decode(text)
        written = int(datetime.fromisoformat(members["ts"]).timestamp() * 1000)
    except (msgspec.DecodeError, KeyError, TypeError, ValueError):
        return None
    return (written if at is None else at), members


def _page(found: list[Line], size: int, searched_since: int) -> FoundLines:
    found.sort(key=lambda line: (line[0], line[1]["ts"]), reverse=True)
    if len(found) > size:
        searched_since = found[size - 1][0]
    lines = [members for at, members in found if at >= searched_since]
    return FoundLines(lines, searched_since)
