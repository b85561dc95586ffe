"""Search in the logs: the same cases for log files and for CloudWatch Logs."""

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from gatehouse.core.errors import Unavailable
from gatehouse.features.operations import log_search
from gatehouse.features.operations.log_search import (
    CloudWatchLogs,
    FoundLines,
    LogQuery,
    LogStore,
    filter_pattern,
    log_store,
)
from moto import mock_aws

from tests.runtime.console_client import Console

GROUPS = ("/gatehouse/dev/gateway", "/gatehouse/dev/console")
#: CloudWatch accepts lines of the last 14 days.
NOON = int(time.time()) * 1000 - 60_000
HOUR = 3_600_000
#: Seconds before NOON, service and members of lines, of which the last is not structured.
LINES: tuple[tuple[float, str, dict[str, Any] | str], ...] = (
    (3599, "gateway", {"level": "debug", "event": "cache filled"}),
    (1800, "gateway", {"level": "error", "event": "usage", "error": "Unavailable: Überlast"}),
    (600, "console", {"level": "info", "event": "request", "path": "/v1/keys", "request_id": "r1"}),
    (599, "gateway", {"level": "warning", "event": "request", "key_id": "k1", "request_id": "r1"}),
    (1, "gateway", {"level": "info", "event": "request", "key_id": "k1", "code": "VALID"}),
    (1, "console", "Traceback (most recent call last):"),
)


def text_of(at: int, service: str, members: dict[str, Any] | str) -> str:
    if isinstance(members, str):
        return members
    ts = datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="microseconds")
    line = {"service": service, **members, "ts": ts.replace("+00:00", "Z")}
    return json.dumps(line, ensure_ascii=False, separators=(",", ":"))


@dataclass
class Logs:
    store: LogStore
    add: Callable[[int, str, str], None]

    def write(self, *lines: tuple[float, str, dict[str, Any] | str]) -> None:
        for seconds, service, members in lines:
            at = NOON - int(seconds * 1000)
            self.add(at, service, text_of(at, service, members))

    async def find(self, size: int = 50, **filters: Any) -> FoundLines:
        times = {"since": NOON - HOUR, "until": NOON}
        return await self.store.search(LogQuery(**{**times, **filters}), size)


@pytest.fixture
def aws(aws_credentials: None) -> Iterator[None]:
    with mock_aws():
        yield


@pytest.fixture(params=["files", "cloudwatch"])
def logs(request: pytest.FixtureRequest, tmp_path: Path, aws: None) -> Logs:
    if request.param == "files":

        def add_to_file(at: int, service: str, text: str) -> None:
            name = f"{service}.log" if at > NOON - HOUR // 2 else f"{service}.log.1"
            with (tmp_path / name).open("a") as file:
                file.write(f"{text}\n")

        return Logs(log_store(f"file:{tmp_path}"), add_to_file)
    client = boto3.client("logs", "eu-central-1")
    for group in GROUPS:
        client.create_log_group(logGroupName=group)
        client.create_log_stream(logGroupName=group, logStreamName="s")

    def put(at: int, service: str, text: str) -> None:
        client.put_log_events(
            logGroupName=f"/gatehouse/dev/{service}",
            logStreamName="s",
            logEvents=[{"timestamp": at, "message": text}],
        )

    return Logs(log_store(f"cloudwatch:{','.join(GROUPS)}"), put)


#: Filters, and the indexes in LINES of the lines that are found, newest first.
CASES: tuple[tuple[dict[str, Any], list[int]], ...] = (
    ({}, [4, 3, 2, 1, 0]),
    ({"level": "info"}, [4, 3, 2, 1]),
    ({"level": "warning"}, [3, 1]),
    ({"text": "Überlast"}, [1]),
    ({"text": "keys", "level": "info"}, [2]),
    ({"text": "gateway", "key_id": "k1"}, [4, 3]),
    ({"text": "k1"}, []),  # no part of the text
    ({"request_id": "r1"}, [3, 2]),
    ({"request_id": "r1", "key_id": "k1"}, [3]),
    ({"since": NOON - 600_000, "until": NOON - 1000}, [3, 2]),  # the end is exclusive
)


