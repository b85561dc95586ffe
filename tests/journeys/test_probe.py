"""The deployed probe requests the running services."""

import json

from tests.journeys.conftest import UP_OUTPUT, Running


def test_probe_gets_200_from_every_service(running: Running) -> None:
    lines = [
        json.loads(line[line.index("{") :])
        for line in (running.home / "logs" / "probe.log").read_text().splitlines()
    ]
    statuses = {line["service"]: line["status"] for line in lines if "service" in line}
    assert statuses == {"gateway": 200, "console": 200, "sharing": 200}
    assert [line["problem"] for line in lines if line.get("event") == "canary key used"] == [""]


def test_up_reports_the_use_of_the_canary_key(running: Running) -> None:
    output = (running.home / UP_OUTPUT).read_text()
    assert "verified the canary key, and sent a request with it to a Core" in output
