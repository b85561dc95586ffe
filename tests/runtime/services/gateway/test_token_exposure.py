"""Tokens in any part of a request appear nowhere."""

import json
from typing import Any
from urllib.parse import quote

import valkey
from gatehouse.services.gateway.routes import ENDPOINTS

from tests.runtime.canaries import TOKENS, query_fields, text_fields, tokens, url
from tests.runtime.platform.tracing.collector import Collector

IS_TRACED = True
HEADERS = (
    *(
        "User-Agent",
        "Referer",
        "X-Forwarded-For",
        "X-Request-Id",
        "Accept",
        "Content-Type",
        "Cookie",
    ),
    *("Traceparent", "Tracestate", "X-Amzn-Trace-Id", "Baggage"),
)


async def test_token_in_any_place_is_not_exposed(
    gateway: Any, docs: Any, database: Any, redis_url: str, collector: Collector
) -> None:
    key = await gateway.create_key(scopes=["cores:read", "cores:register"])
    credential, cycle, replies = key.bearer, tokens(), []
    for endpoint in ENDPOINTS:
        for field in text_fields(endpoint):
            for text in (next(cycle)[1], f"https://{next(cycle)[1]}.test", f"x {next(cycle)[1]}"):
                body = json.dumps(field.body(text)).encode()
                replies.append(
                    await gateway.request(endpoint.method, url(endpoint), credential, body=body)
                )
        for name in query_fields(endpoint):
            replies.append(
                await gateway.request(
                    endpoint.method, f"{url(endpoint)}?{name}={quote(next(cycle)[1])}", credential
                )
            )
        for _ in TOKENS:
            replies.append(
                await gateway.request(endpoint.method, url(endpoint, next(cycle)[1]), credential)
            )
        names = (*HEADERS, *(header.name for header in endpoint.headers))
        headers = [f"{name}: {next(cycle)[1]}" for name in names]
        replies.append(await gateway.request(endpoint.method, url(endpoint), credential, *headers))
        replies.append(
            await gateway.request(endpoint.method, url(endpoint), f"X-API-Key: {next(cycle)[1]}")
        )
        replies.append(
            await gateway.request(next(cycle)[1].partition("#")[0], url(endpoint), credential)
        )
    assert len(replies) > 15 * len(ENDPOINTS)
    assert [reply.status for reply in replies if reply.status == 500] == []
    with valkey.Valkey.from_url(redis_url) as client:
        stored = b"".join(client.scan_iter()).decode()
    texts = [reply.body.decode() + str(reply.headers) for reply in replies]
    scrape = await gateway.get("/metrics")
    metrics = scrape.body.decode()
    collector.wait(scrape.header("x-request-id"))  # spans are exported in order
    spans = b"".join(collector.bodies).decode("latin-1")
    everything = "".join((*texts, metrics, stored, gateway.log.read_text(), database.dump(), spans))
    assert [kind for kind, _, secret in TOKENS if secret in everything] == []
    assert len(collector.spans) > 15 * len(ENDPOINTS)


async def test_token_in_the_reason_of_a_revocation_is_redacted(gateway: Any, database: Any) -> None:
    for _, token, _ in TOKENS:
        key = await gateway.create_key()
        reply = await gateway.post(
            "/v1/keys/revoke-self", {"token": key.token, "reason": f"found {token} in a ticket"}
        )
        assert reply.status == 200, reply.body
    dump = database.dump()
    assert dump.count("in a ticket") >= 2 * len(TOKENS)
    assert [kind for kind, _, secret in TOKENS if secret in dump] == []
