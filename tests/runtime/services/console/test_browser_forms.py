"""Every form and button that changes something: failures, lost responses, ended sessions,
concurrent changes, and values that are shown once. A change that is missing in ACTS fails
`test_list_contains_every_change`.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from gatehouse.platform.web.fields import IF_MATCH
from gatehouse.services.console.routes import ENDPOINTS
from playwright.async_api import Browser, Locator, Page, Request, Route, expect

from tests.runtime.clocks import ManualClock
from tests.runtime.console_client import BOOTSTRAP, Console
from tests.runtime.features.secrets.services import Sharing, of_backend
from tests.runtime.services.console.test_browser_pages import create_data
from tests.runtime.services.console.test_browser_screens import console
from tests.runtime.services.console.web_pages import (
    MARKS,
    ends_session_before,
    enter_credential,
    navigate,
    page_of,
    shows,
    shows_heading,
    sign_in,
    violations_in_both_themes,
)

__all__ = ["console"]

pytestmark = MARKS
SOURCES = Path(__file__).resolve().parents[4] / "runtime/web/src"
LOST = r"ERR_(FAILED|CONNECTION)|status of [45]\d\d"
#: The page before and after each form: "Page not found", which loads nothing.
PREVIOUS = "/none"
CHANGES = {endpoint.operation_id: endpoint for endpoint in ENDPOINTS if endpoint.changes_state}

_PROBLEM = {
    "status": 503,
    "code": "unavailable",
    "detail": "The database is unavailable.",
    "request_id": "req_0199f3a8c0d1b6e5f4a3928170",
}

#: Sign-in and sign-out: the session and its cookie are what they change.
SESSION = {("session", "sign_in"), ("session", "end_session"), ("session", "end_sessions")}

#: False if the page prevents that the tab is closed.
_UNLOAD = "() => dispatchEvent(new Event('beforeunload', { cancelable: true }))"
#: The values of all controls of the page and its dialogs. `value` of a file is its name.
_VALUES = """() => [...document.querySelectorAll('#main, dialog')].flatMap((part) =>
  [...part.querySelectorAll('input, select, textarea')].map((control) =>
    `${control.value} ${control.checked}`))"""


@dataclass(frozen=True)
class Act:
    """One change. `source`: file with the form. `open`: buttons that open it. `select`: boxes that
    are checked first. `values`: text by label. `send`: button that sends the request.
    """

    source: str
    operation: str
    path: str
    send: str
    open: tuple[str, ...] = ()
    select: tuple[str, ...] = ()
    values: dict[str, str] = field(default_factory=dict)
    name: str = ""

    @property
    def shows_once(self) -> bool:
        return any("<ShownOnce" in path.read_text() for path in SOURCES.rglob(f"{self.source}.vue"))

    @property
    def is_typed(self) -> bool:
        """True if a form contains values."""
        return bool(self.values) or (bool(self.select) and self.source != "KeyList")

    @property
    def is_stoppable(self) -> bool:
        """True if the act can consist of several requests."""
        return self.source == "KeyList" or self.operation == "purge_customer"

    def __str__(self) -> str:
        return f"{self.source}-{self.name or self.operation}"


def key_act(name: str, key: str = "key", **values: str) -> Act:
    values = {"Reason": "a typed reason", **values}
    return Act(
        "KeyScreen", f"{name.lower()}_key", f"/keys/{{{key}}}", name, open=(name,), values=values
    )


def customer_act(name: str, customer: str = "customer", **values: str) -> Act:
    values = {"Reason": "a typed reason", **values}
    operation, path = f"{name.lower()}_customer", f"/customers/{{{customer}}}"
    return Act("CustomerScreen", operation, path, name, open=(name,), values=values)


def bulk_act(name: str, key: str = "key") -> Act:
    select = ("Select all keys on this page",)
    values = {"Reason": "a typed reason"}
    operation = f"{name.lower()}_key"
    path = f"/keys?search={{{key}}}"
    return Act("KeyList", operation, path, name, select=select, open=(name,), values=values)


def secret_act(name: str, *select: str, **values: str) -> Act:
    path, send = "/secrets/new", "Share a secret"
    return Act(
        "SecretCreateScreen", "create_secret", path, send, select=select, values=values, name=name
    )


_BY_LINK = "Create a link that shows the token once, within three days"
ACTS = [
    Act(
        "KeyCreateScreen",
        "create_key",
        "/keys/new",
        "Create key",
        values={"Name": "typed", "Tags": "a b"},
    ),
    Act(
        "CoreRegistration",
        "create_key",
        "/cores",
        "Create a key for this Core",
        values={"Name of the Core": "typed"},
    ),
    Act(
        "KeyScreen", "update_key", "/keys/{key}", "Save", open=("Edit",), values={"Notes": "typed"}
    ),
    Act(
        "CustomerCreateScreen",
        "create_customer",
        "/new-customer",
        "Create customer",
        values={"ID": "typed", "Tags": "a b"},
    ),
    Act(
        "CustomerScreen",
        "update_customer",
        "/customers/{customer}",
        "Save",
        open=("Edit",),
        values={"Notes": "typed"},
    ),
    customer_act("Disable"),
    customer_act("Enable", "disabled_customer"),
    customer_act("Delete"),
    customer_act("Restore", "deleted_customer"),
    customer_act(
        "Purge", "deleted_customer", **{"Type {deleted_customer} to confirm": "{deleted_customer}"}
    ),
    Act("PortalLink", "create_portal_link", "/customers/{customer}", "Create link"),
    Act("PlanCreateScreen", "create_plan", "/new-plan", "Create plan", values={"Name": "typed"}),
    Act(
        "PlanScreen",
        "update_plan",
        "/plans/{plan}",
        "Save",
        open=("Edit",),
        values={"Description": "typed"},
    ),
    Act("PlanScreen", "delete_plan", "/plans/unused", "Delete", open=("Delete",)),
    Act(
        "LimitCreateScreen",
        "create_limit",
        "/new-limit",
        "Create limit",
        values={"Name": "typed", "Requests": "5"},
    ),
    Act(
        "LimitScreen",
        "update_limit",
        "/limits/{limit}",
        "Save",
        open=("Edit",),
        values={"Description": "typed"},
    ),
    Act("LimitScreen", "delete_limit", "/limits/unused", "Delete", open=("Delete",)),
    key_act("Rotate"),
    key_act("Disable"),
    key_act("Enable", "disabled"),
    key_act("Revoke"),
    key_act("Delete"),
    key_act("Restore", "deleted"),
    key_act("Purge", "deleted", **{"Type {deleted} to confirm": "{deleted}"}),
    bulk_act("Enable", "disabled"),
    bulk_act("Disable"),
    bulk_act("Rotate"),
    Act(
        "KeyList",
        "update_key",
        "/keys?search={key}",
        "Save",
        open=("Edit",),
        select=("Select all keys on this page",),
        values={"Notes": "typed"},
    ),
    bulk_act("Revoke"),
    secret_act("text", Text="typed", **{"Passphrase": "a passphrase"}),
    secret_act("end to end", "Encrypt end to end", Text="typed"),
    secret_act("files", Files="typed content", Label="typed"),
    Act(
        "SecretScreen",
        "update_secret",
        "/secrets/{secret}",
        "Save",
        open=("Edit",),
        values={"Label": "typed"},
    ),
    Act("SecretScreen", "revoke_secret", "/secrets/{secret}", "Revoke", open=("Revoke",)),
    Act(
        "SecretScreen",
        "revoke_secret_link",
        "/secrets/{secret}",
        "Revoke link",
        open=("Revoke link",),
    ),
    Act(
        "RequestCreateScreen",
        "create_secret_request",
        "/secrets/request",
        "Request a secret",
        values={"Purpose": "typed"},
    ),
    Act(
        "WebhookScreen",
        "create_webhook",
        "/webhooks",
        "Add webhook",
        open=("Add webhook",),
        select=("key.revoked",),
        values={"URL": "https://hooks.example.com/typed"},
    ),
    Act("WebhookScreen", "delete_webhook", "/webhooks", "Delete", open=("Delete",)),
    Act("WebhookScreen", "retry_delivery", "/webhooks", "Send again"),
    Act("CoreListScreen", "end_core", "/cores", "Drain", open=("Drain",)),
    Act("SettingsScreen", "set_log_level", "/settings", "Change", values={"Duration": "600"}),
    Act("SettingsScreen", "switch_feature", "/settings", "Switch off", open=("Switch off",)),
    Act("SessionTable", "end_session", "/sessions", "End session"),
    Act(
        "PeopleScreen",
        "create_key",
        "/people",
        "Give access",
        open=("Give access",),
        select=(_BY_LINK,),
        values={"Name": "typed"},
    ),
    Act(
        "PeopleScreen",
        "revoke_key",
        "/people",
        "Remove access",
        open=("Remove access",),
        values={"Reason": "a typed reason"},
    ),
    Act("WebhookScreen", "test_webhook", "/webhooks", "Send test"),
    Act(
        "WebhookScreen",
        "update_webhook",
        "/webhooks",
        "Save",
        open=("Edit",),
        select=("secret.opened",),
    ),
    Act("WebhookScreen", "rotate_webhook_secret", "/webhooks", "Rotate", open=("Rotate secret",)),
    Act(
        "SecretScreen",
        "replace_content",
        "/secrets/{secret}",
        "Save",
        open=("Replace content",),
        values={"Text": "typed"},
    ),
    Act(
        "SecretScreen",
        "restore_secret_version",
        "/secrets/{secret}",
        "Restore",
        open=("Restore 1",),
    ),
]
#: Acts whose requests contain generated values or files, that send several requests, or that send a
#: version. `api/client.ts` and `App.vue` treat all acts alike otherwise.
_ENDED_SESSION = {
    *("KeyCreateScreen-create_key", "KeyScreen-update_key", "KeyScreen-rotate_key"),
    *("KeyList-revoke_key", "SecretCreateScreen-end to end", "SecretCreateScreen-files"),
    "RequestCreateScreen-create_secret_request",
}
#: What another user changes, by operation.
_OTHERS: dict[str, tuple[str, Any]] = {
    "update_key": ("tags", ["in-the-meantime"]),
    "update_customer": ("tags", ["in-the-meantime"]),
    "update_plan": ("scopes", ["in-the-meantime"]),
    "update_limit": ("quota", 7_000),
    "update_secret": ("uses", 7),
}
_WITH_VERSION = [
    act
    for act in ACTS
    if IF_MATCH in CHANGES[act.operation].headers and act.operation in _OTHERS
    # Which changes only what the user entered, whatever the version is.
    if act.source != "KeyList"
]
_SHOWN_ONCE = [
    act for act in ACTS if act.shows_once and act.operation.startswith(("create", "rotate"))
]


@pytest.fixture
def sharing(sharing: Sharing) -> Sharing:
    backend = replace(sharing.backend, creates_per_minute=10_000)
    return of_backend(backend, sharing.clock, sharing.s3, sharing.dynamodb)


def test_list_contains_every_change() -> None:
    found = set()
    for path in [*SOURCES.rglob("*.vue"), *SOURCES.rglob("*.ts")]:
        if path.name not in {
            "schema.d.ts",
            "en.ts",
            "de.ts",
            "results.ts",
            "routes.ts",
            "shownValues.ts",
        }:
            text = re.sub(r"may\('\w+'\)", "", path.read_text())
            found |= {(path.stem, name) for name in re.findall(r"'(\w+)'", text) if name in CHANGES}
    assert found == {(act.source, act.operation) for act in ACTS} | SESSION
    shown = {path.stem for path in SOURCES.rglob("*.vue") if "<ShownOnce" in path.read_text()}
    assert shown == {act.source for act in _SHOWN_ONCE} | {"LostResults"}
    assert {act.operation for act in _WITH_VERSION} == _OTHERS.keys()


async def prepare(console: Console, act: Act) -> dict[str, str]:
    """The data of an act: the IDs by the parameter of the path, and another session."""
    ids = await create_data(console)
    for state, change in (("disabled", ("POST", "/disable")), ("deleted", ("DELETE", ""))):
        ids[state] = await console.create_id(name=state)
        changed = await console.request(change[0], f"/v1/keys/{ids[state]}{change[1]}")
        assert changed.status_code == 200, changed.text
    for state in ("disable", "delete") if act.source == "CustomerScreen" else ():
        ids[f"{state}d_customer"] = customer = f"{ids['customer']}-{state}d"
        await console.post("/v1/customers", json={"id": customer})
        path = f"/v1/customers/{customer}"
        change = ("DELETE", path) if state == "delete" else ("POST", f"{path}/disable")
        assert (await console.request(*change)).status_code == 200
    if act.operation == "delete_plan":
        await console.post("/v1/plans", json={"name": "unused"})
    if act.operation == "delete_limit":
        await console.post("/v1/limits", json={"name": "unused", "quota": 1, "window_s": 60})
    if act.operation == "restore_secret_version":
        path, headers = f"/v1/secrets/{ids['secret']}/content", {"If-Match": "*"}
        replaced = await console.request("PUT", path, json={"text": "second"}, headers=headers)
        assert replaced.status_code == 200, replaced.text
    if act.operation == "retry_delivery":
        console.sql(
            "INSERT INTO delivery (notification_id, target, event, body, state, next_at, "
            "created_at) VALUES ('ntf_forms', 'topic', 'key.revoked', '{}', 'dead', now(), now()) "
            "ON CONFLICT DO NOTHING"
        )
    console.sql("UPDATE core SET expires_at = now() + interval '1 year'")
    return ids


async def end_sessions(console: Console) -> None:
    """Ends all sessions, and creates one that is older than the session of the next sign-in."""
    console.sql("DELETE FROM console_session")
    assert (await console.post("/v1/sessions")).status_code == 201
    assert isinstance(console.clock, ManualClock)
    console.clock.advance(1)


@asynccontextmanager
async def opened(page: Page, console: Console, act: Act) -> AsyncIterator[dict[str, str]]:
    """The form with the typed values, and the IDs by the parameter of the path. At the end, the
    page before.
    """
    ids = await prepare(console, act)
    try:
        await navigate(page, act.path.format(**ids))
        await open_form(page, act)
        await fill(page, act, ids)
        yield ids
        stored = page.get_by_role("button", name=re.compile("^I have "))
        if await stored.count():
            await stored.first.click()
            await expect(stored).to_have_count(0)
        await page.wait_for_function(_UNLOAD)
        await navigate(page, PREVIOUS)
        await page.unroute("**/v1/**")  # not before: a request in flight would get no response
    except Exception as exc:
        exc.add_note(str(act))
        raise


async def open_form(page: Page, act: Act) -> None:
    if act.source == "KeyList":
        await page.get_by_label(act.select[0]).check()
    for name in act.open:
        await page.get_by_role("button", name=name, exact=True).first.click()


async def fill(page: Page, act: Act, ids: dict[str, str]) -> None:
    for label, text in act.values.items():
        control = page.get_by_label(label.format(**ids), exact="to confirm" not in label).first
        if label == "Files":
            await control.set_input_files(
                {"name": "typed.txt", "mimeType": "text/plain", "buffer": text.encode()}
            )
        elif label == "Duration":
            await control.select_option(text)
        else:
            await control.fill(text.format(**ids))
    if act.source != "KeyList":
        for label in act.select:
            await page.get_by_label(label, exact=True).check()


def send_button(page: Page, act: Act) -> Locator:
    return page.locator("dialog, #main").get_by_role("button", name=act.send, exact=True).last


def is_change(request: Request) -> bool:
    """A lookup is a POST request because its text can be a secret."""
    return request.method != "GET" and "/v1/" in request.url and "/v1/lookup" not in request.url


def changes(console: Console) -> str:
    return console.sql(
        "SELECT count(*) FROM audit_event WHERE outcome = 'success' AND action NOT LIKE "
        "'session.begin'"
    )


async def test_every_form_keeps_its_values_and_makes_each_change_once(
    browser: Browser, origin: str, console: Console
) -> None:
    assert {str(act) for act in ACTS} >= _ENDED_SESSION
    await end_sessions(console)
    async with page_of(browser, origin, LOST) as page:
        await sign_in(page, PREVIOUS)
        for act in ACTS:
            async with opened(page, console, act) as ids:
                assert await page.evaluate(_UNLOAD) is not act.is_typed
                if str(act) in _ENDED_SESSION:
                    await _end_session(page, console, act)
                if act in _WITH_VERSION:
                    await _change_concurrently(page, console, act, ids)
                await _fail(page, act)
                await _lose_and_repeat(page, console, act)
                if act in _WITH_VERSION:
                    await _both_changes_are_stored(console, act, ids)
                if act in _SHOWN_ONCE:
                    await _leaving_asks_first(page, act)


async def _end_session(page: Page, console: Console, act: Act) -> None:
    typed = await page.evaluate(_VALUES)
    await end_sessions(console)
    # A refresh of the page in the background may be denied before the change is.
    ended = page.get_by_text("The session has ended.")
    await send_button(page, act).or_(ended).last.click()
    await ended.wait_for()
    assert "typed" not in await page.evaluate(
        "document.documentElement.outerHTML + JSON.stringify({...localStorage})"
    )
    await enter_credential(page, BOOTSTRAP)
    await page.locator("#main h1").wait_for()
    assert await page.title() != "Sign in – Gatehouse console"
    assert await page.evaluate(_VALUES) == typed


async def _change_concurrently(page: Page, console: Console, act: Act, ids: dict[str, str]) -> None:
    typed = await page.evaluate(_VALUES)
    url, headers = "/v1" + act.path.format(**ids), {"If-Match": "*"}
    changed = await console.patch(url, json=dict([_OTHERS[act.operation]]), headers=headers)
    assert changed.status_code == 200
    await send_button(page, act).click()
    await shows(page, "This was changed in the meantime.")
    # The form shows the other change too.
    assert len(set(await page.evaluate(_VALUES)).difference(typed)) == 1


async def _both_changes_are_stored(console: Console, act: Act, ids: dict[str, str]) -> None:
    shown: dict[str, Any] = (await console.get("/v1" + act.path.format(**ids))).json()
    name, value = _OTHERS[act.operation]
    other = shown["links"][0]["uses_max"] if name == "uses" else shown[name]
    assert ("typed" in shown.values(), other) == (True, value)


@asynccontextmanager
async def held(
    page: Page, *, fail: bool = False, lose: bool = False
) -> AsyncIterator[asyncio.Event]:
    """Changes get no response until the event is set. fail: they then fail. lose: the console makes
    them, and the connection is lost.
    """
    released = asyncio.Event()

    async def hold(route: Route) -> None:
        if not is_change(route.request):
            await route.continue_()
            return
        await released.wait()
        if fail:
            await route.fulfill(status=503, json=_PROBLEM, content_type="application/problem+json")
        elif lose:
            await route.fetch()
            await route.abort()
        else:
            await route.continue_()

    await page.route("**/v1/**", hold)
    yield released
    released.set()
    await page.unroute("**/v1/**", hold)


async def _fail(page: Page, act: Act) -> None:
    """A change in flight cannot be cancelled, and its failure is visible on a small screen."""
    dialogs = await page.get_by_role("dialog").count()
    await page.set_viewport_size({"width": 375, "height": 667})
    async with held(page, fail=True) as released:
        await send_button(page, act).click()
        await expect(send_button(page, act)).to_be_disabled()
        assert not await page.evaluate(_UNLOAD)
        if not act.is_stoppable:
            cancel = page.locator("dialog, #main").get_by_role("button", name="Cancel")
            assert [await each.is_enabled() for each in await cancel.all()] in ([], [False])
            links = page.locator("#main").get_by_role("link", name="Cancel")
            await expect(links).to_have_count(0)
            await page.keyboard.press("Escape")
            await page.keyboard.press("Escape")
            await expect(page.get_by_role("dialog")).to_have_count(dialogs)
        released.set()
        alert = page.get_by_role("alert").filter(has_text="The database is unavailable.")
        await expect(alert).to_be_in_viewport(ratio=0.99)
        await expect(page.get_by_role("dialog")).to_have_count(dialogs)
        await expect(send_button(page, act)).to_be_enabled()
    await page.set_viewport_size({"width": 1280, "height": 800})


async def _lose_and_repeat(page: Page, console: Console, act: Act) -> None:
    lost: list[Request] = []

    async def lose(route: Route) -> None:
        if is_change(route.request) and not lost:
            lost.append(route.request)
            response = await route.fetch()
            assert response.ok, await response.text()
            await route.abort()
        else:
            await route.continue_()

    await page.route("**/v1/**", lose)
    await send_button(page, act).click()
    await page.get_by_role("alert").get_by_text("The console cannot be reached.").wait_for()
    before = changes(console)
    async with page.expect_response(lambda response: is_change(response.request)) as again:
        await send_button(page, act).click()
    response = await again.value
    assert response.ok, await response.text()
    is_replayed = not CHANGES[act.operation].is_idempotent  # otherwise it has the same effect
    assert response.headers.get("idempotency-replayed") == ("true" if is_replayed else None)
    assert response.request.headers["idempotency-key"] == lost[0].headers["idempotency-key"]
    await expect(page.get_by_role("alert")).to_have_count(0)
    assert changes(console) == before


async def _leaving_asks_first(page: Page, act: Act) -> None:
    """Every page prevents that the tab is closed. One component asks before other ways to leave."""
    part = page.locator("section", has=page.get_by_role("button", name="Download")).last
    await part.wait_for()
    primary = await part.locator(".button.primary").all_inner_texts()
    copies = ["Copy"] * await part.locator("input").count()
    assert [text.partition(" ")[0].partition("\n")[0] for text in primary] == copies
    assert not await page.evaluate(_UNLOAD)
    if act is _SHOWN_ONCE[0]:
        await _leave_in_every_way(page, part)
        assert await page.evaluate(_UNLOAD)


async def _leave_in_every_way(page: Page, part: Locator) -> None:
    read = "inputs => inputs.map(({ value }) => value)"
    values = await part.locator("input").evaluate_all(read)
    assert await violations_in_both_themes(page, await part.element_handle()) == []
    leave = page.get_by_role("dialog").get_by_role("button", name="Leave page")
    await page.get_by_role("link", name="Usage", exact=True).click()
    await leave.wait_for()
    await page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    await page.get_by_role("button", name="Sign out", exact=True).click()
    await leave.wait_for()
    await page.keyboard.press("Escape")
    await page.go_back()
    await leave.wait_for()
    await page.keyboard.press("Escape")
    assert await part.locator("input").evaluate_all(read) == values
    await page.get_by_role("link", name="Usage", exact=True).click()
    await leave.click()
    await shows_heading(page, "Usage", level=1)


async def test_another_user_sees_nothing_of_the_page(
    browser: Browser, origin: str, console: Console
) -> None:
    auditor = await console.create(name="auditor", scopes=["role:auditor"])
    async with page_of(browser, origin, "status of 401") as page:
        await sign_in(page, "/secrets/new")
        await page.get_by_label("Text", exact=True).fill("canary of the first user")
        await ends_session_before(page, console, "/v1/secrets")
        await page.get_by_role("button", name="Share a secret").click()
        await enter_credential(page, auditor["token"])
        await shows_heading(page, "Access denied")
        everything = (
            "document.documentElement.outerHTML + "
            "[...document.querySelectorAll('textarea')].map(({ value }) => value)"
        )
        assert "canary" not in await page.evaluate(everything)
        await page.get_by_role("button", name="Sign out").click()
        await enter_credential(page, BOOTSTRAP)
        await expect(page.get_by_label("Text", exact=True)).to_have_value("")


async def test_lost_response_to_a_sign_out_ends_the_session_at_the_second_press(
    browser: Browser, origin: str
) -> None:
    async with page_of(browser, origin, LOST) as page:
        await sign_in(page, "/settings")

        async def lose(route: Route) -> None:
            await route.fetch()
            await route.abort()

        await page.route("**/v1/sessions/current", lose, times=1)
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_role("button", name="Sign out")).to_be_enabled()
        await page.get_by_role("button", name="Sign out").click()
        await shows_heading(page, "Sign in")
        await expect(page.get_by_text("The session has ended.")).to_be_hidden()
