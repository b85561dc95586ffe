"""Browsers with any language and time zone."""

import re

import pytest
from playwright.async_api import Browser, expect

from tests.runtime.console_client import Console
from tests.runtime.services.console.web_pages import MARKS, navigate, sign_in
from tests.runtime.services.sharing.chromium import localized_page_of

pytestmark = MARKS
CREATED = "2026-01-31T11:30:00Z"
#: Languages that browsers report, the time zone, and the text of CREATED.
LOCALES = [
    pytest.param([], "UTC", "Jan 31, 2026, 11:30:00 AM", id="none"),
    pytest.param(
        ["", "en_GB", "de-DE", "en-GB"],
        "Pacific/Kiritimati",
        "1 Feb 2026, 01:30:00",
        id="english-is-last",
    ),
]


@pytest.mark.parametrize(("languages", "zone", "created_text"), LOCALES)
async def test_pages_work_with_every_language_that_browsers_report(
    browser: Browser,
    origin: str,
    console: Console,
    languages: list[str],
    zone: str,
    created_text: str,
) -> None:
    key_id = await console.create_id(name="nightly export")
    console.sql(f"UPDATE api_key SET created_at = '{CREATED}' WHERE id = '{key_id}'")  # noqa: S608
    values = f"3600, '{key_id}', date_trunc('hour', now()), 'docs', 'RATE_LIMITED', 1234567"
    console.sql(f"INSERT INTO usage_count VALUES ({values})")  # noqa: S608
    async with localized_page_of(browser, origin, languages, zone) as page:
        await page.goto("/")
        await expect(page.locator("input[type=password]")).to_be_focused()
        await sign_in(page)
        await expect(page.locator("dd").nth(1)).to_have_text(re.compile(r"^\d+,\d{3},\d{3}$"))
        await expect(page.locator("html")).to_have_attribute("lang", "en")
        await navigate(page, "/keys")
        created = page.locator(f"tr:has([href$='{key_id}']) time[datetime^='{CREATED[:-1]}']")
        await expect(created).to_have_attribute("title", created_text)
        await navigate(page, "/usage")
        await expect(page.locator(".chart rect.limited").first).to_be_attached()
        await navigate(page, "/keys/new")
        await page.locator("main form input").first.fill("created by the form")
        await page.locator("main form button.primary").click()
        await expect(page.locator("input[readonly]")).to_have_value(re.compile("gtk_"))
