"""The portal: links, sessions, and what a customer does with its keys."""

import asyncio
import html
import itertools
import re
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from gatehouse.core.errors import SettingsError
from gatehouse.platform.web.application import Routes
from gatehouse.services.console.portal import service
from gatehouse.services.console.portal.pages import PAGES, text_on
from gatehouse.services.console.portal.routes import COOKIE, PATH

from tests.runtime.conftest import lock_waits, locked
from tests.runtime.console_client import Console
from tests.runtime.rows import usage_row

SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}
URL = "https://console.test"
DAY = 86_400
LIMIT = {"name": "requests", "quota": 600, "window_s": 60}
numbers = itertools.count()


@dataclass
class Visitor:
    """The browser of a customer. page: the last page that it opened."""

    console: Console
    client: httpx.AsyncClient
    customer: str
    page: httpx.Response = field(default_factory=lambda: httpx.Response(200))

    async def get(self, path: str = PATH) -> httpx.Response:
        self.page = await self.client.get(path)
        return self.page

    async def send(self, path: str, **values: str) -> httpx.Response:
        """Submit the form with this action on the last page, as a browser does."""
        return await self.submit(path, {**self.form(path), **values})

    async def submit(self, path: str, form: dict[str, str], **headers: str) -> httpx.Response:
        return await self.client.post(path, data=form, headers={**SAME_ORIGIN, **headers})

    def form(self, path: str) -> dict[str, str]:
        match = re.search(rf'<form [^>]*action="{re.escape(path)}".*?</form>', self.page.text, re.S)
        assert match is not None, path
        fields = re.findall(r'<input [^>]*?name="(\w+)"[^>]*?value="([^"]*)"', match[0])
        texts = re.findall(r'<textarea [^>]*?name="(\w+)"[^>]*>\n([^<]*)<', match[0])
        return {
            name: html.unescape(value) for name, value in (*fields, *texts) if name != "confirm"
        }

    async def create(self, **values: str) -> str:
        """Create a key. Returns its ID."""
        await self.get()
        reply = await self.send(f"{PATH}/keys", **{"name": "a key", **values})
        assert reply.status_code == 200, reply.text
        return token_of(reply).split("_")[2][:12]

    async def key(self, key_id: str) -> dict[str, Any]:
        return dict((await self.console.get(f"/v1/keys/{key_id}")).json())


def token_of(reply: httpx.Response) -> str:
    [token] = re.findall(r"gtk_test_\w+", reply.text)
    return str(token)


def title(reply: httpx.Response) -> str:
    [heading] = re.findall("<h1>(.*)</h1>", reply.text)
    return html.unescape(str(heading))


def text(name: str) -> str:
    return PAGES.texts["en"][name]


async def link_of(console: Console, customer: str, **body: Any) -> str:
    reply = await console.post(f"/v1/customers/{customer}/portal", json=body)
    assert reply.status_code == 201, reply.text
    return str(reply.json()["url"]).removeprefix(URL)


async def open_link(visitor: Visitor, path: str) -> httpx.Response:
    await visitor.get(path)
    return await visitor.send(path)


async def new_customer(console: Console, **fields: Any) -> str:
    plan = {"name": "portal-plan", "ttl_s": 30 * DAY, "scopes": ["orders:read"], "limits": [LIMIT]}
    shared = {**LIMIT, "quota": 3000}
    await console.post("/v1/plans", json={**plan, "shared_limits": [shared]})
    customer = f"customer-{next(numbers)}"
    body = {"id": customer, "name": "Acme <b>", "plan": "portal-plan", **fields}
    reply = await console.post("/v1/customers", json=body)
    assert reply.status_code == 201, reply.text
    return customer


@pytest.fixture
async def acme(console: Console) -> AsyncIterator[Visitor]:
    """A customer whose plan limits the lifetime of keys, in a new session."""
    customer = await new_customer(console)
    async with console.connect(token="") as client:
        visitor = Visitor(console, client, customer)
        reply = await open_link(visitor, await link_of(console, customer))
        assert (reply.status_code, reply.headers["location"]) == (303, PATH)
        yield visitor


