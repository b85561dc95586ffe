"""The collector of the sandbox writes the spans of a gateway as lines."""

import json
from pathlib import Path

import pytest
import requests
from gatehouse.platform.tracing.export import collector_exporter, readable_span, resource
from gatehouse.platform.tracing.tracer import FinishedSpan

from sandbox.local.collector import BODY_BYTES_MAX, write_traces


def test_spans_are_written_as_lines(tmp_path: Path) -> None:
    log = tmp_path / "traces.log"
    ids = "5759e988bd862e3fe1be46a994272793", "00f067aa0ba902b7", "53995c3f42cd8ad8"
    span = FinishedSpan(
        "GET /", "SERVER", *ids, 0, 2_500_000, {"http.response.status_code": 500}, failed=True
    )
    with write_traces(log) as url:
        collector_exporter(url).export([readable_span(span, resource("gateway", "dev"))])
    assert json.loads(log.read_text()) == {
        "service": "gatehouse-gateway",
        "name": "GET /",
        "trace_id": ids[0],
        "span_id": ids[1],
        "parent_id": ids[2],
        "is_server": True,
        "failed": True,
        "ms": 2.5,
        "attributes": {"http.response.status_code": 500},
    }


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Origin": "http://evil.example"}, b"", 403),
        ({"Content-Length": str(BODY_BYTES_MAX + 1)}, b"", 413),
        ({"Transfer-Encoding": "chunked"}, b"0\r\n\r\n", 413),
        ({}, b"", 200),
    ],
)
def test_web_pages_and_large_bodies_are_rejected(
    tmp_path: Path, headers: dict[str, str], body: bytes, status: int
) -> None:
    with write_traces(tmp_path / "traces.log") as url, requests.Session() as session:
        request = session.prepare_request(requests.Request("POST", url, data=body))
        if "Transfer-Encoding" in headers:
            del request.headers["Content-Length"]
        request.headers.update(headers)
        assert session.send(request, timeout=60).status_code == status
