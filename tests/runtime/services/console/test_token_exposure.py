"""Issued tokens appear in no log, event, metric or table."""

import json
import secrets

import httpx
from gatehouse.platform.web.endpoint import CREDENTIAL
from gatehouse.services.console.routes import ENDPOINTS

from tests.runtime.canaries import TOKENS, query_fields, text_fields, tokens, url
from tests.runtime.console_client import BOOTSTRAP, Console


async def test_issued_token_appears_only_in_its_response(console: Console) -> None:
    admin = (await console.create(name="canary", scopes=["admin"]))["token"]
    reader = (await console.create(name="canary"))["token"]
    bodies = [
        (await console.get("/v1/keys", headers=console.as_(admin))).text,
        (await console.get("/v1/keys", headers=console.as_(reader))).text,
        (await console.get("/v1/keys", headers=console.as_(admin + "x"))).text,
        (await console.get(f"/v1/keys/{admin}", headers=console.as_(admin))).text,
        (await console.get(f"/v1/keys?{admin}=1&cursor={reader}")).text,
        (await console.post("/v1/keys", json={"name": [admin], "environment": reader})).text,
        (await console.get("/v1/audit-events?limit=100")).text,
        (await console.get("/metrics")).text,
        json.dumps(console.log.entries, default=str),
        console.database.dump(),
    ]
    for token in (admin, reader, BOOTSTRAP):
        secret = token[-40:-6]  # without the ID, which is public
        # Error messages quote names of members and parameters, truncated to less than a token.
        assert [text[:80] for text in bodies if secret in text] == []


async def test_token_in_a_query_is_rejected(console: Console) -> None:
    token = (await console.create(name="canary"))["token"]
    reply = await console.get("/v1/audit-events", params={"target_id": token})
    assert (reply.status_code, token[-40:-6] in reply.text) == (400, False)


TEXT_FIELDS = [
    field
    for endpoint in ENDPOINTS
    if CREDENTIAL in endpoint.security
    for field in text_fields(endpoint)
]


def assert_unexposed(console: Console, replies: list[httpx.Response]) -> None:
    texts = [reply.text + str(reply.headers) for reply in replies]
    everything = "".join(
        (*texts, console.log.getvalue().decode(), console.database.dump(), repr(console.spans))
    )
    assert [kind for kind, _, secret in TOKENS if secret in everything] == []


async def test_token_in_any_text_field_is_rejected(console: Console) -> None:
    assert len(TEXT_FIELDS) > 60
    cycle, replies = tokens(), []
    for field in TEXT_FIELDS:
        kind, token, _ = next(cycle)
        if field.is_secret:
            continue
        reply = await console.request(
            field.endpoint.method, url(field.endpoint), json=field.body(f"x {token}")
        )
        replies.append(reply)
        problems = reply.json().get("errors", [])
        found = [problem["message"] for problem in problems]
        assert (
            reply.status_code,
            [message.startswith(f"contains the {kind} ") for message in found],
        ) == (400, [True]), field.id
    assert_unexposed(console, [*replies, await console.get("/metrics")])


async def test_words_are_not_compared_with_imported_keys(console: Console) -> None:
    token = f"acme_{secrets.token_hex(8)}.{secrets.token_hex(16)}"
    await console.import_key(token)
    changing = [
        field for field in TEXT_FIELDS if field.endpoint.changes_state and not field.is_secret
    ]
    assert len(changing) > 50
    for field in changing:
        reply = await console.request(
            field.endpoint.method, url(field.endpoint), json=field.body(f"x ({token})")
        )
        assert "contains the token" not in reply.text, field.id


async def test_token_in_any_query_path_header_or_method_is_not_exposed(console: Console) -> None:
    cycle, replies, client = tokens(), [], console.client
    for endpoint in ENDPOINTS:
        names = [
            "user-agent",
            "referer",
            "x-forwarded-for",
            "x-request-id",
            "accept-language",
            "x-csrf-token",
        ]
        names += ["traceparent", "tracestate", "x-amzn-trace-id", "baggage"]
        headers = {
            name: next(cycle)[1]
            for name in [*names, *(header.name for header in endpoint.headers), "idempotency-key"]
        }
        example = None if endpoint.method == "GET" else getattr(endpoint.body, "example", {})
        for name in query_fields(endpoint):
            replies.append(
                await client.request(endpoint.method, url(endpoint), params={name: next(cycle)[1]})
            )
        replies.append(
            await client.request(endpoint.method, url(endpoint, next(cycle)[1]), json=example)
        )
        replies.append(
            await client.request(endpoint.method, url(endpoint), json=example, headers=headers)
        )
        replies.append(
            await client.request(next(cycle)[1].partition("#")[2] or "gtk", url(endpoint))
        )
        replies.append(await client.request(endpoint.method, url(endpoint) + "?" + next(cycle)[1]))
    assert len(replies) > 4 * len(ENDPOINTS)
    assert [
        reply.status_code
        for reply in replies
        if reply.status_code >= 500 and reply.status_code != 503
    ] == []
    assert_unexposed(console, [*replies, await client.get("/metrics")])


async def test_token_in_the_user_agent_of_a_session_is_redacted(console: Console) -> None:
    for _, token, _ in TOKENS:
        reply = await console.post("/v1/sessions", json={}, headers={"User-Agent": f"curl {token}"})
        assert reply.status_code == 201, reply.text
    assert_unexposed(console, [])
