"""Traces of requests to the console."""

import json

from tests.runtime.console_client import Console

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


async def test_requests_and_their_statements_are_spans(console: Console) -> None:
    headers = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
    reply = await console.get(f"/v1/keys/{12 * '0'}", headers=headers)
    spans = [span for span in console.spans if span.trace_id == TRACE]
    (request,) = [span for span in spans if span.parent_id == SPAN]
    assert (request.name, request.failed) == ("GET /v1/keys/{id}", False)
    assert request.attributes == {
        "http.request.method": "GET",
        "http.route": "/v1/keys/{id}",
        "url.path": "/v1/keys/{id}",
        "http.response.status_code": 404,
        "gatehouse.request_id": reply.headers["x-request-id"],
        "gatehouse.key_id": "bootstrap",
        "gatehouse.code": "not_found",
    }
    statements = [span.attributes for span in spans if span.parent_id == request.span_id]
    # The text is no ID of a key, so one statement searches it as a name. One reads the key, and one
    # resets each connection. The bootstrap token is not looked up.
    texts = [str(attributes["db.query.text"]) for attributes in statements]
    assert [text.partition(".")[0].partition("(")[0].partition(",")[0] for text in texts] == [
        "SELECT 'api_key'",
        "SELECT pg_advisory_unlock_all",
        "SELECT api_key",
        "SELECT pg_advisory_unlock_all",
    ]
    assert reply.json()["trace_id"] == TRACE
    line = json.loads(console.log.getvalue().splitlines()[-1])
    assert (line["request_id"], line["trace_id"]) == (reply.headers["x-request-id"], TRACE)
