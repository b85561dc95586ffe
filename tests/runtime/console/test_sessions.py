"""Sessions of the console: a browser signs in, is told apart from another site's page, and proves itself before what is grave."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest
from gatehouse.console import asgi as console_asgi
from gatehouse.console import dependencies as console_dependencies
from gatehouse.console.authentication import COOKIE
from gatehouse.console.routes import ENDPOINTS
from gatehouse.http.endpoint import StepUp
from gatehouse.identity.models import Identity, Role
from gatehouse.identity.service import KEPT_MAX

from tests.runtime.clocks import ManualClock
from tests.runtime.console.conftest import BOOTSTRAP, Console

ORIGIN = "https://console.test"
OURS = {"Sec-Fetch-Site": "same-origin", "Origin": ORIGIN}


class OnePerson:
    """An issuer that knows one token."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.proven_ago = 0.0

    async def person(self, token: str) -> Identity | None:
        known = token == "a.b.c"
        return Identity("alice", frozenset({Role.OPERATOR}), self.clock.now() - self.proven_ago) if known else None


@dataclass
class Browser:
    """What keeps a cookie and the token of its page, and says where a request comes from."""

    client: httpx.AsyncClient
    cookie: str = ""
    csrf: str = ""

    async def sign_in(self, token: str, **headers: str) -> httpx.Response:
        held = {"Cookie": f"{COOKIE}={self.cookie}"} if self.cookie else {}
        reply = await self.client.post("/v1/sessions", headers={"Authorization": f"Bearer {token}", **OURS, **held, **headers})
        if reply.status_code == 201:
            self.cookie = reply.headers["set-cookie"].partition(";")[0].partition("=")[2]
            self.csrf = reply.json()["csrf_token"]
        return reply

    async def send(self, method: str, path: str, *, headers: dict[str, str | None] | None = None, **more: Any) -> httpx.Response:
        """`headers` None: without that one."""
        sent = {"Cookie": f"{COOKIE}={self.cookie}", "X-CSRF-Token": self.csrf, **OURS, **(headers or {})}
        kept = {name: value for name, value in sent.items() if value is not None}
        return await self.client.request(method, path, headers=kept, **more)


@dataclass
class Front:
    door: Console
    clock: ManualClock
    people: OnePerson
    parts: console_dependencies.Dependencies

    def browser(self, **changed: Any) -> Browser:
        transport = httpx.ASGITransport(console_asgi.create(replace(self.parts, **changed)), client=("192.0.2.7", 4711))
        return Browser(httpx.AsyncClient(transport=transport, base_url=ORIGIN))


@pytest.fixture
async def front(door: Console) -> Front:
    door.database.sql("DELETE FROM console_session")
    clock = ManualClock(door.parts.clock.now())
    people = OnePerson(clock)
    sessions = replace(door.parts.sessions, clock=clock)
    return Front(
        door, clock, people, replace(door.parts, clock=clock, identity_provider=people, sessions=sessions, origin=ORIGIN)
    )


@pytest.fixture
async def browser(front: Front) -> Browser:
    """Signed in with the bootstrap token."""
    made = front.browser()
    assert (await made.sign_in(BOOTSTRAP)).status_code == 201
    return made


async def test_a_credential_becomes_a_cookie_that_no_script_reads_and_no_other_site_sends(front: Front) -> None:
    reply = await front.browser().sign_in(BOOTSTRAP)
    name, *attributes = reply.headers["set-cookie"].replace("; ", ";").split(";")
    assert name.startswith("__Host-gatehouse=")
    assert {one.lower() for one in attributes} == {"httponly", "secure", "samesite=strict", "path=/", "max-age=28800"}
    assert reply.json()["session"]["current"]
    assert reply.json()["roles"] == ["owner"]


async def test_a_session_does_what_its_credential_may(browser: Browser) -> None:
    assert (await browser.send("GET", "/v1/keys")).status_code == 200
    made = await browser.send("POST", "/v1/keys", json={"name": "by session"})
    assert (made.status_code, made.json()["key"]["created_by"]) == (201, "bootstrap")


