"""Spans, trace context, and IDs in logs and problems."""

import re
import secrets
from typing import Any

import pytest

from sandbox.local.collector import ReceivedSpan
from tests.runtime.platform.tracing.collector import Collector, running_collector
from tests.runtime.services.gateway.conftest import trace_settings

IS_TRACED = True
SPAN = "00f067aa0ba902b7"


def trace_context(flags: str) -> tuple[str, str]:
    trace_id = secrets.token_hex(16)
    return trace_id, f"traceparent: 00-{trace_id}-{SPAN}-{flags}"


def request_id_of(reply: Any) -> str:
    value: str = reply.header("x-request-id")
    return value


def server_span(spans: list[ReceivedSpan]) -> ReceivedSpan:
    (span,) = [span for span in spans if span.is_server]
    return span


async def test_verifications_have_a_span_and_the_trace_id_of_their_log_line(
    gateway: Any, collector: Collector
) -> None:
    key = await gateway.create_key()
    for _ in range(4):
        reply = await gateway.verify(key.token)
        span = server_span(collector.wait(request_id_of(reply)))
        assert (span.service, span.name, span.failed) == (
            "gatehouse-gateway",
            "POST /v1/keys/verify",
            False,
        )
        assert span.attributes == {
            "http.request.method": "POST",
            "http.route": "/v1/keys/verify",
            "url.path": "/v1/keys/verify",
            "url.scheme": "https",
            "server.address": "gateway.test",
            "server.port": 443,
            "http.response.status_code": 200,
            "gatehouse.request_id": request_id_of(reply),
            "gatehouse.key_id": key.id,
            "gatehouse.code": "VALID",
        }
        (line,) = await gateway.lines_with(request_id=request_id_of(reply), event="request")
        assert line["trace_id"] == span.trace_id
        assert (span.ms >= 0, span.parent_id) == (True, "")


async def test_statement_of_a_request_is_part_of_its_trace(
    gateway: Any, collector: Collector
) -> None:
    key = await gateway.create_key()
    reply = await gateway.verify(key.token)
    spans = collector.wait(request_id_of(reply), "SELECT")
    statements = [span for span in spans if span.name == "SELECT"]
    assert {span.parent_id for span in statements} == {server_span(spans).span_id}
    assert {span.attributes["db.system.name"] for span in statements} == {"postgresql"}


@pytest.mark.parametrize("target", ["/v1/keys/verify", "/cores/docs/path?token=1", "/unknown"])
async def test_trace_context_of_the_client_is_continued(
    gateway: Any, docs: Any, collector: Collector, target: str
) -> None:
    key = await gateway.create_key()
    for _ in range(3):
        trace_id, header = trace_context("01")
        reply = await gateway.get(target, header, key.bearer)
        span = server_span(collector.wait(request_id_of(reply)))
        assert (span.trace_id, span.parent_id) == (trace_id, SPAN)
        (line,) = await gateway.lines_with(request_id=request_id_of(reply), event="request")
        assert line["trace_id"] == trace_id


async def test_request_that_the_client_does_not_sample_has_no_span(
    gateway: Any, core: Any, docs: Any, collector: Collector
) -> None:
    key = await gateway.create_key()
    trace_id, header = trace_context("00")
    for _ in range(3):
        other = await gateway.get("/cores/docs/path", header, key.bearer)
        assert re.fullmatch(rf"00-{trace_id}-1[0-9a-f]{{15}}-00", core.last[1]["traceparent"])
    reply = await gateway.verify(key.token)
    collector.wait(request_id_of(reply))  # spans are exported in order
    assert request_id_of(other) not in {
        span.attributes.get("gatehouse.request_id") for span in collector.spans
    }


@pytest.mark.parametrize("size", [0, 100, 3_000_000])
async def test_cores_receive_the_trace_context(
    gateway: Any, core: Any, docs: Any, collector: Collector, size: int
) -> None:
    key = await gateway.create_key()
    headers = key.bearer, "tracestate: a=1"
    for _ in range(3):
        reply = await gateway.request(
            "POST", "/cores/docs/path", *headers, body=b"x" * size if size else None
        )
        assert reply.status == 200
        spans = collector.wait(request_id_of(reply), "POST")
        server, client = server_span(spans), next(span for span in spans if span.name == "POST")
        assert (server.name, client.parent_id) == ("POST /cores/{name}/{path}", server.span_id)
        received = core.last[1]
        assert received["traceparent"] == f"00-{server.trace_id}-{client.span_id}-01"
        assert "tracestate" not in received  # it has no meaning without a traceparent
        assert received["gatehouse-request-id"] == request_id_of(reply)
        assert (
            client.attributes["gatehouse.core"],
            client.attributes["http.response.status_code"],
        ) == ("docs", 200)
        # The path and the query of a request can contain secrets.
        assert client.attributes["url.full"] == core.url
        host, _, port = core.url.removeprefix("http://").partition(":")
        assert client.attributes["server.address"] == host
        assert client.attributes["server.port"] == int(port)


async def test_span_of_a_failed_request_to_a_core_is_marked(
    gateway: Any, docs: Any, collector: Collector
) -> None:
    key = await gateway.create_key()
    reply = await gateway.get("/cores/docs/drop", key.bearer)
    spans = collector.wait(request_id_of(reply), "GET")
    assert (reply.status, server_span(spans).failed) == (502, True)
    assert all(span.failed for span in spans if span.name == "GET")


async def test_last_spans_are_exported_when_the_gateway_stops(another: Any) -> None:
    with running_collector() as collector:
        assert another(**trace_settings(collector)).child.stop(timeout_s=60) == 0
        assert "GET /readyz" in {span.name for span in collector.spans}
