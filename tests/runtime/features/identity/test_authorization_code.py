"""Authorization code flow with PKCE."""

import asyncio
import base64
import hashlib
import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import islice
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx
import pytest
from gatehouse.core.http.forwarding import CONSOLE_COOKIE
from gatehouse.core.tokens.token import Pepper
from gatehouse.features.identity.authorization_code import (
    CALLBACK_PATH,
    RETURN_TO_CHARS_MAX,
    TRANSACTION_S,
    AuthorizationCodeFlow,
    Client,
    Failure,
    SignInFailed,
    local_path,
)
from gatehouse.features.identity.oidc import SKEW_S, OidcIdentityProvider
from gatehouse.platform import semaphores
from gatehouse.services.console.lockout import FAILURES_MAX
from gatehouse.services.console.sign_in import (
    EXCHANGES_PARALLEL,
    SIGN_OUT_PATH,
    START_PATH,
    TRANSACTION_COOKIE,
)
from pydantic import SecretStr

from tests.runtime.clocks import ManualClock
from tests.runtime.console_client import Console, session_key
from tests.runtime.features.identity.local_issuer import (
    EC,
    NOW,
    IssuerSetup,
    LocalIssuer,
    base64url,
    running_issuer,
)

ORIGIN = "https://console.test"
CLIENT_ID, SECRET, CODE = "gatehouse console", "canary/of the+client", "canary-of-the-code"
CROSS_SITE, SAME_ORIGIN = {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-origin"}
#: Without the methods in the metadata, the client authenticates with client_secret_basic.
POST_ONLY = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
CLIENT = Client(CLIENT_ID, SECRET, "openid groups", ORIGIN)


def parameters(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query))


def redirect(provider: LocalIssuer, sent: dict[str, str], **changes: str | None) -> dict[str, Any]:
    """The parameters of the redirect from the provider. A parameter that is None is omitted."""
    named = {"code": CODE, "state": sent["state"], "iss": provider.url, **changes}
    return {name: value for name, value in named.items() if value is not None}


def answer(provider: LocalIssuer, sent: dict[str, str], **claims: Any) -> None:
    named = {"aud": CLIENT_ID, "iat": NOW, "nonce": sent["nonce"], **claims}
    document = {"id_token": provider.token(**named), "token_type": "Bearer"}
    provider.token_response = (200, document)


@dataclass
class SignIn:
    """A started sign-in without a browser. sent: parameters of the authorization request."""

    issuer: IssuerSetup
    flow: AuthorizationCodeFlow
    cookie: str
    sent: dict[str, str]

    @property
    def provider(self) -> LocalIssuer:
        return self.issuer.provider

    def answer(self, **claims: Any) -> None:
        answer(self.provider, self.sent, **claims)

    async def complete(self, **changes: str | None) -> str:
        sent = redirect(self.provider, self.sent, **changes)
        try:
            _, transaction = await self.flow.complete(self.cookie, sent)
        except SignInFailed as exc:
            return exc.failure
        return transaction.return_to


async def started(
    issuer: IssuerSetup, client: Client = CLIENT, return_to: str = "/keys?owner=a"
) -> SignIn:
    key = Pepper({1: b"s" * 32}, 1)
    flow = AuthorizationCodeFlow(
        issuer.identity_provider, client, issuer.clock, key, secrets.token_bytes, 300
    )
    url, cookie = await flow.start(return_to)
    sign_in = SignIn(issuer, flow, cookie, parameters(url))
    sign_in.answer(aud=client.id)
    return sign_in


@pytest.fixture
async def issuer() -> AsyncIterator[IssuerSetup]:
    async with running_issuer() as running:
        yield running


@pytest.fixture
async def sign_in(issuer: IssuerSetup) -> SignIn:
    return await started(issuer)