@pytest.mark.requirement("CG-02")
async def test_neither_the_cookie_nor_its_page_token_is_in_the_database_or_the_log(front: Front, browser: Browser) -> None:
    await browser.send("GET", "/v1/keys")
    rows = front.door.database.sql("SELECT string_agg(t::text, '') FROM console_session t")
    rows += front.door.database.sql("SELECT string_agg(t::text, '') FROM audit_event t")
    assert rows
    assert [secret for secret in (browser.cookie, browser.csrf) if secret in rows or secret in str(front.door.lines.kept)] == []


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
async def test_what_another_site_makes_a_browser_send_changes_nothing(
    browser: Browser, headers: dict[str, str | None], location: str
) -> None:
    reply = await browser.send("POST", "/v1/keys", json={"name": "not mine"}, headers=headers)
    assert (reply.status_code, reply.json()["code"], reply.json()["errors"][0]["location"]) == (403, "cross_site", location)


async def test_another_site_reads_nothing_either(browser: Browser) -> None:
    refused = await browser.send("GET", "/v1/keys", headers={"Sec-Fetch-Site": "cross-site", "Origin": None})
    assert refused.status_code == 403
    typed = await browser.send("GET", "/v1/keys", headers={"Sec-Fetch-Site": "none", "Origin": None, "X-CSRF-Token": None})
    assert typed.status_code == 200


async def test_without_a_public_address_the_origin_is_the_host_that_was_called(front: Front) -> None:
    browser = front.browser(origin="")
    await browser.sign_in(BOOTSTRAP)
    assert (await browser.send("POST", "/v1/keys", json={"name": "a"})).status_code == 201
    refused = await browser.send("POST", "/v1/keys", json={"name": "a"}, headers={"Origin": "https://elsewhere.test"})
    assert refused.status_code == 403


async def test_a_page_token_of_another_session_is_none(front: Front, browser: Browser) -> None:
    other = front.browser()
    await other.sign_in(BOOTSTRAP)
    reply = await browser.send("POST", "/v1/keys", json={"name": "a"}, headers={"X-CSRF-Token": other.csrf})
    assert reply.json()["code"] == "cross_site"


async def test_a_page_that_is_loaded_anew_gets_its_token_again(browser: Browser) -> None:
    reply = await browser.send("GET", "/v1/sessions/current", headers={"X-CSRF-Token": None})
    assert reply.json()["csrf_token"] == browser.csrf


async def test_a_credential_that_is_sent_counts_alone_and_needs_no_page_token(front: Front, browser: Browser) -> None:
    reader = (await front.door.create())["token"]
    both = {"Authorization": f"Bearer {reader}", "X-CSRF-Token": None}
    assert (await browser.send("GET", "/v1/keys", headers=both)).status_code == 403
    bearer = {"Authorization": f"Bearer {BOOTSTRAP}"}
    assert (await browser.client.post("/v1/keys", json={"name": "a"}, headers=bearer)).status_code == 201
    assert (await browser.client.get("/v1/sessions/current", headers=bearer)).status_code == 404


async def test_a_session_makes_no_further_session(browser: Browser) -> None:
    reply = await browser.send("POST", "/v1/sessions")
    assert (reply.status_code, reply.json()["errors"][0]["location"]) == (400, "header.authorization")


async def test_no_other_site_signs_somebody_in(front: Front) -> None:
    reply = await front.browser().sign_in(BOOTSTRAP, **{"Sec-Fetch-Site": "cross-site"})
    assert (reply.status_code, reply.json()["code"]) == (403, "cross_site")


async def test_signing_in_again_gives_a_new_cookie_and_ends_the_old_one(browser: Browser) -> None:
    old = replace(browser)
    await browser.sign_in(BOOTSTRAP)
    assert old.cookie != browser.cookie
    assert (await old.send("GET", "/v1/keys")).status_code == 401
    assert len((await browser.send("GET", "/v1/sessions")).json()["sessions"]) == 1


async def test_a_session_ends_without_use_and_at_its_last_hour_with_use(front: Front, browser: Browser) -> None:
    for _ in range(31):
        front.clock.advance(899)
        assert (await browser.send("GET", "/v1/keys")).status_code == 200
    front.clock.advance(28_800 - 31 * 899)
    assert (await browser.send("GET", "/v1/keys")).status_code == 401
    await browser.sign_in(BOOTSTRAP)
    front.clock.advance(901)
    assert (await browser.send("GET", "/v1/keys")).json()["detail"] == "The session has ended. Sign in again."
    assert await front.parts.sessions.prune() == 2


async def test_signing_out_ends_the_session_at_the_server_and_clears_the_browser(browser: Browser) -> None:
    reply = await browser.send("DELETE", "/v1/sessions/current")
    assert reply.status_code == 204
    assert "Max-Age=0" in reply.headers["set-cookie"]
    assert reply.headers["clear-site-data"] == '"cache", "storage"'
    assert (await browser.send("GET", "/v1/keys")).status_code == 401


