"""The form of a key writes only what it shows and the user changes."""

from typing import Any

import schemathesis
from gatehouse.core.keys import key_fields
from gatehouse.features.keys.schemas import KeyView
from gatehouse.services.console.routes import document
from hypothesis import given, settings
from playwright.async_api import Browser, Locator, Page
from schemathesis import GenerationMode

from tests.runtime.console_client import Console
from tests.runtime.openapi_conformance import BOUNDS, EXAMPLES, without_security
from tests.runtime.services.console.web_pages import MARKS, navigate, page_of, sign_in

pytestmark = MARKS
FIELDS = key_fields(set_by="update")
_PATH = "/v1/keys/{id}"
#: Minimum number of keys. More follow until every field had a value.
_ROUNDS = EXAMPLES or 4
_LIMITS = [
    {"name": "short", "quota": 10, "window_s": 60, "burst": 3, "cost": 1},
    {"name": "daily", "quota": 10_000, "window_s": 86_400, "burst": 10_000, "cost": 0},
    {"name": "odd", "quota": 7, "window_s": 61, "burst": 7, "cost": 5},
]


def bodies() -> list[dict[str, Any]]:
    """Updates that the OpenAPI document permits."""
    schema: Any = schemathesis.openapi.from_dict(without_security(document()))
    found: list[dict[str, Any]] = []

    def add(case: Any) -> None:
        if isinstance(case.body, dict):
            found.append(case.body)

    operation = schema[_PATH]["PATCH"]
    strategy = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
    run: Any = settings(BOUNDS, max_examples=EXAMPLES or 40)(given(strategy)(add))  # type: ignore[no-untyped-call]
    run()
    return found


async def settings_of(console: Console, key_id: str) -> dict[str, Any]:
    """The fields that an update can set, and the version."""
    key = (await console.get(f"/v1/keys/{key_id}")).json()
    return {name: key[name] for name in (*FIELDS, "version")}


async def write(console: Console, key_id: str, **changes: Any) -> int:
    reply = await console.patch(f"/v1/keys/{key_id}", json=changes, headers={"If-Match": "*"})
    return reply.status_code


async def edit(page: Page, key_id: str) -> None:
    await navigate(page, f"/keys/{key_id}")
    await page.get_by_role("button", name="Edit", exact=True).click()


async def save(page: Page) -> None:
    await page.get_by_role("button", name="Save", exact=True).click()
    await page.get_by_role("button", name="Edit", exact=True).wait_for()


def limit(page: Page, number: int) -> Locator:
    return page.get_by_role("group", name=f"Rate limit {number}")


async def test_form_leaves_every_value_unchanged_that_the_user_does_not_change(
    browser: Browser, origin: str, console: Console
) -> None:
    example = {name: KeyView.example[name] for name in FIELDS if name in KeyView.example}
    webhook = await console.post("/v1/webhooks", json={"url": "https://hooks.example.com/a"})
    contact = webhook.json()["webhook"]["id"]
    await console.post("/v1/customers", json={"id": example["customer_id"]})
    await console.post("/v1/plans", json={"name": "gold"})
    values = [{**example, "limits": _LIMITS, "contact": contact}, {"plan": "gold"}, *bodies()]
    accepted: set[str] = set()
    async with page_of(browser, origin) as page:
        await sign_in(page, "/keys")
        for number, body in enumerate(values):
            key_id = await console.create_id()
            for name in FIELDS:
                if name in body and await write(console, key_id, **{name: body[name]}) == 200:
                    accepted.add(name)
            before = await settings_of(console, key_id)
            await edit(page, key_id)
            await save(page)
            assert await settings_of(console, key_id) == before
            label, name = (("Notes", "notes"), ("Name", "name"))[number % 2]
            await edit(page, key_id)
            await page.get_by_label(label, exact=True).first.fill("typed in the form")
            await save(page)
            after = await settings_of(console, key_id)
            assert after == {**before, name: "typed in the form", "version": before["version"] + 1}
            if number >= _ROUNDS and accepted == set(FIELDS):
                break
    assert accepted == set(FIELDS)


async def test_limits_credits_metadata_and_expiry_are_changed(
    browser: Browser, origin: str, console: Console
) -> None:
    default = (await console.create())["key"]["limits"]
    key_id = await console.create_id(limits=_LIMITS)
    async with page_of(browser, origin) as page:
        await sign_in(page, "/keys")
        await edit(page, key_id)
        await limit(page, 1).get_by_label("Requests", exact=True).fill("99")
        await limit(page, 3).get_by_role("button", name="Remove").click()
        await page.get_by_role("button", name="Add rate limit").click()
        await limit(page, 3).get_by_label("Name").fill("hourly")
        await limit(page, 3).get_by_label("Requests", exact=True).fill("500")
        await limit(page, 3).get_by_label("Per").select_option(label="1 hour")
        await page.get_by_label("Credits", exact=True).fill("5000")
        await page.get_by_label("Refill", exact=True).fill("700")
        await page.get_by_label("Refill every").select_option("week")
        await page.get_by_role("button", name="Add metadata").click()
        item = page.get_by_role("group", name="Metadata 1")
        await item.get_by_label("Name").fill("ticket")
        await item.get_by_label("Value").fill("OPS-1234")
        await page.get_by_label("Expires").fill("2031-01-01T00:00:00")
        await save(page)
        added = {"name": "hourly", "quota": 500, "window_s": 3600, "burst": 500, "cost": 1}
        after = await settings_of(console, key_id)
        assert after["limits"] == [{**_LIMITS[0], "quota": 99}, _LIMITS[1], added]
        refill = {"amount": 700, "every": "week"}
        assert after["credits"] == {"remaining": 5000, "refill": refill}
        assert after["metadata"] == {"ticket": "OPS-1234"}
        assert after["expires_at"].startswith(("2030-12-31T", "2031-01-01T"))
        await edit(page, key_id)
        for _ in range(3):
            await limit(page, 1).get_by_role("button", name="Remove").click()
        for label in ("Credits", "Expires"):
            await page.get_by_label(label, exact=True).fill("")
        await item.get_by_role("button", name="Remove").click()
        await save(page)
        after = await settings_of(console, key_id)
        assert after["limits"] == default
        removed: dict[str, Any] = {"credits": None, "metadata": {}, "expires_at": None}
        assert {name: after[name] for name in removed} == removed