@dataclass
class Visitor:
    client: httpx.AsyncClient
    provider: LocalIssuer

    async def start(self, return_to: str = "/keys?owner=a", **query: str) -> dict[str, str]:
        reply = await self.client.get(
            START_PATH, params={"return_to": return_to, **query}, headers=SAME_ORIGIN
        )
        assert reply.status_code == 303, reply.text
        url = urlsplit(reply.headers["location"])
        assert f"{url.scheme}://{url.netloc}{url.path}" == f"{self.provider.url}/authorize", (
            reply.headers["location"]
        )
        return parameters(reply.headers["location"])

    def answer(self, sent: dict[str, str], **claims: Any) -> None:
        answer(self.provider, sent, **claims)

    async def return_from_provider(
        self, sent: dict[str, str], **changes: str | None
    ) -> httpx.Response:
        query = redirect(self.provider, sent, **changes)
        return await self.client.get(CALLBACK_PATH, params=query, headers=CROSS_SITE)

    async def sign_out(self, site: str = "same-origin") -> str:
        reply = await self.client.get(SIGN_OUT_PATH, headers={"Sec-Fetch-Site": site})
        return reply.headers["location"]

    async def sign_in(self, **claims: Any) -> httpx.Response:
        self.answer(sent := await self.start(), **claims)
        return await self.return_from_provider(sent)

    async def session(self) -> dict[str, Any]:
        reply = await self.client.get("/v1/sessions/current", headers=SAME_ORIGIN)
        found: dict[str, Any] = reply.json()
        return found


def failure(reply: httpx.Response) -> str:
    """The failure that the sign-in page explains. Asserts that no session was started."""
    url = urlsplit(reply.headers["location"])
    query = parse_qs(url.query)
    assert (reply.status_code, url.netloc, url.path) == (303, "", "/sign-in"), reply.headers[
        "location"
    ]
    assert query["request"] == [reply.headers["x-request-id"]]
    assert not any(
        header.startswith(CONSOLE_COOKIE + "=") for header in reply.headers.get_list("set-cookie")
    )
    return query["failure"][0]


@dataclass
class Setup:
    console: Console
    provider: LocalIssuer
    clock: ManualClock
    identity_provider: OidcIdentityProvider
    app: Any = None

    def visitor(self) -> Visitor:
        transport = httpx.ASGITransport(self.app, client=("192.0.2.7", 4711))
        return Visitor(httpx.AsyncClient(transport=transport, base_url=ORIGIN), self.provider)

    def serve(self, **settings: Any) -> None:
        changes = {
            "identity_provider": self.identity_provider,
            "clock": self.clock,
            "oidc_client_id": CLIENT_ID,
            "oidc_client_secret": SecretStr(SECRET),
            "oidc_scopes": "openid groups",
            **settings,
        }
        self.app = self.console.application(**changes)


@pytest.fixture
async def setup(console: Console) -> AsyncIterator[Setup]:
    console.sql("DELETE FROM console_session")
    async with running_issuer() as issuer:
        created = Setup(console, issuer.provider, issuer.clock, issuer.identity_provider)
        created.serve()
        yield created


@pytest.fixture
def visitor(setup: Setup) -> Visitor:
    return setup.visitor()


async def test_sign_in_starts_a_session_with_the_roles_of_the_user(
    setup: Setup, visitor: Visitor
) -> None:
    sent = await visitor.start()
    assert sent["redirect_uri"] == ORIGIN + CALLBACK_PATH
    named = ("response_type", "client_id", "scope", "tenant", "code_challenge_method")
    assert [sent[name] for name in named] == ["code", CLIENT_ID, "openid groups", "a", "S256"]
    visitor.answer(sent, groups=["on-call"], auth_time=NOW - 40)
    reply = await visitor.return_from_provider(sent)
    assert (reply.status_code, reply.headers["location"]) == (303, "/keys?owner=a")
    [(_, form)] = setup.provider.exchanges
    challenge = base64url(hashlib.sha256(form["code_verifier"].encode()).digest())
    assert (form["grant_type"], form["code"], form["redirect_uri"]) == (
        "authorization_code",
        CODE,
        ORIGIN + CALLBACK_PATH,
    )
    assert (len(form["code_verifier"]), challenge) == (43, sent["code_challenge"])
    current = await visitor.session()
    assert (current["session"]["actor_id"], current["roles"]) == ("alice", ["operator"])
    assert current["session"]["proven_at"] == "2027-01-15T07:59:20Z"
    assert TRANSACTION_COOKIE not in visitor.client.cookies


