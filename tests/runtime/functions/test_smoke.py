"""The smoke test against local servers."""

import json
import logging
import ssl
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from gatehouse.platform.envoy import certificate

from tests import http_servers
from tests.runtime.functions.function_loader import load

smoke = load("smoke")
HEADER = {"name": "X-Gatehouse-Test-Traffic", "value": "1"}


class StatusHandler(http_servers.Handler):
    """Returns the status in the path, or 404 to requests without the header of the test traffic."""

    hosts: list[str] = []  # noqa: RUF012  the fixture clears the list
    traces: list[str | None] = []  # noqa: RUF012  a test reads the last item

    def do_GET(self) -> None:
        self.hosts.append(self.headers["Host"])
        self.traces.append(self.headers["X-Amzn-Trace-Id"])
        self.send_response(
            int(self.path.strip("/")) if self.headers["X-Gatehouse-Test-Traffic"] == "1" else 404
        )
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    StatusHandler.hosts.clear()
    with http_servers.serving(StatusHandler) as url:
        yield int(url.rpartition(":")[2])


def event(*checks: dict[str, Any], **details: Any) -> dict[str, Any]:
    """Source: ECS Developer Guide, "Lambda hooks for Amazon ECS service deployments"."""
    service = (
        "arn:aws:ecs:us-west-2:123456789012:service/gatehouse-prod-main/gatehouse-prod-gateway"
    )
    return {
        "executionId": "3a0345ba-b029-404b-890d-7da2a4b266aa",
        "lifecycleStage": "POST_TEST_TRAFFIC_SHIFT",
        "resourceArn": service.replace(":service/", ":service-deployment/")
        + "/EZe5RNVLH6PPzHXINuP28",
        "executionDetails": {
            "serviceArn": service,
            "testTrafficWeights": {},
            "productionTrafficWeights": {},
        },
        "hookDetails": {"header": HEADER, "checks": list(checks), **details},
    }


def check(port: int, status: int, expected: int, scheme: str = "http") -> dict[str, Any]:
    return {
        "address": "127.0.0.1",
        "url": f"{scheme}://gateway.example.com:{port}/{status}",
        "status": expected,
    }


def test_expected_responses_continue_the_deployment(port: int) -> None:
    assert smoke.handler(event(check(port, 200, 200), check(port, 401, 401)), None) == {
        "hookStatus": "SUCCEEDED"
    }
    assert set(StatusHandler.hosts) == {f"gateway.example.com:{port}"}


def test_request_continues_the_trace_of_the_invocation(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
    monkeypatch.setenv("_X_AMZN_TRACE_ID", trace)
    smoke.handler(event(check(port, 200, 200)), None)
    assert StatusHandler.traces[-1] == trace


@pytest.mark.parametrize("status", [200, 302, 503])
def test_other_responses_are_retried_and_then_fail(
    port: int, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    current, delays = event(check(port, 401, 401), check(port, status, 401)), []
    while (result := smoke.handler(current, None))["hookStatus"] == "IN_PROGRESS":
        delays.append(result["callBackDelay"])
        current = {**current, "hookDetails": json.loads(json.dumps(result["hookDetails"]))}
    assert result == {"hookStatus": "FAILED"}
    assert delays == [smoke.RETRY_DELAY_S] * (smoke.ATTEMPTS - 1)
    failed = [
        json.loads(record.message) for record in caplog.records if record.levelno == logging.WARNING
    ]
    assert [(line["status"], line["expected"], line["attempt"]) for line in failed] == [
        (status, 401, n) for n in (1, 2, 3, 4)
    ]


def test_service_that_recovers_continues_the_deployment(port: int) -> None:
    first = smoke.handler(event(check(port, 503, 200)), None)
    assert first["hookStatus"] == "IN_PROGRESS"
    recovered = {
        **event(),
        "hookDetails": {**first["hookDetails"], "checks": [check(port, 200, 200)]},
    }
    assert smoke.handler(recovered, None) == {"hookStatus": "SUCCEEDED"}


def test_unreachable_address_fails(closed_port: int) -> None:
    unreachable = event(check(closed_port, 200, 200), attempt=smoke.ATTEMPTS - 1)
    assert smoke.handler(unreachable, None) == {"hookStatus": "FAILED"}


def test_certificate_is_verified_for_the_host_name(tmp_path: Path) -> None:
    names: list[str | None] = []

    def on_name(
        tls: ssl.SSLObject | ssl.SSLSocket, name: str | None, context: ssl.SSLContext
    ) -> None:
        names.append(name)

    certificate.write(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / certificate.CERTIFICATE, tmp_path / certificate.KEY)
    context.sni_callback = on_name
    server = ThreadingHTTPServer(("127.0.0.1", 0), StatusHandler)
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=True
    )
    server.handle_error = lambda request, address: None  # type: ignore[method-assign, assignment]
    with http_servers.running(server):
        url = check(server.server_port, 200, 200, "https")["url"]
        assert smoke.request(url, {}, "127.0.0.1") == (0, "SSLCertVerificationError")
    # A server without the first curve of the client reads the name twice.
    assert set(names) == {"gateway.example.com"}


@pytest.mark.parametrize(
    "details",
    [
        None,
        {"checks": [], "header": HEADER},
        {"checks": [{"address": "127.0.0.1", "url": "https://a/", "status": 200}]},
        {"checks": [{"address": "127.0.0.1", "url": "ftp://a/", "status": 200}], "header": HEADER},
    ],
)
def test_invalid_details_are_reported(details: dict[str, Any] | None) -> None:
    with pytest.raises(smoke.InvalidEvent):
        smoke.handler({**event(), "hookDetails": details}, None)
