"""Console sessions."""

from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest
from gatehouse.core.http.forwarding import CONSOLE_COOKIE
from gatehouse.core.roles import Role
from gatehouse.features.identity.models import Identity
from gatehouse.features.identity.oidc import OidcIdentityProvider
from gatehouse.features.identity.service import SESSIONS_MAX, Sessions
from gatehouse.platform.web.endpoint import StepUp
from gatehouse.services.console.routes import ENDPOINTS
from pydantic import SecretStr

from tests.runtime.clocks import ManualClock
from tests.runtime.console_client import BOOTSTRAP, Console, assert_problem, outcome

ORIGIN = "https://console.test"
SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin", "Origin": ORIGIN}


class StubIdentityProvider(OidcIdentityProvider):
    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.proven_s_ago = 0.0

    async def identify(self, token: str) -> Identity | None:
        proven_at = self.clock.now() - self.proven_s_ago
        return (
            Identity("alice", frozenset({Role.OPERATOR}), proven_at) if token == "a.b.c" else None
        )


@dataclass
class Browser:
    client: httpx.AsyncClient
    cookie: str = ""
    csrf: str = ""

    async def sign_in(self, token: str, **headers: str) -> httpx.Response:
        current = {"Cookie": f"{CONSOLE_COOKIE}={self.cookie}"} if self.cookie else {}
        reply = await self.client.post(
            "/v1/sessions",
            headers={"Authorization": f"Bearer {token}", **SAME_ORIGIN, **current, **headers},
        )
        if reply.status_code == 201:
            self.cookie = reply.headers["set-cookie"].partition(";")[0].partition("=")[2]
            self.csrf = reply.json()["csrf_token"]
        return reply

    async def send(
        self, method: str, path: str, *, headers: dict[str, str | None] | None = None, **more: Any
    ) -> httpx.Response:
        sent = {
            "Cookie": f"{CONSOLE_COOKIE}={self.cookie}",
            "X-CSRF-Token": self.csrf,
            **SAME_ORIGIN,
            **(headers or {}),
        }
        present = {name: value for name, value in sent.items() if value is not None}
        return await self.client.request(method, path, headers=present, **more)

    async def status(self, method: str = "GET", path: str = "/v1/keys", **more: Any) -> int:
        return (await self.send(method, path, **more)).status_code

    async def sessions(self) -> list[dict[str, Any]]:
        sessions: list[dict[str, Any]] = (await self.send("GET", "/v1/sessions")).json()["sessions"]
        return sessions


@dataclass
class Setup:
    console: Console
    clock: ManualClock
    identity_provider: StubIdentityProvider

    def browser(self, **changes: Any) -> Browser:
        changes = {"clock": self.clock, "identity_provider": self.identity_provider, **changes}
        return Browser(self.console.connect(token="", **changes))

    async def signed_in(self, token: str = BOOTSTRAP) -> Browser:
        browser = self.browser()
        assert (await browser.sign_in(token)).status_code == 201
        return browser

    @property
    def sessions(self) -> Sessions:
        return replace(self.console.composition.sessions(), clock=self.clock)


@pytest.fixture
async def setup(console: Console) -> Setup:
    console.sql("DELETE FROM console_session")
    clock = ManualClock(console.clock.now())
    return Setup(console, clock, StubIdentityProvider(clock))


@pytest.fixture
async def browser(setup: Setup) -> Browser:
    return await setup.signed_in()


async def test_session_cookie_is_http_only_and_same_site(setup: Setup) -> None:
    reply = await setup.browser().sign_in(BOOTSTRAP)
    name, *attributes = reply.headers["set-cookie"].replace("; ", ";").split(";")
    assert name.startswith("__Host-gatehouse=")
    assert {item.lower() for item in attributes} == {
        "httponly",
        "secure",
        "samesite=strict",
        "path=/",
        "max-age=28800",
    }
    assert reply.json()["session"]["current"]
    assert reply.json()["roles"] == ["owner"]


async def test_session_secrets_are_not_stored_or_logged(setup: Setup, browser: Browser) -> None:
    await browser.send("GET", "/v1/keys")
    rows = setup.console.sql("SELECT string_agg(t::text, '') FROM console_session t")
    rows += setup.console.sql("SELECT string_agg(t::text, '') FROM audit_event t")
    assert rows
    assert [
        secret
        for secret in (browser.cookie, browser.csrf)
        if secret in rows or secret in str(setup.console.log.entries)
    ] == []


