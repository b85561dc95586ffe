"""Changes of several keys together, those that match on all pages included."""

import re

from playwright.async_api import Browser, expect

from tests.runtime.console_client import Console
from tests.runtime.rows import key_row
from tests.runtime.services.console.web_pages import (
    MARKS,
    loads_nothing,
    navigate,
    page_of,
    shows,
    sign_in,
)

pytestmark = MARKS
#: More than a page of the list has.
KEYS = 57


def add_keys(console: Console, tag: str) -> None:
    console.sql(
        key_row(
            f"FROM generate_series(1, {KEYS}) AS n",
            id=f"'{tag}' || lpad(n::text, {12 - len(tag)}, '0')",
            name="'key ' || n",
            tags=f"'{{{tag}}}'",
            scopes="'{cores:read}'",
        )
    )


async def test_form_changes_what_was_entered_of_all_that_match(
    browser: Browser, origin: str, console: Console
) -> None:
    add_keys(console, "edited")
    revoked = await console.create_id(name="revoked", tags=["edited"])
    assert (await console.request("POST", f"/v1/keys/{revoked}/revoke")).status_code == 200
    async with page_of(browser, origin) as page:
        await sign_in(page, "/keys?tag=edited")
        await page.get_by_label("Select all keys on this page").check()
        await page.get_by_role("button", name="Select all that match: 58").click()
        await shows(page, f"Keys selected: {KEYS}")
        await page.get_by_role("button", name="Edit", exact=True).click()
        await page.get_by_label("Notes").fill("moved")
        # An open form keeps its keys and values whatever the list shows.
        await page.get_by_role("searchbox", name="Search").fill("key 1")
        await loads_nothing(page)
        await expect(page.get_by_label("Notes")).to_have_value("moved")
        await page.get_by_role("button", name="Save").click()
        await shows(page, f"Keys changed: {KEYS}")
        listed = await console.get("/v1/keys", params={"tag": "edited", "limit": "100"})
        changed = {
            (key["notes"], *key["scopes"], *key["tags"])
            for key in listed.json()["keys"]
            if key["id"] != revoked
        }
        assert changed == {("moved", "cores:read", "edited")}
        assert (await console.get(f"/v1/keys/{revoked}")).json()["notes"] == ""


async def test_rotation_shows_a_value_for_each_key_until_they_are_stored(
    browser: Browser, origin: str, console: Console
) -> None:
    for number in range(7):
        await console.create(name=f"rotated {number}", tags=["rotated"])
    async with page_of(browser, origin) as page:
        await sign_in(page, "/keys?tag=rotated")
        await page.get_by_label("Select all keys on this page").check()
        await page.get_by_role("button", name="Rotate", exact=True).click()
        dialog = page.get_by_role("dialog")
        # This deployment does not share secrets.
        await expect(dialog.get_by_role("checkbox")).to_have_count(0)
        await dialog.get_by_role("button", name="Rotate").click()
        tokens = page.locator("section", has_text="Keys rotated: 7").get_by_role("textbox")
        await expect(tokens).to_have_count(7)
        before = [await token.input_value() for token in await tokens.all()]
        assert len(set(before)) == 7
        await page.reload()
        await expect(tokens).to_have_count(7)
        assert {await token.input_value() for token in await tokens.all()} == set(before)
        await page.get_by_role("button", name="I have stored or sent the values").click()
        await expect(tokens).to_have_count(0)
        await page.reload()
        await loads_nothing(page)
        await expect(tokens).to_have_count(0)
        # All of them have a successor, so that none is rotated twice.
        listed = await console.get("/v1/keys", params={"tag": "rotated", "limit": "100"})
        keys = listed.json()["keys"]
        assert sorted(bool(key["successor_id"]) for key in keys) == [False] * 7 + [True] * 7


async def test_forms_offer_a_link_only_where_secrets_are_shared(
    browser: Browser, origin: str, console: Console
) -> None:
    key = await console.create_id(name="without a link")
    async with page_of(browser, origin) as page:
        await sign_in(page, f"/keys/{key}")
        for path, button in (
            (f"/keys/{key}", "Rotate"),
            ("/keys/new", None),
            ("/people", "Give access"),
        ):
            await navigate(page, path)
            if button:
                await page.get_by_role("button", name=button).click()
            await expect(page.get_by_label("Create a link")).to_have_count(0)
        await page.get_by_label("Name", exact=True).fill("A person")
        await page.get_by_role("button", name="Give access").last.click()
        await expect(page.get_by_label("Token", exact=True)).to_have_value(re.compile("^gtk_"))
