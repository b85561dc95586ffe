"""The synthetic probe against local servers."""

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
from cryptography import x509
from gatehouse.platform.tracing import context
from moto import mock_aws

from tests import certificates, http_servers
from tests.runtime.functions.function_loader import load

NAMESPACE = "Gatehouse/dev"
# AWS X-Ray Developer Guide, "Tracing header".
TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"


probe = load("probe")


class StatusHandler(http_servers.Handler):
    requests: list[tuple[str, dict[str, str]]] = []  # noqa: RUF012  one server per test; the fixture clears the list

    def do_GET(self) -> None:
        self.requests.append((self.path, dict(self.headers)))
        self.send_response(int(self.path.strip("/")))
        self.send_header("Location", "/200")
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture
def service() -> Iterator[str]:
    StatusHandler.requests.clear()
    with http_servers.serving(StatusHandler) as url:
        yield url


@pytest.fixture(autouse=True)
def _aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with mock_aws():
        yield


def published(output: pytest.CaptureFixture[str]) -> dict[str, dict[str, float]]:
    """Values in the lines for which CloudWatch creates metrics, by service and metric."""
    values = dict[str, dict[str, float]]()
    for line in map(json.loads, output.readouterr().out.splitlines()):
        (directive,) = line.pop("_aws")["CloudWatchMetrics"]
        assert (directive["Namespace"], directive["Dimensions"]) == (NAMESPACE, [["Service"]])
        metrics = values.setdefault(line.pop("Service"), {})
        assert line.keys() == {metric["Name"] for metric in directive["Metrics"]}
        metrics |= line
    return values