async def test_one_signs_out_elsewhere_and_everywhere(front: Front, browser: Browser) -> None:
    other = front.browser()
    await other.sign_in(BOOTSTRAP)
    sessions = (await browser.send("GET", "/v1/sessions")).json()["sessions"]
    assert [one["current"] for one in sessions].count(True) == 1
    elsewhere = next(one["id"] for one in sessions if not one["current"])
    assert (await browser.send("DELETE", f"/v1/sessions/{elsewhere}")).status_code == 204
    assert (await other.send("GET", "/v1/keys")).status_code == 401
    await other.sign_in(BOOTSTRAP)
    assert (await browser.send("DELETE", "/v1/sessions")).json() == {"ended": 2}
    assert (await other.send("GET", "/v1/keys")).status_code == 401


async def test_nobody_but_an_owner_sees_or_ends_the_sessions_of_others(front: Front, browser: Browser) -> None:
    operator = front.browser()
    await operator.sign_in((await front.door.create(scopes=["role:operator"]))["token"])
    owners = (await browser.send("GET", "/v1/sessions")).json()["sessions"][0]["id"]
    assert (await operator.send("DELETE", f"/v1/sessions/{owners}")).status_code == 404
    assert (await operator.send("DELETE", "/v1/sessions?everybody=true")).status_code == 403
    assert len((await operator.send("GET", "/v1/sessions")).json()["sessions"]) == 1
    operators = (await operator.send("GET", "/v1/sessions")).json()["sessions"][0]["id"]
    assert (await browser.send("DELETE", f"/v1/sessions/{operators}")).status_code == 204
    assert (await browser.send("DELETE", "/v1/sessions?everybody=true")).json() == {"ended": 1}


async def test_a_session_lends_the_rights_that_its_key_has_now(front: Front) -> None:
    made = await front.door.create(scopes=["role:operator"])
    path, browser = f"/v1/keys/{made['key']['id']}", front.browser()
    await browser.sign_in(made["token"])
    await front.door.client.patch(path, json={"scopes": ["role:issuer"]}, headers={"If-Match": "*"})
    assert (await browser.send("GET", "/v1/audit-events")).status_code == 403
    await front.door.client.post(f"{path}/revoke")
    refused = await browser.send("GET", "/v1/keys")
    assert (refused.status_code, refused.json()["detail"]) == (
        401,
        "The credential of this session is no longer valid. Sign in with another one.",
    )


async def test_another_bootstrap_token_ends_the_sessions_of_the_old_one(front: Front, browser: Browser) -> None:
    changed = Browser(front.browser(bootstrap_token="gtk_admin_new").client, browser.cookie, browser.csrf)
    assert (await changed.send("GET", "/v1/keys")).status_code == 401


async def test_a_key_comes_in_from_its_own_addresses_alone(front: Front) -> None:
    inside = (await front.door.create(scopes=["admin"], addresses=["192.0.2.0/24"]))["token"]
    outside = (await front.door.create(scopes=["admin"], addresses=["198.51.100.0/24"]))["token"]
    assert (await front.browser().sign_in(inside)).status_code == 201
    assert (await front.browser().sign_in(outside)).status_code == 401


async def test_wrong_cookies_lock_nobody_out(front: Front) -> None:
    browser = front.browser()
    for cookie in [*("A" * 43 for _ in range(12)), "short", "x" * 500]:
        browser.cookie = cookie
        assert (await browser.send("GET", "/v1/keys")).status_code == 401
    assert (await browser.sign_in(BOOTSTRAP)).status_code == 201


async def test_sessions_are_in_the_audit_trail(front: Front, browser: Browser) -> None:
    front.door.database.sql("TRUNCATE audit_event")
    await browser.sign_in(BOOTSTRAP)
    await browser.send("DELETE", "/v1/sessions/current")
    await front.door.client.delete("/v1/sessions")
    events = (await front.door.client.get("/v1/audit-events")).json()["events"]
    assert [event["action"] for event in events] == ["session.end-all", "session.end", "session.begin"]
    assert events[2]["details"]["replaces"]
    assert (await front.door.client.get("/v1/audit-verification")).json()["intact"]


