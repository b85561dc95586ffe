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
def service() -> Iterator[str]:
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


def up(cloudwatch: Any, service: str, metric: str = "ServiceUp") -> list[float]:
    now = datetime.now(UTC)
    found = cloudwatch.get_metric_statistics(
        Namespace=NAMESPACE,
        MetricName=metric,
        Dimensions=[{"Name": "Service", "Value": service}],
        StartTime=now - timedelta(minutes=5),
        EndTime=now + timedelta(minutes=5),
        Period=600,
        Statistics=["Minimum"],
    )
    return [point["Minimum"] for point in found["Datapoints"]]


@pytest.mark.requirement("ECS-09")
def test_each_service_is_counted_by_itself(cloudwatch: Any, service: str) -> None:
    services = {"gateway": f"{service}/200", "console": f"{service}/503", "sharing": nobody()}
    assert probe.handler({"namespace": NAMESPACE, "services": services}, None) == {
        "gateway": True,
        "console": False,
        "sharing": False,
    }
    assert [up(cloudwatch, name) for name in services] == [[1.0], [0.0], [0.0]]
    assert all(0 <= value < probe.TIMEOUT_S for name in services for value in up(cloudwatch, name, "ResponseSeconds"))


def test_a_redirect_is_not_an_answer_and_is_not_followed(cloudwatch: Any, service: str) -> None:
    assert probe.handler({"namespace": NAMESPACE, "services": {"gateway": f"{service}/302"}}, None) == {"gateway": False}
    assert [path for path, _ in Door.seen] == ["/302"]


def test_a_service_is_asked_without_any_credential(cloudwatch: Any, service: str) -> None:
    probe.handler({"namespace": NAMESPACE, "services": {"gateway": f"{service}/200"}}, None)
    ((_, headers),) = Door.seen
    assert {name.lower() for name in headers} <= {"host", "accept-encoding", "user-agent", "connection"}


def test_what_a_service_says_is_not_in_the_log(cloudwatch: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    probe.handler({"namespace": NAMESPACE, "services": {"gateway": nobody()}}, None)
    (line,) = [record.getMessage() for record in caplog.records if record.name == "gatehouse.probe"]
    assert '"service": "gateway", "status": 0' in line
    assert '"why": "ConnectionRefusedError"' in line


@pytest.mark.parametrize("event", [{}, {"namespace": NAMESPACE, "services": {}}, {"services": {"gateway": "http://127.0.0.1/"}}])
def test_an_event_without_services_fails_the_function(event: dict[str, Any]) -> None:
    with pytest.raises(probe.NothingToAsk, match=r'the event must be \{"namespace": text, "services": \{name: address\}\}'):
        probe.handler(event, None)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "gateway.example.com", "https://"])
def test_what_is_no_address_of_the_web_fails_the_function(url: str) -> None:
    with pytest.raises(probe.NothingToAsk, match="is not an address that can be asked; allowed: http or https"):
        probe.ask(url)