@pytest.mark.parametrize(
    ("headers", "location"),
    [
        ({"X-CSRF-Token": None}, "header.x-csrf-token"),
        ({"X-CSRF-Token": "A" * 43}, "header.x-csrf-token"),
        ({"Sec-Fetch-Site": "cross-site"}, "header.sec-fetch-site"),
        ({"Sec-Fetch-Site": "same-site"}, "header.sec-fetch-site"),
        ({"Sec-Fetch-Site": "none"}, "header.sec-fetch-site"),
        ({"Origin": "https://evil.test"}, "header.origin"),
        ({"Origin": "null"}, "header.origin"),
        ({"Origin": ORIGIN + ".evil.test"}, "header.origin"),
        ({"Sec-Fetch-Site": None, "Origin": None}, "header.origin"),
    ],
)
async def test_cross_site_request_changes_nothing(
    browser: Browser, headers: dict[str, str | None], location: str
) -> None:
    reply = await browser.send("POST", "/v1/keys", json={"name": "not mine"}, headers=headers)
    assert (reply.status_code, reply.json()["code"], reply.json()["errors"][0]["location"]) == (
        403,
        "cross_site",
        location,
    )


async def test_cross_site_request_reads_nothing(browser: Browser) -> None:
    denied = await browser.send(
        "GET", "/v1/keys", headers={"Sec-Fetch-Site": "cross-site", "Origin": None}
    )
    assert denied.status_code == 403
    typed = await browser.send(
        "GET", "/v1/keys", headers={"Sec-Fetch-Site": "none", "Origin": None, "X-CSRF-Token": None}
    )
    assert typed.status_code == 200


async def test_origin_defaults_to_the_host_header(setup: Setup) -> None:
    browser = setup.browser(console_url="")
    await browser.sign_in(BOOTSTRAP)
    assert await browser.status("POST", "/v1/keys", json={"name": "a"}) == 201
    for origin in ("https://elsewhere.test", "http://[a"):
        denied = await browser.send(
            "POST", "/v1/keys", json={"name": "a"}, headers={"Origin": origin}
        )
        assert denied.status_code == 403


async def test_csrf_token_of_another_session_is_denied(setup: Setup, browser: Browser) -> None:
    other = await setup.signed_in()
    reply = await browser.send(
        "POST", "/v1/keys", json={"name": "a"}, headers={"X-CSRF-Token": other.csrf}
    )
    assert reply.json()["code"] == "cross_site"


async def test_explicit_credential_needs_no_csrf_token(setup: Setup, browser: Browser) -> None:
    reader = (await setup.console.create())["token"]
    both = {"Authorization": f"Bearer {reader}", "X-CSRF-Token": None}
    assert await browser.status("GET", "/v1/keys", headers=both) == 403
    bearer = {"Authorization": f"Bearer {BOOTSTRAP}"}
    assert (
        await browser.client.post("/v1/keys", json={"name": "a"}, headers=bearer)
    ).status_code == 201
    assert (await browser.client.get("/v1/sessions/current", headers=bearer)).status_code == 404


@pytest.mark.parametrize("path", ["/v1/sessions", "/v1/sign-in-links"])
async def test_session_cannot_create_a_session_or_link(browser: Browser, path: str) -> None:
    reply = await browser.send("POST", path)
    assert_problem(
        reply, 400, "header.authorization", "is missing", "send Authorization: Bearer <token>"
    )


async def test_cross_site_sign_in_is_denied(setup: Setup) -> None:
    reply = await setup.browser().sign_in(BOOTSTRAP, **{"Sec-Fetch-Site": "cross-site"})
    assert outcome(reply) == (403, "cross_site")


async def test_second_sign_in_replaces_the_session(browser: Browser) -> None:
    old = replace(browser)
    await browser.sign_in(BOOTSTRAP)
    assert old.cookie != browser.cookie
    assert await old.status() == 401
    assert len(await browser.sessions()) == 1


