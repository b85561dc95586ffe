"""The portal in headless Chromium. Its pages contain no script."""

import re
from collections.abc import AsyncIterator

import pytest
from gatehouse.services.console.portal.pages import PAGES
from playwright.async_api import Browser, Page, expect

from tests.runtime.console_client import Console
from tests.runtime.services.console.test_portal import new_customer
from tests.runtime.services.sharing.chromium import page_of, serving, violations_in_both_themes

#: A light colour, on which white text has no sufficient contrast.
COLOUR = "#f5c400"


@pytest.fixture
async def portal_origin(console: Console) -> AsyncIterator[str]:
    app = console.application(console_url="", portal_name="Example Ltd", portal_colour=COLOUR)
    async with serving(app) as url:
        yield url


async def check(page: Page, width: int) -> None:
    assert await violations_in_both_themes(page) == [], page.url
    assert await page.evaluate("document.documentElement.scrollWidth") <= width, page.url


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize("width", [360, 768, 1280])
async def test_customer_creates_changes_rotates_and_revokes_a_key(
    browser: Browser, portal_origin: str, console: Console, width: int, language: str
) -> None:
    texts = PAGES.texts[language]
    credits = {"remaining": 900, "refill": {"amount": 1000, "every": "month"}}
    customer = await new_customer(console, credits=credits)
    body = {"language": language}
    link = (await console.post(f"/v1/customers/{customer}/portal", json=body)).json()["url"]
    path = "/portal" + link.partition("/portal")[2]
    async with page_of(
        browser, portal_origin, "status of 40", viewport={"width": width, "height": 640}
    ) as page:
        await page.goto(path)
        await check(page, width)
        await page.get_by_role("button", name=texts["open"]).click()
        await expect(page).to_have_url(re.compile("/portal$"))
        await expect(page.locator("html")).to_have_attribute("lang", language)
        await expect(page.locator("main")).to_contain_text(texts["no_keys"])
        await expect(page.locator("main")).to_contain_text("900")
        await check(page, width)
        await page.fill("#name", "x" * 100)
        await page.fill("#addresses", "10.0.0.1/8")
        await page.get_by_role("button", name=texts["create"]).click()
        await expect(page.get_by_role("alert")).to_have_text(texts["bad_addresses"])
        await check(page, width)
        await page.fill("#addresses", "192.0.2.0/24")
        await page.get_by_role("button", name=texts["create"]).click()
        token = await page.input_value("#token")
        assert token.startswith("gtk_test_")
        await check(page, width)
        await page.reload()
        assert await page.input_value("#token") == token
        await page.get_by_role("link").click()
        await expect(page.locator(".keys li")).to_have_count(1)
        await check(page, width)
        await page.click(".keys a")
        await page.fill("#name", "renamed")
        await check(page, width)
        await page.get_by_role("button", name=texts["save"], exact=True).click()
        await page.get_by_role("link", name="renamed").click()
        await page.select_option("#grace", "0")
        await page.get_by_role("button", name=texts["rotate"]).click()
        assert await page.input_value("#token") != token
        await page.get_by_role("link").click()
        await page.get_by_role("link", name="renamed").first.click()
        await page.check("input[name=confirm]")
        await page.get_by_role("button", name=texts["revoke"]).click()
        await expect(page.locator(".keys .revoked")).to_have_text(texts["state_revoked"])
        await check(page, width)
        await page.get_by_role("button", name=texts["end"]).click()
        await expect(page.locator("h1")).to_have_text(texts["ended_title"])
        await page.goto("/portal")
        await expect(page.locator("h1")).to_have_text(PAGES.texts["en"]["session_ended_title"])
        await page.goto(path)
        await expect(page.locator("h1")).to_have_text(PAGES.texts["en"]["link_used_title"])
        await check(page, width)