async def test_customer_manages_a_key(acme: Visitor) -> None:
    console = acme.console
    page = await acme.get()
    assert (title(page), text("no_keys") in page.text) == ("Acme <b>", True)
    token = token_of(
        await acme.send(f"{PATH}/keys", name="<i>", addresses="192.0.2.1, 2001:db8::/32")
    )
    key_id = token.split("_")[2][:12]
    key = await acme.key(key_id)
    assert (key["scopes"], key["inherits"]) == (["orders:read"], ["expires_at", "limits", "scopes"])
    assert key["addresses"] == ["192.0.2.1/32", "2001:db8::/32"]
    assert key["created_by"] == f"customer:{acme.customer}"
    console.sql(usage_row(key_id, 1234, width_s=DAY))
    page = await acme.get()
    assert "<td>1,234</td>" in page.text
    assert "&lt;i&gt;" in page.text
    assert "3,000 per minute" in page.text
    path = f"{PATH}/keys/{key_id}"
    await acme.get(path)
    reply = await acme.send(path, name="renamed", addresses="", ends_at=day(10))
    assert reply.status_code == 303
    key = await acme.key(key_id)
    assert (key["name"], key["addresses"]) == ("renamed", [])
    assert key["expires_at"].startswith(day(11))
    await acme.get(path)
    rotated = token_of(await acme.send(f"{path}/rotate", grace_s="0"))
    successor = rotated.split("_")[2][:12]
    assert (await acme.key(key_id))["successor_id"] == successor
    path = f"{PATH}/keys/{successor}"
    await acme.get(path)
    assert (await acme.send(f"{path}/revoke")).status_code == 400
    assert (await acme.key(successor))["state"] == "active"
    assert (await acme.send(f"{path}/revoke", confirm="yes")).status_code == 303
    assert (await acme.key(successor))["state"] == "revoked"
    assert text("state_revoked") in (await acme.get()).text
    events = await console.events(actor_id=acme.customer)
    acts = ["customer.portal-begin", "key.create", "key.update", "key.rotate", "key.revoke"]
    assert [(event["actor_type"], event["action"]) for event in events] == [
        ("customer", action) for action in reversed(acts)
    ]
    await acme.get()
    cookie = acme.client.cookies[COOKIE]
    assert title(await acme.send(f"{PATH}/end")) == text("ended_title")
    acme.client.cookies.set(COOKIE, cookie, path=PATH)
    assert title(await acme.get()) == text("session_ended_title")


def day(days: int) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).date().isoformat()


async def test_link_is_used_once(console: Console) -> None:
    customer = await new_customer(console)
    path = await link_of(console, customer)
    async with console.connect(token="") as first, console.connect(token="") as second:
        visitors = [Visitor(console, client, customer) for client in (first, second)]
        for visitor in visitors * 2:  # a mail filter opens the link first
            assert (await visitor.get(path)).status_code == 200
        replies = await asyncio.gather(*(visitor.send(path) for visitor in visitors))
        assert sorted(reply.status_code for reply in replies) == [303, 404]
        [used] = [reply for reply in replies if reply.status_code == 404]
        assert title(used) == text("link_used_title")
        assert "set-cookie" not in used.headers
        [opened] = [reply for reply in replies if reply.status_code == 303]
        [cookie] = [value for value in opened.headers.get_list("set-cookie") if COOKIE in value]
        assert re.fullmatch(
            rf"{COOKIE}=\S+; HttpOnly; Max-Age=3600; Path=/portal; SameSite=strict; Secure", cookie
        )
        assert title(await visitors[0].get(path)) == text("link_used_title")


@pytest.mark.parametrize("path", ["", "x", "gtk_signin_" + "A" * 43, "gtk_signin_" + "\u00e4" * 43])
async def test_unknown_link_and_cookie_are_refused(console: Console, path: str) -> None:
    async with console.connect(token="") as client:
        assert (await client.get(f"{PATH}/links/{path}")).status_code == 404
        for cookie in ("", "x", "gatehouse_session_" + "A" * 43):
            client.cookies.set(COOKIE, cookie, path=PATH)
            assert title(await client.get(PATH)) == text("session_ended_title")