async def test_transaction_cookie_is_http_only_and_short_lived(visitor: Visitor) -> None:
    reply = await visitor.client.get(START_PATH, headers=SAME_ORIGIN)
    name, *attributes = reply.headers["set-cookie"].replace("; ", ";").split(";")
    assert name.startswith(f"{TRANSACTION_COOKIE}=")
    assert {item.lower() for item in attributes} == {
        "httponly",
        "secure",
        "samesite=lax",
        "path=/",
        "max-age=600",
    }
    sent = parameters(reply.headers["location"])
    cookie = visitor.client.cookies[TRANSACTION_COOKIE]
    payload = base64.urlsafe_b64decode(cookie.partition(".")[2] + "==").decode()
    assert [name for name in ("state", "nonce") if sent[name] in cookie + payload] == []


@pytest.mark.parametrize(
    "site", [{}, CROSS_SITE, {"Sec-Fetch-Site": "none"}, {"Sec-Fetch-Site": "same-site"}], ids=str
)
async def test_another_site_cannot_start_a_sign_in(visitor: Visitor, site: dict[str, str]) -> None:
    reply = await visitor.client.get(START_PATH, headers=site)
    assert (reply.status_code, reply.headers["location"]) == (303, "/sign-in")
    assert "set-cookie" not in reply.headers


async def test_malformed_query_is_rejected(visitor: Visitor) -> None:
    for path in (START_PATH, CALLBACK_PATH):
        assert (await visitor.client.get(f"{path}?a=%")).status_code == 400


async def test_response_for_another_browser_is_rejected(setup: Setup, visitor: Visitor) -> None:
    """Login CSRF: a victim, who has no sign-in or another one, receives the response of an
    attacker.
    """
    attacker = await visitor.start()
    visitor.answer(attacker)
    victim = setup.visitor()
    assert failure(await victim.return_from_provider(attacker)) == Failure.RESTART
    await victim.start()
    assert failure(await victim.return_from_provider(attacker)) == Failure.RESTART
    assert setup.provider.exchanges == []


@pytest.mark.parametrize("state", ["", "x" * 43, None, "ü", "0" * 5000], ids=str)
async def test_wrong_state_is_rejected(sign_in: SignIn, state: str | None) -> None:
    assert await sign_in.complete(state=state) == Failure.RESTART
    assert await sign_in.complete(state=state, error="access_denied") == Failure.RESTART
    assert sign_in.provider.exchanges == []


@pytest.mark.parametrize(
    "changed", ["", ".", "1.", "x.e30", "1.e30", "999999999999.e30", "٣.e30", "-1.e30", "x" * 5000]
)
async def test_changed_cookie_is_rejected(sign_in: SignIn, changed: str) -> None:
    sign_in.cookie = changed
    assert await sign_in.complete() == Failure.RESTART


async def test_changed_return_address_in_the_cookie_is_rejected(sign_in: SignIn) -> None:
    generation, _, payload = sign_in.cookie.partition(".")
    fields = json.loads(base64.urlsafe_b64decode(payload + "=="))
    fields[2] = "https://evil.example/"
    sign_in.cookie = f"{generation}.{base64url(json.dumps(fields).encode())}"
    assert await sign_in.complete() == Failure.RESTART


@pytest.mark.parametrize("token", ["", "a.b.c", None, 7])
async def test_missing_or_malformed_id_token_is_rejected(sign_in: SignIn, token: object) -> None:
    sign_in.provider.token_response = (200, {"id_token": token})
    assert await sign_in.complete() == Failure.RESPONSE


async def test_response_is_accepted_once(setup: Setup, visitor: Visitor) -> None:
    visitor.answer(sent := await visitor.start())
    cookie = visitor.client.cookies[TRANSACTION_COOKIE]
    assert (await visitor.return_from_provider(sent)).headers["location"] == "/keys?owner=a"
    other = setup.visitor()
    assert failure(await other.return_from_provider(sent)) == Failure.RESTART
    # The issuer rejects a code that was used, even if the cookie was copied.
    other.client.cookies.set(TRANSACTION_COOKIE, cookie)
    setup.provider.token_response = (400, {"error": "invalid_grant", "error_description": CODE})
    assert failure(await other.return_from_provider(sent)) == Failure.RESPONSE


