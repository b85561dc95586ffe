"""The import of keys in headless Chromium: report of the dry run, import, errors, and no token in
the page.
"""

from __future__ import annotations

import re

from playwright.async_api import Browser, Page, expect

from tests.runtime.console_client import Console
from tests.runtime.services.console.web_pages import (
    MARKS,
    origin,
    page_of,
    sign_in,
    sign_in_by_keyboard,
    tab_to,
    violations_in_both_themes,
)

__all__ = ["origin"]

pytestmark = MARKS
CONTENT = (
    "key,name,owner,uses\n"
    "canary-browser-token-1,one,billing,1\n"
    "canary-browser-token-2,two,billing,2\n"
    "canary-browser-token-1,again,billing,3\n"
    "short,three,billing,4\n"
)
#: The page with the values of its controls, and everything that the browser stores.
_EVERYTHING = """() => document.documentElement.outerHTML + location.href
  + [...document.querySelectorAll('input, textarea')].map(({ value }) => value).join()
  + JSON.stringify([{ ...localStorage }, { ...sessionStorage }, history.state])"""


async def choose(page: Page, content: str | bytes, name: str = "canary.csv") -> None:
    buffer = content if isinstance(content, bytes) else content.encode()
    await page.get_by_label("Choose a file").set_input_files(
        {"name": name, "mimeType": "text/csv", "buffer": buffer}
    )


async def facts(page: Page) -> list[str]:
    return await page.locator("dl.facts dd").all_inner_texts()


async def test_file_is_checked_corrected_and_imported_by_keyboard(
    browser: Browser, origin: str, console: Console
) -> None:
    async with page_of(browser, origin) as page:
        await sign_in(page, "/keys")
        await expect(page.get_by_role("heading", name="API keys")).to_be_visible()
        await tab_to(page, "Import keys")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="Import keys")).to_be_visible()
        await expect(page.get_by_role("button", name="Check file")).to_be_disabled()
        await choose(page, CONTENT)
        await page.get_by_role("button", name="Check file").press("Enter")
        await expect(page.get_by_role("heading", name="Report")).to_be_focused()
        assert await facts(page) == ["4", "0", "0", "4"]
        await expect(
            page.get_by_text("uses is not a known field")
            .or_(page.locator("code", has_text="uses"))
            .first
        ).to_be_visible()
        await expect(
            page.get_by_text("The file contains no key that can be imported.")
        ).to_be_visible()
        await expect(page.get_by_role("button", name="Import", exact=True)).to_be_hidden()

        await page.get_by_role("button", name="Import another file").press("Enter")
        await choose(page, CONTENT)
        await page.get_by_label("Fields to ignore").fill("uses")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="Report")).to_be_focused()
        assert await facts(page) == ["4", "2", "0", "2"]
        rows = await page.locator("tbody tr").all_inner_texts()
        assert [re.sub(r"\s+", " ", row).strip() for row in rows] == [
            "4 is the same key as line 2: remove one of them",
            "5 has a key that is not 8 to 512 visible ASCII characters without a space",
        ]
        assert await violations_in_both_themes(page) == []
        assert "canary-browser-token" not in await page.evaluate(_EVERYTHING)
        await expect(page.get_by_role("button", name="Import", exact=True)).to_be_disabled()
        await page.get_by_label("Skip the invalid rows").press("Space")
        await page.get_by_role("button", name="Import", exact=True).press("Enter")
        await expect(page.get_by_role("heading", name="Import keys: 2")).to_be_visible()
        await page.keyboard.press("Escape")
        assert (await console.client.get("/v1/keys", params={"owner": "billing"})).json()[
            "keys"
        ] == []
        await page.get_by_role("button", name="Import", exact=True).press("Enter")
        await (
            page.get_by_role("dialog")
            .get_by_role("button", name="Import", exact=True)
            .press("Enter")
        )
        await expect(page.get_by_role("heading", name="Import completed")).to_be_focused()
        assert await facts(page) == ["4", "2", "0", "2"]
        await expect(page.get_by_text("The change is effective on every gateway.")).to_be_visible()
        await page.get_by_role("link", name="Show keys").press("Enter")
        await expect(page.get_by_role("link", name="one", exact=True)).to_be_visible()
        assert "canary-browser-token" not in await page.evaluate(_EVERYTHING)
    keys = (
        await console.client.get("/v1/keys", params={"owner": "billing", "sort": "name"})
    ).json()["keys"]
    assert [key["name"] for key in keys] == ["one", "two"]


async def test_pasted_tokens_are_removed_from_the_page(
    browser: Browser, origin: str, console: Console
) -> None:
    before = (await console.client.get("/v1/keys", params={"limit": 200})).json()["keys"]
    async with page_of(browser, origin) as page:
        await sign_in_by_keyboard(page, "/keys/import")
        await page.get_by_label("Or paste the content").fill('["canary-pasted-token"]')
        await page.get_by_label("Format").select_option("json")
        await page.get_by_role("button", name="Check file").click()
        await expect(page.get_by_role("heading", name="Report")).to_be_visible()
        assert await facts(page) == ["1", "1", "0", "0"]
        assert "canary" not in await page.evaluate(_EVERYTHING)
        await page.get_by_role("button", name="Import another file").click()
        await page.get_by_label("Or paste the content").fill("canary-of-the-field")
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        assert not re.search("canary", await page.evaluate(_EVERYTHING))
        await page.go_back()
        await page.go_forward()
        assert not re.search("canary", await page.evaluate(_EVERYTHING))
    assert (await console.client.get("/v1/keys", params={"limit": 200})).json()["keys"] == before


async def test_errors_of_an_import_are_displayed(
    browser: Browser, origin: str, console: Console
) -> None:
    auditor = await console.create(name="auditor", scopes=["role:auditor"])
    async with page_of(browser, origin, "status of 400") as page:
        await sign_in(page, "/keys/import")
        await choose(page, "7", "keys.json")
        await page.get_by_role("button", name="Check file").click()
        await expect(page.get_by_role("alert")).to_contain_text(
            "line 1 must be a JSON object or list"
        )
        assert await violations_in_both_themes(page) == []
        await choose(page, b"key\n\xe9")
        await expect(page.get_by_role("alert")).to_contain_text("The file is not UTF-8 text.")
        await page.get_by_label("Choose a file").set_input_files([])
        await page.get_by_label("Or paste the content").fill("key\nlegacy-token-of-the-errors")
        await page.get_by_label("Scopes of keys without scopes").fill("admin")
        await page.get_by_role("button", name="Check file").click()
        await expect(page.get_by_role("alert")).to_contain_text("has a scope that manages keys")
        await page.get_by_role("button", name="Sign out").click()
        await page.get_by_label("Credential").fill(auditor["token"])
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="Access denied")).to_be_visible()
        await page.get_by_role("link", name="API keys").click()
        await expect(page.get_by_role("heading", name="API keys")).to_be_visible()
        await expect(page.get_by_role("link", name="Import keys")).to_be_hidden()