async def test_session_ends_by_idle_time_and_by_age(setup: Setup, browser: Browser) -> None:
    for _ in range(32):
        setup.clock.advance(899)
        assert await browser.status() == 200
    setup.clock.advance(28_801 - 32 * 899)
    assert await browser.status() == 401
    await browser.sign_in(BOOTSTRAP)
    setup.clock.advance(901)
    assert (await browser.send("GET", "/v1/keys")).json()[
        "detail"
    ] == "The session has ended. Sign in again."
    assert await setup.sessions.prune() == 2


async def test_sign_out_ends_the_session_and_clears_the_cookie(browser: Browser) -> None:
    reply = await browser.send("DELETE", "/v1/sessions/current")
    assert reply.status_code == 204
    assert "Max-Age=0" in reply.headers["set-cookie"]
    assert reply.headers["clear-site-data"] == '"cache", "storage"'
    assert await browser.status() == 401


async def test_user_ends_other_and_all_sessions(setup: Setup, browser: Browser) -> None:
    other = await setup.signed_in()
    sessions = await browser.sessions()
    assert [item["current"] for item in sessions].count(True) == 1
    other_id = next(item["id"] for item in sessions if not item["current"])
    assert await browser.status("DELETE", f"/v1/sessions/{other_id}") == 204
    assert await other.status() == 401
    await other.sign_in(BOOTSTRAP)
    assert (await browser.send("DELETE", "/v1/sessions")).json() == {"ended": 2}
    assert await other.status() == 401


async def test_only_an_owner_manages_sessions_of_others(setup: Setup, browser: Browser) -> None:
    operator = await setup.signed_in(
        (await setup.console.create(scopes=["role:operator"]))["token"]
    )
    owners = (await browser.sessions())[0]["id"]
    assert await operator.status("DELETE", f"/v1/sessions/{owners}") == 404
    assert await operator.status("DELETE", "/v1/sessions?everybody=true") == 403
    assert len(await operator.sessions()) == 1
    everybody = (await operator.send("GET", "/v1/sessions?everybody=true")).json()["sessions"]
    assert {item["actor_type"] for item in everybody} == {"key", "bootstrap"}
    issuer = await setup.signed_in((await setup.console.create(scopes=["role:issuer"]))["token"])
    assert await issuer.status("GET", "/v1/sessions?everybody=true") == 403
    operators = (await operator.sessions())[0]["id"]
    assert await browser.status("DELETE", f"/v1/sessions/{operators}") == 204
    assert (await browser.send("DELETE", "/v1/sessions?everybody=true")).json() == {"ended": 2}


async def test_session_follows_changes_of_its_key(setup: Setup) -> None:
    created = await setup.console.create(scopes=["role:operator"])
    path, browser = f"/v1/keys/{created['key']['id']}", await setup.signed_in(created["token"])
    await setup.console.patch(path, json={"scopes": ["role:issuer"]}, headers={"If-Match": "*"})
    assert await browser.status("GET", "/v1/audit-events") == 403
    await setup.console.post(f"{path}/revoke")
    denied = await browser.send("GET", "/v1/keys")
    assert (denied.status_code, denied.json()["detail"]) == (
        401,
        "The credential of this session is no longer valid. Sign in with another credential.",
    )


async def test_new_bootstrap_token_ends_previous_sessions(setup: Setup, browser: Browser) -> None:
    changed = setup.browser(bootstrap_token=SecretStr("gtk_admin_new"))
    assert await replace(browser, client=changed.client).status() == 401


async def test_key_signs_in_from_its_allowed_addresses_only(setup: Setup) -> None:
    inside = (await setup.console.create(scopes=["admin"], addresses=["192.0.2.0/24"]))["token"]
    outside = (await setup.console.create(scopes=["admin"], addresses=["198.51.100.0/24"]))["token"]
    assert (await setup.browser().sign_in(inside)).status_code == 201
    assert (await setup.browser().sign_in(outside)).status_code == 401


async def test_invalid_cookies_cause_no_lockout(setup: Setup) -> None:
    browser = setup.browser()
    for cookie in [*("A" * 43 for _ in range(12)), "short", "x" * 500]:
        browser.cookie = cookie
        assert await browser.status() == 401
    assert (await browser.sign_in(BOOTSTRAP)).status_code == 201