async def test_sign_in_must_be_completed_in_time(sign_in: SignIn) -> None:
    sign_in.answer(exp=NOW + 2 * TRANSACTION_S)
    sign_in.issuer.clock.advance(TRANSACTION_S + 1)
    assert await sign_in.complete() == Failure.RESTART


@pytest.mark.parametrize(
    "issuer_url", [None, "", "https://other.example", "http://127.0.0.1:1"], ids=str
)
async def test_response_of_another_issuer_is_rejected(
    sign_in: SignIn, issuer_url: str | None
) -> None:
    assert await sign_in.complete(iss=issuer_url) == Failure.RESPONSE
    assert sign_in.provider.exchanges == []


async def test_issuer_parameter_is_optional_unless_announced(issuer: IssuerSetup) -> None:
    issuer.provider.metadata = {"authorization_response_iss_parameter_supported": False}
    assert await (await started(issuer)).complete(iss=None) == "/keys?owner=a"


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": None},
        {"nonce": ""},
        {"nonce": "x" * 43},
        {"nonce": ["x"]},
        {"nonce": 7},
        {"aud": "gatehouse"},  # a bearer token of the API
        {"aud": [CLIENT_ID, "other"]},
        {"aud": [CLIENT_ID, "other"], "azp": "other"},
        {"aud": CLIENT_ID, "azp": "other"},
        {"iat": None},
        {"iat": NOW + SKEW_S + 5},
        {"at_hash": "x"},
        {"header": {"typ": "at+jwt"}},
    ],
    ids=lambda claims: str(list(claims.items()))[:50],
)
async def test_invalid_id_token_is_rejected(sign_in: SignIn, claims: dict[str, Any]) -> None:
    """Further invalid tokens are in test_oidc.py: one function validates both kinds."""
    sign_in.answer(**claims)
    assert await sign_in.complete() == Failure.RESPONSE


async def test_further_valid_id_tokens_are_accepted(sign_in: SignIn) -> None:
    access_token = "canary-of-the-access-token"
    at_hash = base64url(hashlib.sha256(access_token.encode()).digest()[:16])
    shared = {"aud": [CLIENT_ID, "other"], "azp": CLIENT_ID, "at_hash": at_hash}
    sign_in.answer(key=EC, alg="ES256", **shared)
    sign_in.provider.token_response[1]["access_token"] = access_token
    assert await sign_in.complete() == "/keys?owner=a"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"error": "access_denied"}, Failure.DENIED),
        ({"error": "unauthorized_client"}, Failure.CONFIGURATION),
        ({"error": "temporarily_unavailable"}, Failure.UNAVAILABLE),
        ({"error": "<script>"}, Failure.UNAVAILABLE),
        ({"code": None}, Failure.RESPONSE),
        ({"code": ""}, Failure.RESPONSE),
        ({"code": "x" * 5000}, Failure.RESPONSE),
    ],
    ids=str,
)
async def test_error_of_the_provider_is_explained(
    sign_in: SignIn, changes: dict[str, Any], expected: Failure
) -> None:
    assert await sign_in.complete(error_description="canary", **changes) == expected


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ((400, {"error": "invalid_grant"}), Failure.RESPONSE),
        ((401, {"error": "invalid_client"}), Failure.CONFIGURATION),
        ((400, {"error": ["x"]}), Failure.UNAVAILABLE),
        ((500, {}), Failure.UNAVAILABLE),
        ((302, {}), Failure.UNAVAILABLE),
        ((200, []), Failure.UNAVAILABLE),
        ((200, {}), Failure.RESPONSE),
        ((200, {"id_token": "x" * 300_000}), Failure.RESPONSE),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_error_of_the_token_endpoint_is_explained(
    sign_in: SignIn, response: tuple[int, Any], expected: Failure
) -> None:
    sign_in.provider.token_response = response
    assert await sign_in.complete() == expected


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://other.example"},
        {"token_endpoint": "ftp://127.0.0.1/"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"end_session_endpoint": "//evil.example"},
        {"jwks_uri": 7},
    ],
    ids=str,
)
async def test_unsuitable_metadata_is_rejected(
    issuer: IssuerSetup, metadata: dict[str, Any]
) -> None:
    issuer.provider.metadata = metadata
    with pytest.raises(SignInFailed) as raised:
        await started(issuer)
    assert raised.value.failure == Failure.UNAVAILABLE