async def test_code_is_no_credential_and_no_cookie(acme: Visitor) -> None:
    code = (await link_of(acme.console, acme.customer)).rpartition("/")[2]
    cookie = acme.client.cookies[COOKIE]
    async with acme.console.connect(token=code) as client:
        assert (await client.post("/v1/sessions")).status_code == 401
    async with acme.console.connect(token="") as client:
        client.cookies.set(COOKIE, code, path=PATH)
        assert (await client.get(PATH)).status_code == 403
        client.cookies.set("__Host-gatehouse", cookie)
        assert (await client.get("/v1/sessions/current")).status_code == 401
        assert (await client.get(f"{PATH}/links/{cookie}")).status_code == 404


@pytest.mark.parametrize(
    ("kind", "change", "name"),
    [
        ("link", "UPDATE portal_session SET ends_at = now()", "link_used"),
        ("session", "UPDATE portal_session SET ends_at = now()", "session_ended"),
        ("link", "disable", "customer_inactive"),
        ("session", "disable", "customer_inactive"),
        ("link", "delete", "customer_inactive"),
        ("session", "delete", "customer_inactive"),
        ("link", "enable", "link_used"),
        ("session", "enable", "session_ended"),
        ("session", "purge", "session_ended"),
    ],
)
async def test_link_and_session_end(acme: Visitor, kind: str, change: str, name: str) -> None:
    console, path = acme.console, f"/v1/customers/{acme.customer}"
    link = await link_of(console, acme.customer)
    key_id = await acme.create()
    form = acme.form(f"{PATH}/keys")
    if change in ("disable", "enable"):
        await console.post(f"{path}/disable")
    if change == "enable":
        await console.post(f"{path}/enable")
    if change in ("delete", "purge"):
        await console.delete(path)
    if change == "purge":
        await console.post(f"{path}/purge", json={"confirm": acme.customer})
    if change.startswith("UPDATE"):
        console.sql(change)
    if change in ("disable", "delete"):
        refused = await console.post(f"{path}/portal", json={})
        assert refused.status_code == 409
    if kind == "link":
        csrf = {"csrf": form["csrf"]}
        replies = [await acme.get(link), await acme.submit(link, csrf)]
    else:
        create = await acme.submit(f"{PATH}/keys", {**form, "name": "another"})
        replies = [await acme.get(), await acme.get(f"{PATH}/keys/{key_id}"), create]
    for reply in replies:
        assert title(reply) == text(f"{name}_title")
        assert key_id not in reply.text
        assert reply.status_code in (403, 404)


def key_routes(console: Console) -> list[tuple[str, str]]:
    """Method and path of every route of the portal that names a key."""
    routes: Routes = console.application().routes
    return [
        (method, path)
        for path, handlers in routes._handlers.items()
        for method in handlers
        if path.startswith(PATH) and "{key}" in path
    ]