async def test_sessions_are_audited(setup: Setup, browser: Browser) -> None:
    setup.console.sql("TRUNCATE audit_event")
    await browser.sign_in(BOOTSTRAP)
    await browser.send("DELETE", "/v1/sessions/current")
    await setup.console.delete("/v1/sessions")
    events = await setup.console.events()
    assert [event["action"] for event in events] == [
        "session.end-all",
        "session.end",
        "session.begin",
    ]
    assert events[2]["details"]["replaces"]


@pytest.mark.bound("identity.service:SESSIONS_MAX")
async def test_number_of_sessions_per_actor_is_bounded(setup: Setup) -> None:
    first = await setup.signed_in()
    for _ in range(SESSIONS_MAX):
        setup.clock.advance(1)
        await setup.browser().sign_in(BOOTSTRAP)
    assert await first.status() == 401
    assert setup.console.sql("SELECT count(*) FROM console_session") == str(SESSIONS_MAX)


async def test_purge_deletes_the_sessions_of_the_key(setup: Setup) -> None:
    created = await setup.console.create(scopes=["role:auditor"])
    await setup.browser().sign_in(created["token"])
    key_id = created["key"]["id"]
    await setup.console.post(f"/v1/keys/{key_id}/revoke")
    await setup.console.post(f"/v1/keys/{key_id}/purge", json={"confirm": key_id})
    assert setup.console.sql("SELECT count(*) FROM console_session") == "0"


def test_irreversible_actions_and_role_changes_need_step_up() -> None:
    rules = {endpoint.operation_id: endpoint.step_up for endpoint in ENDPOINTS}
    assert {rules["purge_key"], rules["delete_key"], rules["delete_webhook"]} == {StepUp.ALWAYS}
    changing = [
        endpoint
        for endpoint in ENDPOINTS
        if endpoint.path.startswith("/v1/keys") and endpoint.changes_state
    ]
    assert len(changing) > 8
    assert [
        endpoint.path
        for endpoint in changing
        if endpoint.step_up not in (StepUp.ALWAYS, StepUp.MANAGING)
    ] == []


async def test_irreversible_action_requires_step_up(setup: Setup, browser: Browser) -> None:
    key_id = (await browser.send("POST", "/v1/keys", json={"name": "a"})).json()["key"]["id"]
    setup.clock.advance(301)
    denied = await browser.send("DELETE", f"/v1/keys/{key_id}")
    assert outcome(denied) == (401, "step_up_required")
    assert (
        'error="insufficient_user_authentication", max_age="300"'
        in denied.headers["www-authenticate"]
    )
    assert await browser.status("POST", f"/v1/keys/{key_id}/disable") == 200
    await browser.sign_in(BOOTSTRAP)
    assert await browser.status("DELETE", f"/v1/keys/{key_id}") == 200


async def test_changes_of_keys_with_a_role_require_step_up(setup: Setup, browser: Browser) -> None:
    strong = {"name": "strong", "scopes": ["role:auditor"]}
    key_id = (await browser.send("POST", "/v1/keys", json=strong)).json()["key"]["id"]
    setup.clock.advance(301)
    assert await browser.status("POST", "/v1/keys", json={"name": "plain"}) == 201
    for path, body in (("/v1/keys", strong), (f"/v1/keys/{key_id}/revoke", {})):
        denied = await browser.send("POST", path, json=body)
        assert denied.json()["code"] == "step_up_required"


async def test_user_step_up_uses_the_auth_time_claim(setup: Setup) -> None:
    browser = setup.browser()
    key_id = await setup.console.create_id()
    setup.identity_provider.proven_s_ago = 3600.0
    signed_in = await browser.sign_in("a.b.c")
    assert (signed_in.status_code, signed_in.json()["roles"]) == (201, ["operator"])
    assert (await browser.send("DELETE", f"/v1/keys/{key_id}")).json()["code"] == "step_up_required"
    setup.identity_provider.proven_s_ago = 0.0
    await browser.sign_in("a.b.c")
    assert await browser.status("DELETE", f"/v1/keys/{key_id}") == 200


async def test_user_session_ends_when_issuer_is_removed(setup: Setup) -> None:
    browser = await setup.signed_in("a.b.c")
    later = setup.browser(identity_provider=None)
    assert await replace(browser, client=later.client).status() == 401
