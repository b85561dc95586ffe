"""The deployed probe asks the running doors, under its own role."""

from __future__ import annotations

import json

import pytest

from tests.journeys.conftest import Running


@pytest.mark.requirement("ECS-09")
def test_every_door_that_runs_was_asked_from_outside_and_answered(running: Running) -> None:
    """That each answer is counted is in tests/runtime/functions/test_probe.py; that the role may, in test_permissions.py."""
    lines = [json.loads(line[line.index("{") :]) for line in (running.home / "logs" / "probe.log").read_text().splitlines()]
    assert {line["service"]: line["status"] for line in lines} == {"gateway": 200, "console": 200, "sharing": 200}