@pytest.mark.alarm_triggered("*-unreachable")
def test_probe_publishes_metrics_per_service(
    service: str, closed_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    services = {
        "gateway": f"{service}/200",
        "console": f"{service}/503",
        "sharing": f"http://127.0.0.1:{closed_port}/200",
    }
    assert probe.handler({"namespace": NAMESPACE, "services": services}, None) == {
        "gateway": True,
        "console": False,
        "sharing": False,
    }
    lines = published(capsys)
    assert [lines[name]["ServiceUp"] for name in services] == [1.0, 0.0, 0.0]
    assert all(0 <= lines[name]["ResponseSeconds"] < probe.TIMEOUT_S for name in services)


def test_probe_publishes_when_the_certificate_of_clients_expires(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    context = certificates.server_context(tmp_path, "localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), StatusHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with http_servers.running(server) as url:
        local = f"https://localhost:{url.rpartition(':')[2]}"
        services = {"gateway": f"{local}/200", "console": f"{local}/503"}
        probe.handler({"namespace": NAMESPACE, "services": services}, None)
    lines = published(capsys)
    text = (tmp_path / "certificate.pem").read_bytes()
    expires_at = x509.load_pem_x509_certificate(text).not_valid_after_utc
    days = (expires_at - datetime.now(UTC)) / timedelta(days=1)
    assert lines["gateway"]["CertificateDays"] == pytest.approx(days, abs=0.1)


TOKEN, NEXT_TOKEN, SECRET = "gtk_test_token", "gtk_test_next", "gatehouse/dev/canary-key"


class GatewayHandler(http_servers.Handler):
    """Verifies the token of the fixture, and responds like the Core of the gateway. changes: of the
    responses, keyed by path.
    """

    changes: dict[str, dict[str, Any]] = {}  # noqa: RUF012  the fixture clears it

    def do_GET(self) -> None:
        self.respond(self.changes.get(self.path, {}).get("status", 200), b"")

    def do_POST(self) -> None:
        body = self.body()
        if self.path == "/verify":
            valid = json.loads(body) == {"token": TOKEN}
            reply = {"valid": valid, "code": "VALID" if valid else "NOT_FOUND"}
        else:
            has_key = self.headers["Authorization"] == f"Bearer {TOKEN}"
            reply = {"sha256": hashlib.sha256(body).hexdigest()} if has_key else {}
            reply |= {"host": self.headers["Host"], "scheme": "http"}
        reply |= self.changes.get(self.path, {})
        self.respond(reply.pop("status", 200), json.dumps(reply).encode())


@pytest.fixture
def canary() -> Iterator[dict[str, Any]]:
    """The event of a stack with a canary key."""
    GatewayHandler.changes.clear()
    manager = boto3.client("secretsmanager")
    manager.create_secret(Name=SECRET, SecretString=f"{TOKEN} {NEXT_TOKEN}")
    with http_servers.serving(GatewayHandler) as url:
        yield {
            "namespace": NAMESPACE,
            "services": {"gateway": f"{url}/200"},
            "canary": {"name": SECRET, "verify": f"{url}/verify", "echo": f"{url}/echo"},
        }


def test_probe_uses_the_older_token_of_the_canary_key(
    canary: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert probe.handler(canary, None) == {"gateway": True, "canary": True}
    assert published(capsys)["gateway"]["CanaryKeyUp"] == 1.0


@pytest.mark.alarm_triggered("heartbeat")
@pytest.mark.parametrize("path", ["200", "503"])
def test_heartbeat_in_another_region_says_whether_all_is_up(
    canary: dict[str, Any], path: str
) -> None:
    canary["services"] = {"gateway": f"{canary['services']['gateway'][:-3]}{path}"}
    GatewayHandler.changes["/503"] = {"status": 503}
    probe.handler({**canary, "heartbeat": "eu-central-1"}, None)
    now = datetime.now(UTC)
    client = boto3.client("cloudwatch", region_name="eu-central-1")
    points = client.get_metric_statistics(
        Namespace=NAMESPACE,
        MetricName="Heartbeat",
        Dimensions=[{"Name": "Service", "Value": "gateway"}],
        StartTime=now - timedelta(minutes=5),
        EndTime=now + timedelta(minutes=5),
        Period=600,
        Statistics=["Minimum"],
    )["Datapoints"]
    assert [point["Minimum"] for point in points] == [float(path == "200")]


def test_lost_region_of_the_heartbeat_does_not_fail_the_probe(
    canary: dict[str, Any], monkeypatch: pytest.MonkeyPatch, closed_port: int
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", f"http://127.0.0.1:{closed_port}")
    event = {**canary, "heartbeat": "eu-central-1"}
    assert probe.handler(event, None) == {"gateway": True, "canary": True}


@pytest.mark.parametrize(
    ("path", "change", "problem"),
    [
        ("/verify", {"status": 503}, "verify: status 503 VALID"),
        ("/verify", {"valid": False, "code": "REVOKED"}, "verify: status 200 REVOKED"),
        ("/echo", {"status": 421, "code": "wrong_host"}, "echo: status 421 wrong_host"),
        ("/echo", {"sha256": "", "host": "other.test"}, "echo: wrong sha256, host"),
        ("/echo", {"status": 400, "code": f"leaks {TOKEN}"}, "echo: status 400 leaks (token)"),
    ],
)
def test_problem_of_the_canary_key_is_logged_without_its_token(
    canary: dict[str, Any],
    path: str,
    change: dict[str, Any],
    problem: str,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    GatewayHandler.changes[path] = change
    assert probe.handler(canary, None) == {"gateway": True, "canary": False}
    assert published(capsys)["gateway"]["CanaryKeyUp"] == 0.0
    (line,) = (record.message for record in caplog.records if record.levelname == "WARNING")
    assert json.loads(line)["problem"] == problem
    assert TOKEN not in caplog.text


def test_secret_that_cannot_be_read_is_a_problem(canary: dict[str, Any]) -> None:
    canary["canary"]["name"] = "gatehouse/dev/other"
    assert probe.handler(canary, None) == {"gateway": True, "canary": False}


def test_token_that_no_header_can_contain_is_a_problem(
    canary: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    manager = boto3.client("secretsmanager")
    manager.put_secret_value(SecretId=SECRET, SecretString=f"\ufeff{TOKEN}")
    GatewayHandler.changes["/verify"] = {"valid": True}
    assert probe.handler(canary, None) == {"gateway": True, "canary": False}
    assert TOKEN not in caplog.text


def test_key_is_only_verified_without_an_echo(canary: dict[str, Any]) -> None:
    GatewayHandler.changes["/echo"] = {"status": 500}
    del canary["canary"]["echo"]
    assert probe.handler(canary, None) == {"gateway": True, "canary": True}


def test_redirect_is_not_followed_and_counts_as_down(service: str) -> None:
    assert probe.handler(
        {"namespace": NAMESPACE, "services": {"gateway": f"{service}/302"}}, None
    ) == {"gateway": False}
    assert [path for path, _ in StatusHandler.requests] == ["/302"]


def test_probe_sends_no_credentials(service: str) -> None:
    probe.handler({"namespace": NAMESPACE, "services": {"gateway": f"{service}/200"}}, None)
    ((_, headers),) = StatusHandler.requests
    assert {name.lower() for name in headers} <= {
        "host",
        "accept-encoding",
        "user-agent",
        "connection",
    }


def test_probe_continues_the_trace_of_the_invocation(
    service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_X_AMZN_TRACE_ID", TRACE)
    probe.handler({"namespace": NAMESPACE, "services": {"gateway": f"{service}/200"}}, None)
    ((_, headers),) = StatusHandler.requests
    parent = context.parent_of([], [headers["X-Amzn-Trace-Id"]])
    assert parent == context.TraceParent(
        "5759e988bd862e3fe1be46a994272793", "53995c3f42cd8ad8", True
    )


@pytest.mark.parametrize(
    "event",
    [{}, {"namespace": NAMESPACE, "services": {}}, {"services": {"gateway": "http://127.0.0.1/"}}],
)
def test_event_without_services_is_rejected(event: dict[str, Any]) -> None:
    with pytest.raises(
        probe.InvalidEvent,
        match=r'the event must be \{"namespace": string, "services": \{name: URL\}\}',
    ):
        probe.handler(event, None)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "gateway.example.com", "https://"])
def test_url_other_than_http_is_rejected(url: str) -> None:
    with pytest.raises(probe.InvalidEvent, match="is not a valid URL; allowed: http or https"):
        probe.request(url, {})