async def test_the_sessions_of_one_actor_are_bounded(front: Front) -> None:
    first = front.browser()
    await first.sign_in(BOOTSTRAP)
    for _ in range(KEPT_MAX):
        front.clock.advance(1)
        await front.browser().sign_in(BOOTSTRAP)
    assert (await first.send("GET", "/v1/keys")).status_code == 401
    assert front.door.database.sql("SELECT count(*) FROM console_session") == str(KEPT_MAX)


async def test_a_purged_key_leaves_no_session(front: Front) -> None:
    made = await front.door.create(scopes=["role:auditor"])
    await front.browser().sign_in(made["token"])
    key_id = made["key"]["id"]
    await front.door.client.post(f"/v1/keys/{key_id}/revoke")
    await front.door.client.post(f"/v1/keys/{key_id}/purge", json={"confirm": key_id})
    assert front.door.database.sql("SELECT count(*) FROM console_session") == "0"


def test_irreversible_operations_and_role_changes_require_step_up() -> None:
    rules = {endpoint.operation_id: endpoint.step_up for endpoint in ENDPOINTS}
    assert {rules["purge_key"], rules["delete_key"], rules["delete_webhook"]} == {StepUp.ALWAYS}
    changing = [endpoint for endpoint in ENDPOINTS if endpoint.path.startswith("/v1/keys") and endpoint.changes_state]
    assert len(changing) > 10
    assert [endpoint.path for endpoint in changing if endpoint.step_up not in (StepUp.ALWAYS, StepUp.MANAGING)] == []


async def test_a_dangerous_act_wants_a_fresh_proof_of_a_session(front: Front, browser: Browser) -> None:
    key_id = (await browser.send("POST", "/v1/keys", json={"name": "a"})).json()["key"]["id"]
    front.clock.advance(301)
    refused = await browser.send("DELETE", f"/v1/keys/{key_id}")
    assert (refused.status_code, refused.json()["code"]) == (401, "step_up_required")
    assert 'error="insufficient_user_authentication", max_age="300"' in refused.headers["www-authenticate"]
    assert (await browser.send("POST", f"/v1/keys/{key_id}/disable")).status_code == 200
    await browser.sign_in(BOOTSTRAP)
    assert (await browser.send("DELETE", f"/v1/keys/{key_id}")).status_code == 200


@pytest.mark.parametrize("wish", [{"scopes": ["role:auditor"]}, {"roles": ["admin"]}])
async def test_giving_a_role_wants_a_fresh_proof(front: Front, browser: Browser, wish: dict[str, list[str]]) -> None:
    front.clock.advance(301)
    assert (await browser.send("POST", "/v1/keys", json={"name": "plain"})).status_code == 201
    assert (await browser.send("POST", "/v1/keys", json={"name": "strong", **wish})).json()["code"] == "step_up_required"


@pytest.mark.parametrize("act", ["revoke", "rotate", "disable", "enable"])
async def test_what_is_done_to_a_key_that_manages_wants_a_fresh_proof(front: Front, browser: Browser, act: str) -> None:
    key_id = (await browser.send("POST", "/v1/keys", json={"name": "strong", "scopes": ["role:auditor"]})).json()["key"]["id"]
    front.clock.advance(301)
    assert (await browser.send("POST", f"/v1/keys/{key_id}/{act}")).json()["code"] == "step_up_required"


async def test_whoever_sends_the_credential_itself_is_asked_for_nothing_more(front: Front) -> None:
    key_id = (await front.door.create())["key"]["id"]
    assert (await front.door.client.request("DELETE", f"/v1/keys/{key_id}")).status_code == 200


async def test_a_person_proves_themselves_by_when_the_issuer_saw_them(front: Front) -> None:
    browser = front.browser()
    key_id = (await front.door.create())["key"]["id"]
    front.people.proven_ago = 3600.0
    signed_in = await browser.sign_in("a.b.c")
    assert (signed_in.status_code, signed_in.json()["roles"]) == (201, ["operator"])
    assert (await browser.send("DELETE", f"/v1/keys/{key_id}")).json()["code"] == "step_up_required"
    front.people.proven_ago = 0.0
    await browser.sign_in("a.b.c")
    assert (await browser.send("DELETE", f"/v1/keys/{key_id}")).status_code == 200


async def test_a_session_of_a_person_ends_with_the_issuer(front: Front) -> None:
    browser = front.browser()
    await browser.sign_in("a.b.c")
    later = Browser(front.browser(identity_provider=None).client, browser.cookie, browser.csrf)
    assert (await later.send("GET", "/v1/keys")).status_code == 401
