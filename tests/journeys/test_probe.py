"""The deployed probe requests the running services."""

import json

import pytest

from tests.journeys.conftest import Running


@pytest.mark.requirement("ECS-09")
def test_probe_gets_200_from_every_service(running: Running) -> None:
    lines = [
        json.loads(line[line.index("{") :])
        for line in (running.home / "logs" / "probe.log").read_text().splitlines()
    ]
    assert {line["service"]: line["status"] for line in lines} == {
        "gateway": 200,
        "console": 200,
        "sharing": 200,
    }