@pytest.mark.parametrize(("filters", "expected"), CASES)
async def test_lines_are_found_newest_first(
    logs: Logs, filters: dict[str, Any], expected: list[int]
) -> None:
    logs.write(*LINES)
    found = await logs.find(**filters)
    events = [{name: v for name, v in line.items() if name != "ts"} for line in found.lines]
    assert events == [{"service": LINES[i][1], **dict(LINES[i][2])} for i in expected]  # type: ignore[arg-type]
    assert found.searched_since == filters.get("since", NOON - HOUR)


async def test_pages_contain_each_line_once(logs: Logs) -> None:
    """Lines of the same millisecond are on one page."""
    logs.write(
        *((n // 3 + 1, GROUPS[n % 2][15:], {"level": "info", "event": f"{n}"}) for n in range(20))
    )
    until, events, sizes = NOON, list[str](), []
    while until > NOON - HOUR:
        page = await logs.find(size=5, until=until)
        events += [line["event"] for line in page.lines]
        sizes.append(len(page.lines))
        until = page.searched_since
    assert sorted(map(int, events)) == list(range(20))
    assert sizes[:3] == [6, 6, 6]


class FakeLogs:
    """CloudWatch Logs with a line in each millisecond, of which a call returns `lines_max`.

    Returns a token after each call that does not reach the end of its time range.
    """

    def __init__(self, lines_max: int) -> None:
        self.lines_max = lines_max
        self.calls: list[dict[str, Any]] = []

    def filter_log_events(self, **arguments: Any) -> dict[str, Any]:
        self.calls.append(arguments)
        first = int(arguments.get("nextToken", arguments["startTime"]))
        end = min(first + self.lines_max, arguments["endTime"] + 1)
        times = range(first, end)
        events = [
            {"timestamp": at, "message": text_of(at, "gateway", {"level": "info", "event": "e"})}
            for at in times
        ]
        return {
            "events": events,
            **({"nextToken": str(end)} if end <= arguments["endTime"] else {}),
        }


@pytest.mark.bound("operations.log_search:CALLS_MAX")
@pytest.mark.bound("operations.log_search:WINDOW_CALLS_MAX")
async def test_search_in_cloudwatch_is_bounded() -> None:
    logs = CloudWatchLogs(GROUPS[:1])
    logs.__dict__["_client"] = client = FakeLogs(lines_max=100)
    found = await logs.search(LogQuery(NOON - HOUR, NOON), 50)
    # Windows of 60 s and 6 s are not read to their end, and a window of 600 ms neither.
    assert len(client.calls) == 3 * log_search.WINDOW_CALLS_MAX + 1
    assert (len(found.lines), found.searched_since) == (50, NOON - 50)
    logs.__dict__["_client"] = client = FakeLogs(lines_max=0)
    found = await logs.search(LogQuery(NOON - HOUR, NOON), 50)
    assert log_search.CALLS_MAX <= len(client.calls) <= log_search.CALLS_MAX + 4
    assert (found.lines, found.searched_since < NOON) == ([], True)


async def test_missing_log_group_is_unavailable(aws: None) -> None:
    with pytest.raises(Unavailable) as caught:
        await CloudWatchLogs(GROUPS).search(LogQuery(NOON - HOUR, NOON), 1)
    assert (
        caught.value.detail == "CloudWatch Logs ResourceNotFoundException ResourceNotFoundException"
    )


_CONDITION = re.compile(r'\$\.(\w+) = "(\*?)([^"*]+)(\*?)"')


def selects(pattern: str, line: dict[str, Any]) -> bool:
    """Evaluates a pattern: conditions in alternatives, which are joined with &&. Source: CloudWatch
    Logs User Guide, "Filter pattern syntax", JSON log events."""
    assert re.fullmatch(r"\{ \(.+\)( && \(.+\))* \}", pattern)
    assert len(pattern) <= 1024
    terms = [term.split(" || ") for term in pattern[3:-3].split(") && (")]
    return all(any(_holds(condition, line) for condition in term) for term in terms)


def _holds(condition: str, line: dict[str, Any]) -> bool:
    match = _CONDITION.fullmatch(condition)
    assert match is not None, condition
    name, start, value, end = match.groups()
    expected = f"{'.*' * bool(start)}{re.escape(value)}{'.*' * bool(end)}"
    return name in line and re.fullmatch(expected, str(line[name])) is not None


@pytest.mark.parametrize(
    ("filters", "expected"), [case for case in CASES if "until" not in case[0]]
)
def test_pattern_selects_the_same_lines(filters: dict[str, Any], expected: list[int]) -> None:
    pattern = filter_pattern(LogQuery(NOON - HOUR, NOON, **filters))
    lines = [json.loads(text_of(NOON, service, members)) for _, service, members in LINES[:-1]]
    assert [i for i, line in enumerate(lines) if selects(pattern, line)] == sorted(expected)


def test_longest_pattern_is_within_the_limit() -> None:
    longest = LogQuery(0, 1, "debug", "x" * 60, "r" * 64, "k" * 64)
    assert selects(filter_pattern(longest), {}) is False


async def test_endpoint_returns_pages(console: Console, tmp_path: Path) -> None:
    now = int(console.clock.now() * 1000)
    lines = [
        text_of(
            now - n * 1000, "gateway", {"level": "debug", "event": f"{n}", "key_id": "k", "ms": n}
        )
        for n in range(1, 4)
    ]
    (tmp_path / "gateway.log").write_text("\n".join(lines))
    async with console.connect(logs=f"file:{tmp_path}") as client:
        first = (await client.get("/v1/log-lines", params={"limit": "2"})).json()
        query = {"limit": "2", "cursor": first["next_cursor"]}
        second = (await client.get("/v1/log-lines", params=query)).json()
        other = await client.get("/v1/log-lines", params={**query, "level": "error"})
    assert [line["event"] for line in first["lines"] + second["lines"]] == ["1", "2", "3"]
    assert first["lines"][0]["key_id"] == "k"
    assert (first["lines"][0]["fields"], first["lines"][0]["request_id"]) == ({"ms": 1}, None)
    assert (second["next_cursor"], other.status_code) == (None, 400)


@pytest.mark.parametrize(
    ("query", "location"),
    [
        ({"search": 'a" || $.level = "*'}, "query.search"),
        ({"request_id": 'r"'}, "query.request_id"),
        ({"since": "2030-01-01T00:00:00Z", "until": "2030-01-01T00:00:00Z"}, "query.since"),
        ({"since": "2030-01-01T00:00:00Z", "until": "2030-02-02T00:00:00Z"}, "query.since"),
    ],
)
async def test_invalid_search_is_rejected(
    console: Console, tmp_path: Path, query: dict[str, str], location: str
) -> None:
    async with console.connect(logs=f"file:{tmp_path}") as client:
        reply = await client.get("/v1/log-lines", params=query)
    assert (reply.status_code, reply.json()["errors"][0]["location"]) == (400, location)


async def test_missing_folder_is_reported(console: Console, tmp_path: Path) -> None:
    async with console.connect(logs=f"file:{tmp_path}/none") as client:
        reply = await client.get("/v1/log-lines")
    assert (reply.status_code, f"{tmp_path}/none" in reply.json()["detail"]) == (503, True)


async def test_search_without_the_setting_says_what_to_set(console: Console) -> None:
    reply = await console.get("/v1/log-lines")
    assert (reply.status_code, "Set GATEHOUSE_LOGS" in reply.json()["detail"]) == (404, True)