@pytest.mark.parametrize(
    "text",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "javascript:alert(1)",
        "evil.example",
        "",
        "keys",
        "/ü",
        "/a b",
        "/%zz\\",
        "http:/keys",
        " /keys",
        "/" + "x" * RETURN_TO_CHARS_MAX,
    ],
)
def test_foreign_return_address_is_replaced(text: str) -> None:
    assert local_path(text) == "/"


async def test_return_address_is_checked_before_the_sign_in(issuer: IssuerSetup) -> None:
    assert await (await started(issuer, return_to="//evil.example")).complete() == "/"


@pytest.mark.parametrize(
    "path", ["/", "/keys", "/keys?owner=a&cursor=b%2Fc", "/keys/3fGh82kLmQ0a#audit", "/a//b"]
)
def test_path_of_the_console_is_kept(path: str) -> None:
    assert local_path(path) == path


async def test_public_client_sends_no_secret(issuer: IssuerSetup) -> None:
    sign_in = await started(issuer, Client("console", "", "openid", ORIGIN))
    assert await sign_in.complete() == "/keys?owner=a"
    [(head, form)] = issuer.provider.exchanges
    assert "authorization" not in head.lower()
    assert (form["client_id"], "client_secret" in form) == ("console", False)


@pytest.mark.parametrize("metadata", [{}, POST_ONLY], ids=["basic", "post"])
async def test_confidential_client_authenticates_as_announced(
    issuer: IssuerSetup, metadata: dict[str, Any]
) -> None:
    issuer.provider.metadata = metadata
    await (await started(issuer)).complete()
    [(head, form)] = issuer.provider.exchanges
    # Both values are form-encoded before base64 (RFC 6749, section 2.3.1).
    basic = base64.b64encode(b"gatehouse+console:canary%2Fof+the%2Bclient").decode()
    sent_as_header = f"basic {basic}".lower() in head.lower()
    assert (sent_as_header, form.get("client_secret")) == (
        (False, SECRET) if metadata else (True, None)
    )


async def test_step_up_requires_a_new_authentication_of_the_same_user(
    setup: Setup, visitor: Visitor
) -> None:
    await visitor.sign_in()
    assert (await visitor.session())["session"]["proven_at"] is None  # without auth_time
    setup.clock.advance(30)

    async def step_up(**claims: Any) -> httpx.Response:
        sent = await visitor.start("/keys", step_up="")
        assert (sent["prompt"], sent["max_age"]) == ("login", "300")
        visitor.answer(sent, **claims)
        return await visitor.return_from_provider(sent)

    before = await visitor.session()
    for claims in (
        {},
        {"auth_time": NOW + 30 - SKEW_S - 1},
        {"auth_time": "now"},
        {"auth_time": True},
    ):
        assert failure(await step_up(**claims)) == Failure.NOT_RECENT
    assert failure(await step_up(auth_time=NOW + 30, sub="bob")) == Failure.OTHER_USER
    assert (await visitor.session())["session"]["id"] == before["session"]["id"]
    assert (await step_up(auth_time=NOW + 30)).headers["location"] == "/keys"
    after = await visitor.session()
    assert after["session"]["proven_at"] == "2027-01-15T08:00:30Z"
    sessions = await visitor.client.get("/v1/sessions", headers=SAME_ORIGIN)
    assert [item["id"] for item in sessions.json()["sessions"]] == [after["session"]["id"]]


