"""Denials look alike, and nobody locks out another user."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec
import pytest
from gatehouse.core.actor import RequestId
from gatehouse.core.audit_events import AuditAction
from gatehouse.features.secrets import denials
from gatehouse.features.secrets.denials import (
    ATTEMPT_WINDOW_S,
    NETWORK_DENIED_MAX,
    LinkNotFound,
    TooManyDenied,
)
from gatehouse.features.secrets.link_token import PATH_CHARS, LinkToken, new_id
from gatehouse.features.secrets.models import ID_CHARS, LINK_CHARS, Client
from gatehouse.platform.tracing.context import trace_id_of
from gatehouse.platform.web.form_protection import new_nonce

from tests.runtime.features.secret_requests.test_service import request, submit
from tests.runtime.features.secrets.aws_calls import recorded
from tests.runtime.features.secrets.services import ACTOR, CLIENT, ORIGIN, TABLE, TEXT, Sharing

PASSPHRASE = "a long passphrase"
ADDRESS, NETWORK = "203.0.113.9", "203.0.113.0/24"
_VARYING = frozenset({"x-request-id", "date"})


@dataclass(frozen=True)
class Observed:
    """What an outsider can see of a response, and the AWS calls that determine its time."""

    status: int
    body: str
    headers: list[tuple[str, str]]
    calls: list[str]


#: Sends a request with a link.
Send = Callable[[LinkToken], Awaitable[Observed]]


class Outsider:
    def __init__(self, sharing: Sharing, client: httpx.AsyncClient) -> None:
        self._sharing = sharing
        self._client = client

    async def send(self, method: str, path: str, **body: Any) -> Observed:
        with recorded(self._sharing) as calls:
            reply = await self._client.request(method, path, **body)
        headers = [(name, value) for name, value in reply.headers.items() if name not in _VARYING]
        text, request_id = reply.text, reply.headers["x-request-id"]
        for varying in (request_id, trace_id_of(request_id)):
            text = text.replace(varying, "<ID>")
        return Observed(reply.status_code, text, headers, calls)

    async def page(self, token: LinkToken) -> Observed:
        return await self.send("GET", "/" + token.url(ORIGIN).split("/", 3)[3].partition("#")[0])

    def form(self, suffix: str) -> Send:
        async def send(token: LinkToken) -> Observed:
            fields, headers = self._protected(token, "claim")
            fields["passphrase"] = PASSPHRASE
            path = f"/s/{token.path}{suffix}"
            return await self.send("POST", path, data=fields, headers=headers)

        return send

    def api(self, action: str, **fields: str) -> Send:
        async def send(token: LinkToken) -> Observed:
            body = {"link": token.url(ORIGIN), **fields}
            return await self.send("POST", f"/v1/links/{action}", json=body)

        return send

    async def submission(self, token: LinkToken) -> Observed:
        files = {"link": (None, token.url(ORIGIN)), "text": (None, "x")}
        return await self.send("POST", "/v1/requests/submit", files=files)

    async def submitted_form(self, token: LinkToken) -> Observed:
        fields, headers = self._protected(token, "submission")
        files = {name: (None, value) for name, value in {**fields, "text": "x"}.items()}
        return await self.send("POST", f"/r/{token.path}", files=files, headers=headers)

    def _protected(self, token: LinkToken, claim: str) -> tuple[dict[str, str], dict[str, str]]:
        nonce = new_nonce()
        headers = {"Cookie": f"__Host-csrf={nonce}", "Sec-Fetch-Site": "same-origin"}
        return {"csrf": nonce, claim: new_nonce(), "link": token.url(ORIGIN)}, headers


@pytest.fixture
def outsider(sharing: Sharing) -> Outsider:
    _count(sharing, NETWORK, 0)
    return Outsider(sharing, sharing.client(address=ADDRESS))


def _unknown(chars: int = PATH_CHARS) -> LinkToken:
    return LinkToken.create(new_id(chars))


async def denied_links(sharing: Sharing) -> dict[str, LinkToken]:
    tokens = {
        reason: (await sharing.create(ttl_s=300 if reason == "expired" else 7200))[1][0]
        for reason in ("expired", "unknown link", "wrong secret", "revoked", "used", "acknowledged")
    }
    secret, [tokens["revoked link"], _] = await sharing.create(recipients=("Grace", "Alan"))
    sharing.clock.advance(300)
    for reason in ("used", "acknowledged"):
        opened = await sharing.open(tokens[reason])
    await sharing.links.acknowledge(tokens["acknowledged"], opened.claim_id, CLIENT)
    await sharing.secrets.revoke(tokens["revoked"].secret_id, ACTOR)
    await sharing.secrets.revoke_link(secret.id, tokens["revoked link"].link_id, ACTOR)
    path = tokens["unknown link"].secret_id + new_id(LINK_CHARS)
    return {**tokens, "unknown link": msgspec.structs.replace(tokens["unknown link"], path=path)}


async def _denied_alike(
    unknown: LinkToken, tokens: dict[str, LinkToken], sends: Sequence[Send], calls: list[str]
) -> None:
    for send in sends:
        expected = await send(unknown)
        assert (expected.status, expected.calls) == (404, calls)
        for reason, token in tokens.items():
            assert await send(token) == expected, reason


async def test_denied_links_have_the_same_response_and_calls(
    sharing: Sharing, outsider: Outsider
) -> None:
    unknown, tokens = _unknown(), await denied_links(sharing)
    wrong = LinkToken(tokens.pop("wrong secret").path, unknown.secret)
    await _denied_alike(unknown, tokens, [outsider.page], ["GetItem"])
    claim = new_nonce()
    sends = [
        *[outsider.form(suffix) for suffix in ("", "/items/0", "/acknowledge")],
        outsider.api("lookup"),
        outsider.api("open", passphrase=PASSPHRASE, claim=claim),
        outsider.api("acknowledge", claim=claim),
    ]
    calls = ["GetItem", *["UpdateItem"] * 3]
    await _denied_alike(unknown, {**tokens, "wrong secret": wrong}, sends, calls)


async def test_denied_requests_have_the_same_response_and_calls(
    sharing: Sharing, outsider: Outsider
) -> None:
    unknown = _unknown(ID_CHARS)
    tokens = {
        reason: (await request(sharing, ttl_s=300 if reason == "expired" else 7200))[1]
        for reason in ("expired", "revoked", "used", "wrong secret")
    }
    sharing.clock.advance(300)
    await sharing.secrets.revoke(tokens["revoked"].path, ACTOR)
    await submit(sharing, tokens["used"])
    wrong = LinkToken(tokens.pop("wrong secret").path, unknown.secret)
    await _denied_alike(unknown, tokens, [outsider.page], ["GetItem"])
    sends = [outsider.submission, outsider.submitted_form]
    calls = ["GetItem", *["UpdateItem"] * 3]
    await _denied_alike(unknown, {**tokens, "wrong secret": wrong}, sends, calls)


def _client(address: str) -> Client:
    return Client(address, RequestId("req_1"))


async def _deny(sharing: Sharing, client: Client, times: int) -> list[str]:

    async def attempt() -> str:
        with pytest.raises((LinkNotFound, TooManyDenied)) as raised:
            await sharing.links.look_up(_unknown(), client)
        return str(raised.value.code)

    return await asyncio.gather(*(attempt() for _ in range(times)))


def _count(sharing: Sharing, network: str, attempts: int) -> None:
    ends_at = int(sharing.clock.now() + ATTEMPT_WINDOW_S)
    item = {
        "id": {"S": f"counter:denied:network:{network}:{ends_at}"},
        "attempts": {"N": str(attempts)},
    }
    sharing.dynamodb.put_item(TableName=TABLE, Item=item)


async def _denied_events(sharing: Sharing, token: LinkToken) -> int:
    _, events = await sharing.backend.table.with_events(token.secret_id) or ({}, [])
    return [event.audit_event.action for event in events].count(AuditAction.LINK_DENIED)


async def test_denied_attempts_of_a_network_are_limited_exactly(sharing: Sharing) -> None:
    network, another = _client("192.0.2.1"), _client("198.18.0.1")
    _count(sharing, network.network, NETWORK_DENIED_MAX - 5)
    codes = [*await _deny(sharing, network, 4), *await _deny(sharing, _client("192.0.2.254"), 4)]
    assert (codes.count("link_not_found"), codes.count("too_many_denied")) == (5, 3)
    assert await _deny(sharing, another, 1) == ["link_not_found"]
    sharing.clock.advance(ATTEMPT_WINDOW_S)
    assert await _deny(sharing, network, 1) == ["link_not_found"]


async def test_recorded_denied_attempts_of_a_link_are_bounded(
    sharing: Sharing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(denials, "DENIED_EVENTS_MAX", 2)
    _, [token] = await sharing.create()
    wrong = LinkToken(token.path, _unknown().secret)
    unknown = LinkToken.create(token.secret_id + new_id(LINK_CHARS))
    for recorded_count in (2, 4):
        for number in range(4):
            for denied in (wrong, unknown):
                with pytest.raises(LinkNotFound):
                    await sharing.links.look_up(denied, _client(f"198.51.{number}.1"))
        assert await _denied_events(sharing, token) == recorded_count
        sharing.clock.advance(ATTEMPT_WINDOW_S)


async def test_limit_of_a_network_denies_no_correct_link_and_shows_neither_links_nor_events(
    sharing: Sharing, outsider: Outsider
) -> None:
    network = _client(ADDRESS)
    _count(sharing, NETWORK, NETWORK_DENIED_MAX)
    _, [token] = await sharing.create(passphrase=PASSPHRASE)
    _, submission, _ = await request(sharing)
    assert await sharing.links.look_up(token, network)
    opened = await sharing.open(token, passphrase=PASSPHRASE, client=network)
    assert await sharing.text(opened) == TEXT
    await sharing.links.acknowledge(token, opened.claim_id, network)
    await submit(sharing, submission, client=network)

    send, unknown = outsider.api("open", claim=new_nonce()), _unknown()
    expected = await send(unknown)
    assert (expected.status, json.loads(expected.body)["code"]) == (429, "too_many_denied")
    assert 0 < int(dict(expected.headers)["retry-after"]) <= ATTEMPT_WINDOW_S
    for denied in (token, LinkToken(token.path, unknown.secret)):
        assert await send(denied) == expected
    assert await _denied_events(sharing, token) == 0
    page = await outsider.form("")(unknown)
    assert (page.status, "Try again in ten minutes" in page.body) == (429, True)