@pytest.mark.parametrize("state", ["active", "revoked", "deleted", "unknown"])
async def test_key_of_another_customer_does_not_exist(acme: Visitor, state: str) -> None:
    console = acme.console
    # The name of the other customer is the ID of this customer.
    other = await new_customer(console, name=acme.customer)
    foreign = await console.create_id(customer_id=other, name="foreign canary")
    own = await acme.create()
    console.sql(usage_row(foreign, 4321, width_s=DAY))
    page = await acme.get()
    assert (foreign in page.text, "canary" in page.text, "4,321" in page.text) == (False,) * 3
    before = await acme.key(foreign)
    if state == "revoked":
        before = (await console.post(f"/v1/keys/{foreign}/revoke")).json()["key"]
    if state == "deleted":
        before = (await console.delete(f"/v1/keys/{foreign}")).json()["key"]
    target = "000000000000" if state == "unknown" else foreign
    await acme.get(f"{PATH}/keys/{own}")
    forms = {
        f"{PATH}/keys/{{key}}": {**acme.form(f"{PATH}/keys/{own}"), "name": "taken"},
        f"{PATH}/keys/{{key}}/rotate": {**acme.form(f"{PATH}/keys/{own}/rotate"), "grace_s": "0"},
        f"{PATH}/keys/{{key}}/revoke": {**acme.form(f"{PATH}/keys/{own}/revoke"), "confirm": "yes"},
    }
    routes = key_routes(console)
    assert {path for method, path in routes if method == "POST"} == set(forms)
    for method, path in routes:
        url = path.replace("{key}", target)
        if method == "POST":
            reply = await acme.submit(url, forms[path])
        elif path in (f"{PATH}/keys/{{key}}/rotate", f"{PATH}/keys/{{key}}/revoke"):
            continue  # a redirect to the list
        else:
            reply = await acme.client.request(method, url)
        assert reply.status_code == 404, (method, path)
        assert "canary" not in reply.text
    assert await acme.key(foreign) == before


@pytest.mark.parametrize(
    "manipulate",
    [
        lambda form, headers: form.pop("csrf"),
        lambda form, headers: form.update(csrf="A" * 32),
        lambda form, headers: headers.update({"Sec-Fetch-Site": "cross-site"}),
        lambda form, headers: headers.update({"Sec-Fetch-Site": "same-site"}),
    ],
    ids=["no csrf", "other csrf", "cross-site", "same-site"],
)
async def test_forms_of_other_sites_are_denied(
    acme: Visitor, manipulate: Callable[[dict[str, str], dict[str, str]], Any]
) -> None:
    key_id = await acme.create()
    link = await link_of(acme.console, acme.customer)
    pages = [(PATH, f"{PATH}/keys", {"name": "forged"}), (PATH, f"{PATH}/end", {})]
    key = f"{PATH}/keys/{key_id}"
    pages += [(key, key, {"name": "forged"}), (key, f"{key}/rotate", {"grace_s": "0"})]
    pages += [(key, f"{key}/revoke", {"confirm": "yes"}), (link, link, {})]
    for shown, path, values in pages:
        await acme.get(shown)
        form, headers = {**acme.form(path), **values}, dict(SAME_ORIGIN)
        manipulate(form, headers)
        reply = await acme.client.post(path, data=form, headers=headers)
        assert reply.status_code == (403 if form else 400), path
        assert title(reply) == text("cross_site_title" if form else "bad_form_title")
    assert (await acme.get(link)).status_code == 200
    page = await acme.get()
    assert page.status_code == 200
    assert "forged" not in page.text
    assert (await acme.key(key_id))["version"] == 1


async def test_form_that_is_sent_twice_creates_one_key(acme: Visitor) -> None:
    await acme.get()
    path, form = f"{PATH}/keys", {**acme.form(f"{PATH}/keys"), "name": "one"}
    replies = await asyncio.gather(*(acme.submit(path, form) for _ in range(3)))
    tokens = {token_of(reply) for reply in replies if reply.status_code == 200}
    others = {title(reply) for reply in replies if reply.status_code != 200}
    assert len(tokens) == 1
    assert others <= {text("in_progress_title")}
    assert token_of(await acme.submit(path, form)) in tokens  # a reload
    changed = await acme.submit(path, {**form, "name": "two"})
    assert (changed.status_code, title(changed)) == (422, text("form_reused_title"))
    # Another session of the customer does not receive the token.
    async with acme.console.connect(token="") as client:
        other = Visitor(acme.console, client, acme.customer)
        await open_link(other, await link_of(acme.console, acme.customer))
        await other.get()
        reply = await other.submit(path, {**form, "csrf": other.form(path)["csrf"]})
        assert token_of(reply) not in tokens
    page = await acme.get()
    assert len(re.findall("<h3>", page.text)) == 2
    await acme.get(key := f"{PATH}/keys/{next(iter(tokens)).split('_')[2][:12]}")
    form = {**acme.form(f"{key}/rotate"), "grace_s": "3600"}
    rotated = [token_of(await acme.submit(f"{key}/rotate", form)) for _ in range(2)]
    assert rotated[0] == rotated[1]