@pytest.mark.bound("console.sign_in:EXCHANGES_PARALLEL")
async def test_sign_ins_in_progress_are_bounded(
    setup: Setup, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(semaphores, "WAIT_S", 0.1)
    sent, setup.provider.silent = await visitor.start(), True
    callbacks = [asyncio.create_task(visitor.return_from_provider(sent)) for _ in range(9)]
    rejected = islice(asyncio.as_completed(callbacks), 9 - EXCHANGES_PARALLEL)
    ended = [await reply for reply in rejected]
    assert {failure(reply) for reply in ended} == {Failure.UNAVAILABLE}
    async with asyncio.timeout(60):
        while setup.provider.requests.count("/token") < EXCHANGES_PARALLEL:
            await asyncio.sleep(0.001)
    assert setup.provider.requests.count("/token") == EXCHANGES_PARALLEL
    for callback in callbacks:
        callback.cancel()


async def test_failures_lock_out_nobody(setup: Setup, visitor: Visitor) -> None:
    cases: list[tuple[dict[str, Any], Failure]] = [
        ({"state": "x"}, Failure.RESTART),
        ({"state": ["x", "x"]}, Failure.RESPONSE),
        ({"error": "access_denied"}, Failure.DENIED),
        ({}, Failure.NO_ROLE),
        ({"code": None}, Failure.RESPONSE),
    ]
    for change, failed in (FAILURES_MAX + 1) * cases:
        visitor.answer(sent := await visitor.start(), groups=[])
        assert failure(await visitor.return_from_provider(sent, **change)) == failed
    setup.provider.token_response = (400, {"error": "invalid_grant"})
    for _ in range(FAILURES_MAX + 1):
        reply = await visitor.return_from_provider(await visitor.start())
        assert failure(reply) == Failure.RESPONSE
    denied = await setup.console.events(outcome="denied")
    assert denied[0]["details"]["reason"] == "sign_in_restart"
    assert (await visitor.sign_in()).headers["location"] == "/keys?owner=a"


async def test_sign_out_leads_to_the_provider_and_back(setup: Setup, visitor: Visitor) -> None:
    url = urlsplit(await visitor.sign_out())
    assert f"{url.scheme}://{url.netloc}{url.path}" == f"{setup.provider.url}/end"
    assert parse_qs(url.query) == {
        "client_id": [CLIENT_ID],
        "post_logout_redirect_uri": [f"{ORIGIN}/"],
        "logout_uri": [f"{ORIGIN}/"],
    }
    for site in ("cross-site", "same-site", "none", ""):
        assert await visitor.sign_out(site) == "/"


async def test_sign_out_without_an_announced_endpoint(setup: Setup, visitor: Visitor) -> None:
    setup.provider.metadata = {"end_session_endpoint": ""}
    assert await visitor.sign_out() == "/"


async def test_session_key_may_change_during_a_sign_in(setup: Setup, visitor: Visitor) -> None:
    visitor.answer(sent := await visitor.start())
    setup.serve(session_key=session_key({1: b"s" * 32, 2: b"t" * 32}))
    later = setup.visitor()
    later.client.cookies.set(TRANSACTION_COOKIE, visitor.client.cookies[TRANSACTION_COOKIE])
    assert (await later.return_from_provider(sent)).headers["location"] == "/keys?owner=a"


async def test_codes_tokens_and_secrets_are_neither_logged_nor_stored(
    setup: Setup, visitor: Visitor
) -> None:
    visitor.answer(sent := await visitor.start())
    cookie = visitor.client.cookies[TRANSACTION_COOKIE]
    await visitor.return_from_provider(sent)
    token = setup.provider.token_response[1]["id_token"]
    [(_, form)] = setup.provider.exchanges
    await visitor.return_from_provider(sent)
    reply = await visitor.sign_in(nonce="x")
    rows = setup.console.sql("SELECT string_agg(t::text, '') FROM audit_event t")
    everything = f"{setup.console.log.entries}{rows}{reply.headers}{reply.text}"
    assert "sign_in_response" in everything
    values = (CODE, SECRET, token, token.rpartition(".")[2], form["code_verifier"], cookie)
    assert [value for value in values if value in everything] == []


async def test_unconfigured_sign_in_has_no_paths(console: Console) -> None:
    assert (await console.get("/operations.json")).json()["identity_provider"] is None
    assert [
        (await console.get(path)).status_code for path in (START_PATH, CALLBACK_PATH, SIGN_OUT_PATH)
    ] == [404] * 3
