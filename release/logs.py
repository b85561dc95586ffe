"""Following logs: those of a deployed stack from CloudWatch Logs, or those of the running sandbox from its files."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3

from release.preflight import ROOT, Stack

POLL_S = 2.0


def follow_cloudwatch(stack: Stack, process: str) -> Iterator[str]:
    """Lines of `/gatehouse/<env>/<process>`, from ten minutes ago on, for ever. Raises botocore's ClientError."""
    client = boto3.client("logs", region_name=stack.region)
    since_ms = int((time.time() - 600) * 1000)
    seen: set[str] = set()
    while True:
        pages = client.get_paginator("filter_log_events").paginate(
            logGroupName=f"/gatehouse/{stack.name}/{process}", startTime=since_ms
        )
        newest = since_ms
        fresh: set[str] = set()
        for page in pages:
            for event in page["events"]:
                newest = max(newest, event["timestamp"])
                fresh.add(event["eventId"])
                if event["eventId"] not in seen:
                    yield event["message"].rstrip("\n")
        # Events of the newest millisecond come again with the next call: remember only what can.
        since_ms, seen = newest, fresh
        time.sleep(POLL_S)


def follow_files(folder: Path = ROOT / ".gatehouse" / "logs") -> Iterator[str]:
    """Lines of every `*.log` in `folder`, prefixed with the file's name. Raises ValueError when there are none."""
    files: dict[Path, Any] = {}
    if not any(folder.glob("*.log")):
        raise ValueError("nothing is running here; type: make up, or name a deployed stack: make logs ENV=dev")
    try:
        while True:
            for path in sorted(folder.glob("*.log")):
                if path not in files:
                    files[path] = path.open(encoding="utf-8", errors="replace")
                for line in files[path]:
                    yield f"{path.stem:<8} {line.rstrip()}"
            time.sleep(0.5)
    finally:
        for file in files.values():
            file.close()
