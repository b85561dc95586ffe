"""The probe against real servers on this machine and an emulated CloudWatch."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest
from moto import mock_aws

from tests.runtime.functions.functions import load

NAMESPACE = "Gatehouse/dev"


probe = load("probe")


class Door(BaseHTTPRequestHandler):
    """Answers as its path says: /200, /503, /302; keeps what it was sent."""

    seen: list[tuple[str, dict[str, str]]] = []  # noqa: RUF012  one server a test, emptied by the fixture

    def do_GET(self) -> None:
        self.seen.append((self.path, dict(self.headers)))
        self.send_response(int(self.path.strip("/")))
        self.send_header("Location", "/200")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""


@pytest.fixture
def door() -> Iterator[str]:
    Door.seen.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def cloudwatch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name, value in (("DEFAULT_REGION", "eu-west-1"), ("ACCESS_KEY_ID", "testing"), ("SECRET_ACCESS_KEY", "testing")):
        monkeypatch.setenv(f"AWS_{name}", value)
    with mock_aws():
        yield boto3.client("cloudwatch")


def nobody() -> str:
    """An address at which nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}/200"


def up(cloudwatch: Any, door: str, metric: str = "DoorUp") -> list[float]:
    now = datetime.now(UTC)
    found = cloudwatch.get_metric_statistics(
        Namespace=NAMESPACE,
        MetricName=metric,
        Dimensions=[{"Name": "Door", "Value": door}],
        StartTime=now - timedelta(minutes=5),
        EndTime=now + timedelta(minutes=5),
        Period=600,
        Statistics=["Minimum"],
    )
    return [point["Minimum"] for point in found["Datapoints"]]


@pytest.mark.promise("ECS-09")
def test_each_door_is_counted_by_itself(cloudwatch: Any, door: str) -> None:
    doors = {"gate": f"{door}/200", "console": f"{door}/503", "share": nobody()}
    assert probe.handler({"namespace": NAMESPACE, "doors": doors}, None) == {"gate": True, "console": False, "share": False}
    assert [up(cloudwatch, name) for name in doors] == [[1.0], [0.0], [0.0]]
    assert all(0 <= value < probe.TIMEOUT_S for name in doors for value in up(cloudwatch, name, "DoorSeconds"))


def test_a_redirect_is_not_an_answer_and_is_not_followed(cloudwatch: Any, door: str) -> None:
    assert probe.handler({"namespace": NAMESPACE, "doors": {"gate": f"{door}/302"}}, None) == {"gate": False}
    assert [path for path, _ in Door.seen] == ["/302"]


def test_a_door_is_asked_without_any_credential(cloudwatch: Any, door: str) -> None:
    probe.handler({"namespace": NAMESPACE, "doors": {"gate": f"{door}/200"}}, None)
    ((_, headers),) = Door.seen
    assert {name.lower() for name in headers} <= {"host", "accept-encoding", "user-agent", "connection"}


def test_what_a_door_says_is_not_in_the_log(cloudwatch: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    probe.handler({"namespace": NAMESPACE, "doors": {"gate": nobody()}}, None)
    (line,) = [record.getMessage() for record in caplog.records if record.name == "gatehouse.probe"]
    assert '"door": "gate", "status": 0' in line
    assert '"why": "ConnectionRefusedError"' in line


@pytest.mark.parametrize("event", [{}, {"namespace": NAMESPACE, "doors": {}}, {"doors": {"gate": "http://127.0.0.1/"}}])
def test_an_event_without_doors_fails_the_function(event: dict[str, Any]) -> None:
    with pytest.raises(probe.NothingToAsk, match=r'the event must be \{"namespace": text, "doors": \{name: address\}\}'):
        probe.handler(event, None)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "gate.example.com", "https://"])
def test_what_is_no_address_of_the_web_fails_the_function(url: str) -> None:
    with pytest.raises(probe.NothingToAsk, match="is not an address that can be asked; allowed: http or https"):
        probe.ask(url)
