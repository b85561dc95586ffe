"""Follows the logs of a deployed stack (CloudWatch Logs) or of the running sandbox (log files)."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from release.stack_file import ROOT, Stack

POLL_S = 2.0
HISTORY_S = 600


def follow_cloudwatch(stack: Stack, process: str) -> Iterator[str]:
    """Lines of the log group `/gatehouse/<env>/<process>`, starting ten minutes ago. Never ends.
    Raises ClientError.
    """
    client = stack.client("logs")
    since_ms = int((time.time() - HISTORY_S) * 1000)
    printed: set[str] = set()
    while True:
        pages = client.get_paginator("filter_log_events").paginate(
            logGroupName=f"/gatehouse/{stack.name}/{process}", startTime=since_ms
        )
        newest_ms = since_ms
        ids: set[str] = set()
        for page in pages:
            for event in page["events"]:
                newest_ms = max(newest_ms, event["timestamp"])
                ids.add(event["eventId"])
                if event["eventId"] not in printed:
                    yield event["message"].rstrip("\n")
        # The next call returns the events from the newest millisecond again.
        since_ms, printed = newest_ms, ids
        time.sleep(POLL_S)


def follow_files(folder: Path = ROOT / ".gatehouse" / "logs") -> Iterator[str]:
    """Lines of every `*.log` in `folder`, prefixed with the file name. Never ends. Raises
    ValueError if the folder has no log files."""
    files: dict[Path, Any] = {}
    if not any(folder.glob("*.log")):
        raise ValueError(
            "the sandbox is not running. To start it, run: make up. For a deployed stack, run: "
            "make logs ENV=dev"
        )
    try:
        while True:
            for path in sorted(folder.glob("*.log")):
                if path not in files:
                    files[path] = path.open(encoding="utf-8", errors="replace")
                if path.stat().st_size < files[path].tell():  # the file was rotated
                    files[path].seek(0)
                for line in files[path]:
                    yield f"{path.stem:<8} {line.rstrip()}"
            time.sleep(0.5)
    finally:
        for file in files.values():
            file.close()
