"""Every form that edits a resource writes only what the user edited. While the form is open,
requests consume what it shows, the key is rotated and then expires sooner, and another user changes
every other property. Every edit form and every control of it has a case.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from gatehouse.features.secrets.link_token import parse
from gatehouse.features.verification.repository import CreditRepository
from playwright.async_api import Browser, Page, Request, expect

from tests.runtime.console_client import Console
from tests.runtime.features.secrets.services import Sharing
from tests.runtime.rows import contact_row
from tests.runtime.services.console.test_browser_forms import ACTS, CHANGES, console, is_change
from tests.runtime.services.console.web_pages import (
    MARKS,
    navigate,
    page_of,
    raw_times,
    shows,
    sign_in,
    violations,
)

__all__ = ["console"]

pytestmark = MARKS
Json = dict[str, Any]
#: (console, services, response to the creation)
Events = Callable[[Console, Sharing, Json], Awaitable[None]]

_LIMIT = {"name": "requests", "quota": 10, "window_s": 60, "burst": 10, "cost": 1}
#: Names of the resource in a response. Other responses are the resource.
_RESOURCES = ("key", "webhook", "secret")
#: Properties that identify a resource.
_IDENTITIES = {"update_customer": "id", "update_plan": "name", "update_limit": "name"}
#: A key has one of them.
_EXCLUSIVE = {"plan": "customer_id"}
_PUBLIC_KEY = "JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs="
_CREDITS = {"remaining": 1000, "refill": {"amount": 1000, "every": "month"}}
#: The labels of the controls of a form.
_LABELS = """() => [...document.querySelector('#main form').elements]
  .filter((control) => control.labels?.length)
  .map((control) => control.labels[0].textContent.trim())"""


def _in_hours(hours: int) -> str:
    """The value of a control for a time. In the time zone of the browser, which is that of the
    machine.
    """
    return f"{datetime.now().astimezone() + timedelta(hours=hours):%Y-%m-%dT%H:%M:%S}"


@dataclass(frozen=True)
class Form:
    """controls: property, value to type and button to press before, by label. grouped: labels of
    controls with the case of another one. others: what another user sets, by property.
    """

    page: str
    creation: Json
    controls: dict[str, tuple[str, str]]
    grouped: str
    others: Json
    events: Events


async def _use_and_rotate(console: Console, _: Sharing, created: Json) -> None:
    key_id = created["key"]["id"]
    assert await CreditRepository(console.pool).spend([key_id], 30) is not None
    rotated = await console.post(f"/v1/keys/{key_id}/rotate", json={"grace_s": 5 * 86_400})
    assert rotated.status_code == 201, rotated.text


async def _use_shared_credits(console: Console, _: Sharing, created: Json) -> None:
    assert await CreditRepository(console.pool).spend([f"@{created['id']}"], 30) is not None


async def _open(_: Console, sharing: Sharing, created: Json) -> None:
    token = parse(created["links"][0]["url"])
    assert token is not None
    await sharing.open(token)


async def _nothing(*_: object) -> None:
    pass


FORMS = {
    "update_key": Form(
        "/keys/{id}",
        {
            "name": "before",
            "limits": [_LIMIT],
            "metadata": {"ticket": "OPS-1"},
            "credits": _CREDITS,
            "expires_at": "2035-01-01T00:00:00Z",
        },
        {
            "Name": ("name", "typed"),
            "Customer": ("customer_id", "typed"),
            "Plan": ("plan", "typed"),
            "Scopes": ("scopes", "cores:read typed:it"),
            "Cores": ("cores", "typed"),
            "Networks": ("addresses", "192.0.2.7/32"),
            "GET": ("methods", "checked"),
            "Public key": ("public_key", _PUBLIC_KEY),
            "Tags": ("tags", "typed"),
            "Notes": ("notes", "typed"),
            "Contact": ("contact", "8dKs02mXwP4t"),
            "Value": ("metadata", "OPS-2"),
            "Requests": ("limits", "99"),
            "Expires": ("expires_at", _in_hours(24)),
            "Credits": ("credits.remaining", "500"),
            "Add credits": ("credits.add", "500"),
            "Refill": ("credits.refill", "2000"),
            "Refill every": ("credits.refill", "week"),
        },
        "Per Burst Cost DELETE HEAD OPTIONS PATCH POST PUT",
        {
            "name": "other",
            "customer_id": "other",
            "scopes": ["other:scope"],
            "cores": ["other"],
            "addresses": ["198.51.100.0/24"],
            "methods": ["POST"],
            "tags": ["other"],
            "notes": "other",
            "metadata": {"other": "1"},
            "limits": [{**_LIMIT, "name": "other"}],
            "credits": {"add": 7, "refill": {"amount": 3, "every": "day"}},
        },
        _use_and_rotate,
    ),
    "update_customer": Form(
        "/customers/{id}",
        {
            "name": "before",
            "metadata": {"ticket": "OPS-1"},
            "limits": [_LIMIT],
            "credits": _CREDITS,
        },
        {
            "Name": ("name", "typed"),
            "Plan": ("plan", "typed"),
            "Contact": ("contact", "8dKs02mXwP4t"),
            "Tags": ("tags", "typed"),
            "Notes": ("notes", "typed"),
            "Value": ("metadata", "OPS-2"),
            "Requests": ("limits", "99"),
            "Shared credits": ("credits.remaining", "500"),
            "Add credits": ("credits.add", "500"),
            "Refill": ("credits.refill", "2000"),
            "Refill every": ("credits.refill", "week"),
        },
        "Per Burst Cost",
        {
            "name": "other",
            "plan": "other",
            "tags": ["other"],
            "notes": "other",
            "metadata": {"other": "1"},
            "limits": [{**_LIMIT, "name": "other"}],
            "credits": {"add": 7, "refill": {"amount": 3, "every": "day"}},
        },
        _use_shared_credits,
    ),
    "update_plan": Form(
        "/plans/{name}",
        {
            "description": "before",
            "limits": [_LIMIT],
            "shared_limits": [_LIMIT],
            "credits": {"amount": 1000, "every": "month"},
            "ttl_s": 86_400,
        },
        {
            "Description": ("description", "typed"),
            "Scopes": ("scopes", "typed:it"),
            "Lifetime in days": ("ttl_s", "7"),
            "Requests": ("limits", "99"),
            "Shared credits": ("credits", "2000"),
            "Refill every": ("credits", "week"),
        },
        "Name Per Burst Cost",
        {
            "description": "other",
            "scopes": ["other:scope"],
            "ttl_s": 100_000,
            "limits": [{**_LIMIT, "name": "other"}],
            "shared_limits": [{**_LIMIT, "name": "other"}],
            "credits": {"amount": 3, "every": "day"},
        },
        _nothing,
    ),
    "update_limit": Form(
        "/limits/{name}",
        {"description": "before", "quota": 10, "window_s": 60, "burst": 10},
        {
            "Description": ("description", "typed"),
            "Requests": ("quota", "99"),
            "Per": ("window_s", "3600"),
            "Burst": ("burst", "9"),
        },
        "",
        {"description": "other", "quota": 20, "window_s": 7, "burst": 8},
        _nothing,
    ),
    "update_secret": Form(
        "/secrets/{id}",
        {"text": "shared", "label": "before", "uses": 3, "ttl_s": 86_400},
        {
            "Label": ("label", "typed"),
            "Uses of each link": ("uses", "9"),
            "Expires": ("expires_at", _in_hours(12)),
        },
        "",
        {"label": "other", "uses": 7},
        _open,
    ),
    "update_webhook": Form(
        "/webhooks",
        {"url": "https://hooks.example.com/a", "events": ["key.revoked"]},
        {
            "URL": ("url", "https://typed.example.com/a"),
            "key.rotated": ("events", "checked"),
            "Only events of keys and customers whose contact is this webhook": (
                "contact_only",
                "checked",
            ),
        },
        "customer.created customer.credits_used_up customer.deleted customer.disabled "
        "customer.enabled customer.restored customer.updated key.expires_soon key.revoked "
        "plan.updated request.submitted secret.denied secret.opened secret.purged",
        {"url": "https://other.example.com/a", "events": ["secret.opened"]},
        _nothing,
    ),
}


def test_every_edit_form_has_a_case() -> None:
    edited = {act.operation for act in ACTS if CHANGES[act.operation].method == "PATCH"}
    assert edited == FORMS.keys()


def flat(value: Json) -> Json:
    """The properties, with those of the credits."""
    credits = value.get("credits") or {}
    if "amount" in credits:  # of a plan
        return value
    parts = {f"credits.{name}": part for name, part in credits.items()}
    return {**{name: each for name, each in value.items() if name != "credits"}, **parts}


async def state_of(console: Console, path: str) -> Json:
    shown = flat((await console.get(path)).json())
    links = {"uses": shown["links"][0]["uses_max"]} if "links" in shown else {}
    # The limits and the name of a customer are also in other properties.
    derived = ("customer_name", "shared_limits") if "inherits" in shown else ()
    ignored = ("version", "revision", "updated_at", "last_used_at", "links", *derived)
    return {name: value for name, value in {**shown, **links}.items() if name not in ignored}


async def edit(page: Page, label: str, value: str) -> None:
    control = page.locator("#main form").get_by_label(label, exact=True).first
    if value == "checked":
        await control.check()
    elif await control.evaluate("control => control.localName") == "select":
        await control.select_option(value)
    else:
        await control.fill(value)


@pytest.mark.parametrize("operation", FORMS)
async def test_form_writes_only_the_edited_property(
    browser: Browser, origin: str, console: Console, sharing: Sharing, operation: str
) -> None:
    form = FORMS[operation]
    collection = CHANGES[operation].path.rpartition("/")[0]
    console.sql(contact_row())
    sent: list[Json] = []
    async with page_of(browser, origin, "status of 412") as page:

        def record(request: Request) -> None:
            if is_change(request):
                sent.append(request.post_data_json or {})

        page.on("request", record)
        await sign_in(page, "/keys")
        for number, (label, (name, value)) in enumerate(form.controls.items()):
            await navigate(page, "/none")
            if operation == "update_webhook":
                console.sql("DELETE FROM webhook")
            for referenced in ("typed", "other"):
                await console.post("/v1/plans", json={"name": referenced})
                await console.post("/v1/customers", json={"id": referenced})
            identity = {_IDENTITIES[operation]: f"n{number}"} if operation in _IDENTITIES else {}
            created = (await console.post(collection, json={**form.creation, **identity})).json()
            resource = next((created[each] for each in _RESOURCES if each in created), created)
            path = f"{collection}/{resource.get('id') or resource['name']}"
            await navigate(page, form.page.format(**resource))
            await page.get_by_role("button", name="Edit", exact=True).first.click()
            labels = set(await page.evaluate(_LABELS))
            assert labels == {*form.controls, *form.grouped.split()} - {""}
            await edit(page, label, value)
            await form.events(console, sharing, created)
            top = name.partition(".")[0]
            same = {top, _EXCLUSIVE.get(top, top)}
            others = {other: each for other, each in form.others.items() if other not in same}
            changed = await console.patch(path, json=others, headers={"If-Match": "*"})
            assert changed.status_code == 200, changed.text
            before = await state_of(console, path)
            sent.clear()
            await page.get_by_role("button", name="Save", exact=True).click()
            await shows(page, "This was changed in the meantime.")
            # A rotation changes the expiry of a key.
            for mine in await page.get_by_role("radio", name="Your value: ").all():
                await mine.check()
            save = page.get_by_role("button", name="Save", exact=True)
            await save.click()
            await expect(save, label).to_have_count(0)
            assert [set(flat(body)) for body in sent] == [{name}, {name}], label
            after = await state_of(console, path)
            stored = "credits.remaining" if name == "credits.add" else name
            assert {key for key in after if after[key] != before[key]} == {stored}, label
            if name == "credits.add":
                assert after[stored] == 970 + 500


#: Without a conflict: both changes of a list are kept, and the form does not show the URL.
_NO_CONFLICT = ("methods", "events", "url")


@pytest.mark.parametrize("operation", sorted(FORMS.keys() - {"update_webhook"}))
async def test_field_that_both_changed_is_saved_only_after_a_choice(
    browser: Browser, origin: str, console: Console, operation: str
) -> None:
    """The form says who changed which field, and shows both values."""
    form = FORMS[operation]
    collection = CHANGES[operation].path.rpartition("/")[0]
    console.sql(contact_row())
    shared = {
        label: name
        for label, (name, _) in form.controls.items()
        if name in form.others and name not in _NO_CONFLICT
    }
    sent: list[str] = []
    async with page_of(browser, origin, "status of 412") as page:
        page.on("request", lambda request: sent.extend([request.url] if is_change(request) else []))
        await sign_in(page, "/keys")
        for number, (label, name) in enumerate(shared.items()):
            await navigate(page, "/none")
            for referenced in ("typed", "other"):
                await console.post("/v1/plans", json={"name": referenced})
                await console.post("/v1/customers", json={"id": referenced})
            identity = {_IDENTITIES[operation]: f"c{number}"} if operation in _IDENTITIES else {}
            created = (await console.post(collection, json={**form.creation, **identity})).json()
            resource = next((created[each] for each in _RESOURCES if each in created), created)
            path = f"{collection}/{resource.get('id') or resource['name']}"
            await navigate(page, form.page.format(**resource))
            await page.get_by_role("button", name="Edit", exact=True).first.click()
            await edit(page, label, form.controls[label][1])
            changed = await console.patch(
                path, json={name: form.others[name]}, headers={"If-Match": "*"}
            )
            assert changed.status_code == 200, changed.text
            before = await state_of(console, path)
            sent.clear()
            save = page.get_by_role("button", name="Save", exact=True)
            await save.click()
            await shows(page, "This was changed in the meantime.")
            assert await raw_times(page) == []
            if operation != "update_secret":  # whose events are written later
                await expect(page.get_by_text("bootstrap changed")).to_have_count(1)
            await save.click()
            await expect(page.get_by_role("radio", name="Your value: ")).to_be_focused()
            assert (len(sent), await state_of(console, path)) == (1, before), label
            choice = ("Current value: ", "Your value: ")[number % 2]
            await page.get_by_role("radio", name=choice).check()
            assert await violations(page) == []
            await save.click()
            await expect(save).to_have_count(0)
            after = await state_of(console, path)
            is_mine = {each for each in after if after[each] != before[each]} != set()
            assert is_mine == (choice == "Your value: "), label
    assert len(shared) >= 2
