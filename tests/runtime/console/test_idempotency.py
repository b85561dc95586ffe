"""A request with an Idempotency-Key acts once, and its answer is given again: draft-ietf-httpapi-idempotency-key-header."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import httpx
import pytest
from gatehouse.console import asgi as console
from gatehouse.crypto.sealing import seal, unseal
from gatehouse.crypto.token import Pepper
from gatehouse.errors import Unavailable
from gatehouse.http.idempotency_store import IdempotencyStore
from hypothesis import given
from hypothesis import strategies as st

from tests.runtime.console.conftest import BOOTSTRAP, Console

DRAFT_KEY = '"8e03978e-40d5-43dd-bc93-6894a57f9324"'  # the example of the draft, section 2.1


async def make(door: Console, key: str, path: str = "/v1/keys", **wish: Any) -> httpx.Response:
    return await door.client.post(path, json={"name": "a key", **wish}, headers={"Idempotency-Key": key})


async def count(door: Console, owner: str) -> int:
    return len((await door.client.get("/v1/keys", params={"owner": owner})).json()["keys"])


@pytest.mark.requirement("CG-01")
async def test_a_repeated_creation_answers_with_the_same_token_and_makes_no_second_key(door: Console) -> None:
    first = await make(door, DRAFT_KEY, owner="repeats")
    again = await make(door, DRAFT_KEY, owner="repeats")
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert (again.headers["location"], again.headers["etag"]) == (first.headers["location"], first.headers["etag"])
    assert ("idempotency-replayed" in first.headers, again.headers["idempotency-replayed"]) == (False, "true")
    assert again.headers["cache-control"] == "no-store"
    assert await count(door, "repeats") == 1


async def test_the_same_json_written_otherwise_is_the_same_request(door: Console) -> None:
    headers = {"Idempotency-Key": '"spaces"', "Content-Type": "application/json"}
    first = await door.client.post("/v1/keys", content=b'{"name":"a","owner":"o"}', headers=headers)
    again = await door.client.post("/v1/keys", content=b' { "owner": "o",  "name": "a" } ', headers=headers)
    assert again.content == first.content


@pytest.mark.parametrize(
    ("path", "wish"), [("/v1/keys", {"owner": "other"}), ("/v1/keys?a=b", {}), ("/v1/webhooks", {"url": "https://x.example"})]
)
async def test_a_key_that_was_sent_with_another_request_is_refused(door: Console, path: str, wish: dict[str, Any]) -> None:
    assert (await make(door, '"first-meaning"')).status_code == 201
    reply = await make(door, '"first-meaning"', path, **wish)
    assert (reply.status_code, reply.json()["code"]) == (422, "idempotency_key_reused")
    assert "Use a new Idempotency-Key for each request" in reply.json()["detail"]


async def test_of_many_at_once_one_acts_and_the_others_wait_or_get_its_answer(door: Console) -> None:
    replies = await asyncio.gather(*(make(door, '"storm"', owner="storm") for _ in range(12)))
    tokens = {reply.json()["token"] for reply in replies if reply.status_code == 201}
    busy = [reply for reply in replies if reply.status_code != 201]
    assert len(tokens) == 1
    assert {(reply.status_code, reply.json()["code"]) for reply in busy} <= {(409, "request_in_progress")}
    assert all(reply.headers["retry-after"] == "1" for reply in busy)
    assert await count(door, "storm") == 1


async def test_two_callers_may_choose_the_same_key(door: Console) -> None:
    other = (await door.create(roles=["admin"]))["token"]
    first = await make(door, '"mine"')
    reply = await door.client.post("/v1/keys", json={"name": "a key"}, headers={"Idempotency-Key": '"mine"', **door.as_(other)})
    assert reply.status_code == 201
    assert reply.json()["token"] != first.json()["token"]


async def test_who_lost_their_rights_gets_no_answer_again(door: Console) -> None:
    other = await door.create(scopes=["role:issuer"])
    headers = {"Idempotency-Key": '"rights"', **door.as_(other["token"])}
    assert (await door.client.post("/v1/keys", json={"name": "a"}, headers=headers)).status_code == 201
    await door.client.post(f"/v1/keys/{other['key']['id']}/revoke")
    assert (await door.client.post("/v1/keys", json={"name": "a"}, headers=headers)).status_code == 401


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ("8e03978e", "is not a string in double quotes"),
        ('""', "is not a string in double quotes"),
        ('"' + "x" * 256 + '"', "is not a string in double quotes"),
        ('"a";b', "is not a string in double quotes"),
        ('"a\\b"', "is not a string in double quotes"),
    ],
)
async def test_a_key_that_is_no_structured_string_is_refused(door: Console, sent: str, message: str) -> None:
    reply = await make(door, sent)
    assert reply.status_code == 400
    problem = reply.json()["errors"][0]
    assert (problem["location"], problem["message"]) == ("header.idempotency-key", message)
    assert 'send Idempotency-Key: "<uuid>"' in problem["fix"]


async def test_a_key_that_is_sent_twice_is_refused(door: Console) -> None:
    headers = [("Idempotency-Key", '"a"'), ("Idempotency-Key", '"b"')]
    reply = await door.client.post("/v1/keys", json={"name": "a"}, headers=headers)
    assert (reply.status_code, reply.json()["errors"][0]["message"]) == (400, "is sent more than once")


async def test_a_refused_request_leaves_its_key_free(door: Console) -> None:
    assert (await make(door, '"corrected"', ttl_s=0)).status_code == 400
    assert (await make(door, '"corrected"', ttl_s=60)).status_code == 201


async def test_a_rotation_is_repeated_with_its_token_too(door: Console) -> None:
    made = await door.create()
    path, headers = f"/v1/keys/{made['key']['id']}/rotate", {"Idempotency-Key": '"turn"'}
    first = await door.client.post(path, json={}, headers=headers)
    again = await door.client.post(path, json={}, headers=headers)
    assert (first.status_code, again.content) == (201, first.content)


async def test_what_is_stored_of_an_answer_holds_neither_token_nor_key(door: Console) -> None:
    reply = await make(door, '"sealed-answer-4711"', name="a name of its own")
    stored = door.database.sql("SELECT idempotent_request.*, encode(sealed, 'escape') FROM idempotent_request")
    for hidden in (reply.json()["token"], "sealed-answer-4711", "a name of its own"):
        assert hidden not in stored
        assert hidden.encode().hex() not in stored


@pytest.mark.requirement("CG-08")
async def test_a_purge_takes_the_kept_answer_along_and_a_repeat_makes_nothing(door: Console) -> None:
    made = (await make(door, '"purged"', owner="purged")).json()["key"]
    await door.client.post(f"/v1/keys/{made['id']}/revoke")
    await door.client.post(f"/v1/keys/{made['id']}/purge", json={"confirm": made["id"]})
    reply = await make(door, '"purged"', owner="purged")
    assert (reply.status_code, reply.json()["code"]) == (409, "conflict")
    assert f"changed {made['id']}, but its response was lost" in reply.json()["detail"]


class Breaking(IdempotencyStore):
    """Keeps no answer, as a console that dies between the act and its answer."""

    async def keep(self, *_: Any, **__: Any) -> None:
        raise Unavailable


async def test_what_was_done_by_a_console_that_died_is_not_done_again(door: Console) -> None:
    dying = console.create(replace(door.parts, idempotency_store=Breaking(door.pool)))
    transport = httpx.ASGITransport(dying, client=("192.0.2.7", 4711))
    async with httpx.AsyncClient(transport=transport, base_url="https://console.test", headers=door.as_(BOOTSTRAP)) as client:
        headers = {"Idempotency-Key": '"died"'}
        made = (await client.post("/v1/keys", json={"name": "a", "owner": "died"}, headers=headers)).json()
    reply = await door.client.post("/v1/keys", json={"name": "a", "owner": "died"}, headers=headers)
    assert reply.status_code == 409
    assert made["key"]["id"] in reply.json()["detail"]
    assert await count(door, "died") == 1


async def test_a_request_that_died_before_it_did_anything_is_taken_over_when_it_cannot_run_any_more(door: Console) -> None:
    async def reply() -> httpx.Response:
        return await make(door, '"gone"', owner="gone")

    assert (await reply()).status_code == 201
    # As if nothing had been done: neither an answer nor a row of the trail is under the request's id.
    forget = "UPDATE idempotent_request SET sealed = NULL, running = true, request_id = 'req_nobody'"
    door.database.sql(forget)
    assert (await reply()).json()["code"] == "request_in_progress"
    door.database.sql(f"{forget}, claimed_at = now() - interval '121 seconds'")
    assert (await reply()).status_code == 201


async def test_an_answer_is_kept_for_a_day_and_then_its_key_is_free(door: Console) -> None:
    replays = IdempotencyStore(door.pool)
    first = await make(door, '"a-day"')
    door.database.sql("UPDATE idempotent_request SET expires_at = now() - interval '1 second'")
    assert (await make(door, '"a-day"')).json()["token"] != first.json()["token"]
    door.database.sql("UPDATE idempotent_request SET expires_at = now() - interval '1 second'")
    assert await replays.prune(now=door.parts.clock.now()) > 0
    assert door.database.sql("SELECT count(*) FROM idempotent_request").split() == ["0"]


async def test_the_document_names_the_header_on_every_post_that_changes_something(door: Console) -> None:
    paths = (await door.client.get("/openapi.json")).json()["paths"]
    for path, operations in paths.items():
        for method, operation in operations.items():
            names = {one["name"] for one in operation.get("parameters", [])}
            expected = method == "post" and not path.endswith("/explain") and not path.startswith("/v1/leaks")
            assert ("Idempotency-Key" in names) == expected, (method, path)
            assert ("422" in operation["responses"]) == expected, (method, path)


@given(st.binary(max_size=200), st.sampled_from(["a", "b"]), st.integers(0, 300))
def test_what_is_sealed_opens_for_its_purpose_alone_and_unchanged(plain: bytes, purpose: str, flipped: int) -> None:
    pepper, others = Pepper({1: b"p" * 32}, 1), Pepper({1: b"q" * 32}, 1)
    sealed = seal(plain, purpose, pepper, 1, lambda size: b"n" * size)
    assert sealed is not None
    assert unseal(sealed, purpose, pepper, 1) == plain
    assert unseal(sealed, "c", pepper, 1) is None
    assert unseal(sealed, purpose, others, 1) is None
    assert unseal(sealed, purpose, pepper, 2) is None
    at = flipped % len(sealed)
    assert unseal(sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :], purpose, pepper, 1) is None
