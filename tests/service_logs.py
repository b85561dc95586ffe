"""The errors in the logs of the services that a test uses."""

import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

_LINES_MAX = 50


def logged_errors(fixtures: Iterable[Any]) -> str:
    """The last lines with a status of at least 500, or a level above `info`, in the logs that are
    fixtures, attributes of fixtures, or files below a folder that is a fixture. A line of the
    gateway contains the reason that Envoy gives.
    """
    lines = [
        line
        for log in {id(log): log for log in _logs(fixtures)}.values()
        for line in (log.read_text() if isinstance(log, Path) else log.getvalue().decode()).split(
            "\n"
        )
        if _is_error(line)
    ]
    return "\n".join(lines[-_LINES_MAX:])


def _logs(fixtures: Iterable[Any]) -> Iterator[Path | io.BytesIO]:
    for value in fixtures:
        for log in (value, getattr(value, "log", None)):
            if isinstance(log, io.BytesIO) or (isinstance(log, Path) and log.is_file()):
                yield log
            elif isinstance(log, Path):
                yield from log.rglob("*.log")


def _is_error(line: str) -> bool:
    try:
        entry = json.loads(line)
    except ValueError:
        return False
    if not isinstance(entry, dict):
        return False
    return entry.get("level") in ("warning", "error") or entry.get("status", 0) >= 500