async def test_token_is_shown_for_ten_minutes(
    acme: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    await acme.get()
    form = {**acme.form(f"{PATH}/keys"), "name": "one"}
    token = token_of(await acme.submit(f"{PATH}/keys", form))
    monkeypatch.setattr("gatehouse.services.console.portal.routes.SHOWN_S", 0)
    reply = await acme.submit(f"{PATH}/keys", form)
    assert (reply.status_code, title(reply)) == (410, text("no_longer_shown_title"))
    assert token not in reply.text


#: Has the format of a session cookie.
SECRET = "gatehouse_session_" + secrets.token_urlsafe(32)
BAD_VALUES = [
    ({"name": ""}, "bad_name"),
    ({"name": "x" * 101}, "bad_name"),
    ({"name": "two\nlines"}, "bad_name"),
    ({"name": f"my {SECRET}"}, "bad_name"),
    ({"ends_at": "tomorrow"}, "bad_end"),
    ({"ends_at": "2020-01-01"}, "bad_end"),
    ({"ends_at": "0001-01-01"}, "bad_end"),
    ({"ends_at": "9999-12-31"}, "bad_end"),
    ({"ends_at": day(31)}, "bad_end"),
    ({"addresses": "10.0.0.1/8"}, "bad_addresses"),
    ({"addresses": "example.com"}, "bad_addresses"),
    ({"addresses": "192.0.2.1 192.0.2.1"}, "bad_addresses"),
    ({"addresses": " ".join(f"192.0.2.{n}" for n in range(51))}, "bad_addresses"),
    ({"addresses": SECRET}, "bad_addresses"),
]


@pytest.mark.parametrize("action", ["create", "update"])
async def test_bad_values_are_shown_with_their_reason(acme: Visitor, action: str) -> None:
    path = f"{PATH}/keys" if action == "create" else f"{PATH}/keys/{await acme.create()}"
    for values, name in BAD_VALUES:
        await acme.get(PATH if action == "create" else path)
        reply = await acme.send(path, **{"name": "good", **values})
        assert reply.status_code == 400, values
        [alert] = re.findall(r'role="alert"[^>]*>(.*)</p>', reply.text)
        assert alert.startswith(text(name).partition("{")[0]), values
        assert reply.text.count('aria-invalid="true"') == 1
        assert SECRET not in reply.text
    assert len(re.findall("<h3>", (await acme.get()).text)) == (action == "update")


@pytest.mark.parametrize(
    "form", [{"scopes": "admin"}, {"limits": "[]"}, {"customer_id": "other"}, {"grace_s": "86400"}]
)
async def test_form_cannot_set_other_fields(acme: Visitor, form: dict[str, str]) -> None:
    key = f"{PATH}/keys/{await acme.create()}"
    for shown, path in ((PATH, f"{PATH}/keys"), (key, key)):
        await acme.get(shown)
        assert (await acme.send(path, name="forged", **form)).status_code == 400
    assert "forged" not in (await acme.get()).text


async def test_lifetime_is_that_of_the_plan(acme: Visitor) -> None:
    key_id = await acme.create()
    created = await acme.key(key_id)
    path = f"{PATH}/keys/{key_id}"
    await acme.get(path)
    assert (await acme.send(path, ends_at="")).status_code == 400
    assert (await acme.send(path, ends_at=day(5))).status_code == 303
    await acme.get(path)
    assert (await acme.send(path, ends_at=day(30))).status_code == 303
    ends = (await acme.key(key_id))["expires_at"]
    assert ends[:16] == created["expires_at"][:16]
    await acme.console.patch(
        f"/v1/customers/{acme.customer}", json={"plan": None}, headers={"If-Match": "*"}
    )
    await acme.get(path)
    assert (await acme.send(path, ends_at="")).status_code == 303
    assert (await acme.key(key_id))["expires_at"] is None


async def test_changed_key_is_not_overwritten(acme: Visitor) -> None:
    key_id = await acme.create()
    path = f"{PATH}/keys/{key_id}"
    await acme.get(path)
    changes = {"name": "by the operator"}
    await acme.console.patch(f"/v1/keys/{key_id}", json=changes, headers={"If-Match": "*"})
    reply = await acme.send(path, name="by the customer")
    assert (reply.status_code, title(reply)) == (412, text("changed_meanwhile_title"))
    # What is sent twice is saved once.
    await acme.get(path)
    form = {**acme.form(path), "name": "twice"}
    assert [(await acme.submit(path, form)).status_code for _ in range(2)] == [303, 303]
    assert (await acme.key(key_id))["version"] == 3


async def test_numbers_of_keys_and_changes_are_bounded(
    acme: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "KEYS_MAX", 2)
    await acme.get()
    form, path = acme.form(f"{PATH}/keys"), f"{PATH}/keys"
    forms = [{**form, "name": "n", "form": f"form-{n}"} for n in range(3)]
    # All three wait at the same time, for a lock of the trail or for each other.
    async with locked(acme.console.database, "audit_event"):
        sent = [asyncio.create_task(acme.submit(path, form)) for form in forms]
        while await lock_waits(acme.console.pool) < len(sent):
            await asyncio.sleep(0)
    replies = await asyncio.gather(*sent)
    assert sorted(reply.status_code for reply in replies) == [200, 200, 409]
    keys = re.findall(rf"{PATH}/keys/(\w+)", (await acme.get()).text)
    assert len(keys) == 2
    changes = service.CHANGES.quota
    statuses = []
    for n in range(changes):
        await acme.get(f"{PATH}/keys/{keys[0]}")
        statuses.append((await acme.send(f"{PATH}/keys/{keys[0]}", name=f"{n}")).status_code)
        if statuses[-1] == 429:
            break
    assert statuses[-1] == 429


async def test_code_and_cookie_are_in_no_log_and_no_table(acme: Visitor) -> None:
    console = acme.console
    path = await link_of(console, acme.customer)
    await open_link(acme, path)
    await acme.get()
    code, cookie = path.rpartition("/")[2], acme.client.cookies[COOKIE]
    spans = [(span.name, span.attributes) for span in console.spans]
    database = console.sql(
        "SELECT string_agg(row::text, '') FROM (SELECT * FROM portal_session) AS row"
    ) + console.sql("SELECT string_agg(row::text, '') FROM (SELECT * FROM audit_event) AS row")
    for secret in (code, cookie):
        for recorded in (console.log.getvalue().decode(), repr(spans), database):
            assert secret[-43:] not in recorded
    assert f"{PATH}/links/{{code}}" in {entry.get("route") for entry in console.log.entries}


async def test_pages_have_strict_headers_and_no_other_origin(acme: Visitor) -> None:
    key_id = await acme.create()
    link = await link_of(acme.console, acme.customer)
    paths = (PATH, f"{PATH}/keys/{key_id}", link, f"{PATH}/links/x", f"{PATH}/nothing")
    for path in paths:
        page = await acme.get(path)
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        policy = page.headers["content-security-policy"]
        assert policy.startswith(
            "default-src 'none'; style-src 'self'; img-src 'self'; form-action"
        )
        assert "unsafe" not in policy
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["referrer-policy"] == "no-referrer"
        assert not re.findall(r"<script|style=|(?:src|href)=\"(?!/portal)", page.text)
    styles = await acme.get(f"{PATH}/portal.css")
    assert (styles.status_code, styles.headers["content-type"]) == (200, "text/css; charset=utf-8")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
async def test_other_method_is_a_page(acme: Visitor, method: str) -> None:
    reply = await acme.client.request(method, PATH)
    assert (reply.status_code, title(reply)) == (405, text("not_found_title"))
    assert reply.headers["allow"] == "GET, HEAD, OPTIONS"


async def test_number_of_links_and_sessions_is_bounded(acme: Visitor) -> None:
    links = [await link_of(acme.console, acme.customer) for _ in range(21)]
    assert (await acme.get(links[0])).status_code == 404
    assert (await acme.get(links[1])).status_code == 200
    assert (await acme.get()).status_code == 403


async def test_language_is_that_of_the_link_or_of_the_browser(console: Console) -> None:
    customer = await new_customer(console)
    for header, language, expected in (("de", None, "de"), ("de", "en", "en"), ("", "de", "de")):
        async with console.connect(token="") as client:
            client.headers["Accept-Language"] = header
            visitor = Visitor(console, client, customer)
            path = await link_of(console, customer, language=language)
            assert f'<html lang="{expected}">' in (await visitor.get(path)).text
            await visitor.send(path)
            assert f'<html lang="{expected}">' in (await visitor.get()).text
    refused = await console.post(f"/v1/customers/{customer}/portal", json={"language": "fr"})
    assert refused.status_code == 400
    assert (await console.post("/v1/customers/nobody/portal", json={})).status_code == 404


def test_languages_have_the_same_texts_and_placeholders() -> None:
    placeholders = {
        language: {name: sorted(re.findall(r"{\w+}", text)) for name, text in texts.items()}
        for language, texts in PAGES.texts.items()
    }
    assert set(placeholders) == {"en", "de"}
    assert placeholders["en"] == placeholders["de"]


def luminance(colour: str) -> float:
    full = colour if len(colour) == 7 else "#" + "".join(2 * digit for digit in colour[1:])
    parts = [int(full[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_text_on_every_colour_has_the_contrast_of_wcag_aa() -> None:
    for red, green, blue in itertools.product(range(0, 256, 15), repeat=3):
        colour = f"#{red:02x}{green:02x}{blue:02x}"
        dark, light = sorted((luminance(colour), luminance(text_on(colour))))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, colour


async def test_company_is_on_the_pages(console: Console, tmp_path: Path) -> None:
    logo = tmp_path / "logo.svg"
    logo.write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    branding = {"portal_name": "Example & Co", "portal_colour": "#ffee00"}
    async with console.connect(token="", **branding, portal_logo=str(logo)) as client:
        page = await client.get(PATH)
        assert '<img src="/portal/logo" alt="Example &amp; Co" height="40">' in page.text
        assert "– Example &amp; Co</title>" in page.text
        image = await client.get(f"{PATH}/logo")
        assert (image.headers["content-type"], image.text) == ("image/svg+xml", logo.read_text())
        assert (
            "--brand: #ffee00; --on-brand: #000;" in (await client.get(f"{PATH}/portal.css")).text
        )
    async with console.connect(token="", portal_name="Example") as client:
        assert "<p>Example</p>" in (await client.get(PATH)).text
        assert (await client.get(f"{PATH}/logo")).status_code == 404


@pytest.mark.parametrize("content", [None, "text", "large"])
def test_logo_that_cannot_be_shown_is_an_error_at_the_start(
    console: Console, tmp_path: Path, content: str | None
) -> None:
    logo = tmp_path / ("logo.png" if content == "large" else "logo.txt")
    if content is not None:
        logo.write_bytes(b"x" * (262_145 if content == "large" else 1))
    with pytest.raises(SettingsError, match="GATEHOUSE_PORTAL_LOGO"):
        console.application(portal_logo=str(logo))


async def test_ended_links_and_sessions_are_pruned(acme: Visitor) -> None:
    console = acme.console
    console.sql("UPDATE portal_session SET ends_at = now()")
    await link_of(console, acme.customer)
    jobs = console.composition._jobs(console.composition._parts())
    [prune] = [job.action for job in jobs if job.name == "sessions"]
    assert await prune()
    left = "SELECT count(*), count(*) FILTER (WHERE ends_at <= now()) FROM portal_session"
    assert console.sql(left) == "1|0"
