"""The list of 10,000 keys is bounded."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

from playwright.async_api import Browser, Page, expect

from tests.runtime.console_client import Console
from tests.runtime.rows import customer_row, key_row
from tests.runtime.services.console.web_pages import (
    MARKS,
    loads_nothing,
    navigate,
    page_of,
    shows,
    sign_in,
)

pytestmark = MARKS
KEYS, CUSTOMERS, PAGE_ROWS = 10_000, 100, 50
ELEMENTS_MAX = 1500
LIMITS = json.dumps([{"name": "requests", "quota": 5, "window_s": 60, "burst": 5}])


def add_keys(console: Console) -> str:
    """Inserts keys with consecutive names, newest first. Returns how many of them expire soon."""
    source = f"FROM generate_series(0, {CUSTOMERS - 1}) AS n ON CONFLICT DO NOTHING"
    console.sql(customer_row(source, id="'team-' || n", name="'team ' || n"))
    console.sql(
        key_row(
            f"FROM generate_series(1, {KEYS}) AS n ON CONFLICT (id) DO NOTHING",
            id="'K' || lpad(n::text, 11, '0')",
            state="CASE WHEN n % 10 = 0 THEN 'disabled' ELSE 'active' END",
            name="'key ' || lpad(n::text, 5, '0')",
            **{"customer_id": f"'team-' || n % {CUSTOMERS}", "scopes": "'{cores:read}'"},
            limits=f"'{LIMITS}'",
            created_at="now() - n * interval '1 minute'",
            expires_at="now() + n * interval '1 hour'",
        )
    )
    console.sql(
        "UPDATE api_key SET expires_at = now() + interval '15 minutes' - n * interval '1 minute'"
        " FROM generate_series(1, 7) AS n WHERE id = 'K' || lpad((9000 + n)::text, 11, '0')"
    )
    return console.sql(
        "SELECT count(*) FROM api_key WHERE state = 'active' AND expires_at BETWEEN now() AND "
        "now() + interval '14 days'"
    )


@asynccontextmanager
async def counted(page: Page) -> AsyncIterator[list[str]]:
    """The requests of a tab in the background, which does not refresh its data by itself, except
    for the two of a page of keys: the filter that was entered, and the use of the listed keys.
    """
    sent: list[str] = []
    hidden = "Object.defineProperty(document, 'hidden', { configurable: true, value: true })"
    await page.evaluate(hidden)
    await loads_nothing(page)

    def add(request: object) -> None:
        url = urlsplit(getattr(request, "url", ""))
        if url.path.startswith("/v1/") and url.path not in ("/v1/lookup", "/v1/usage"):
            sent.append(f"{url.path}?{url.query}")

    page.on("request", add)
    yield sent
    await loads_nothing(page)
    page.remove_listener("request", add)
    await page.evaluate("delete document.hidden")


async def names(page: Page) -> list[str]:
    return await page.locator("tbody th a").all_inner_texts()


async def elements(page: Page) -> int:
    count: int = await page.evaluate("document.querySelectorAll('*').length")
    return count


async def test_pages_of_many_keys_are_bounded(
    browser: Browser, origin: str, console: Console
) -> None:
    soon = add_keys(console)
    async with page_of(browser, origin) as page:
        async with counted(page) as sent:
            await sign_in(page)
            await shows(page, "Updated ")
        assert len(sent) <= 10
        assert await elements(page) < ELEMENTS_MAX
        await expiring_keys_are_listed(page, soon)
        await navigate(page, "/keys")
        await page.get_by_role("link", name="key 00050").wait_for()
        await rows_are_visible(page)
        await pages_and_filters_are_bounded(page)
        await navigate(page, "/keys")
        await search_and_order_are_part_of_the_url(page)
        await navigate(page, "/keys?state=active")
        await selection_is_bounded(page)
    assert console.sql("SELECT count(*) FROM api_key WHERE state = 'disabled'") == str(
        KEYS // 10 + PAGE_ROWS
    )


async def expiring_keys_are_listed(page: Page, total: str) -> None:
    heading = page.get_by_role("heading", name="Keys that expire soon")
    panel = page.locator("section", has=heading)
    await expect(panel.locator("li a")).to_have_text(
        [f"key 0{number}" for number in range(9007, 9002, -1)]
    )
    await panel.get_by_role("link", name=f"All {total}", exact=True).click()
    await expect(page.locator("tbody tr")).to_have_count(PAGE_ROWS)
    assert (await names(page))[:7] == [f"key 0{number}" for number in range(9007, 9000, -1)]


async def rows_are_visible(page: Page) -> None:
    """On the screen of a laptop and of a phone, without scrolling. A long name changes no row."""
    await page.locator("tbody th a").first.evaluate(
        "link => (link.textContent = 'name '.repeat(20))"
    )
    for width, height, rows in ((1280, 800, 14), (375, 667, 1)):
        await page.set_viewport_size({"width": width, "height": height})
        bottom = (
            await page.locator("tbody tr")
            .nth(rows - 1)
            .evaluate("row => row.getBoundingClientRect().bottom")
        )
        assert bottom <= height
        assert await page.evaluate("document.documentElement.scrollWidth") == width
    await page.set_viewport_size({"width": 1280, "height": 800})
    await page.reload()
    await page.get_by_role("link", name="key 00050").wait_for()


async def pages_and_filters_are_bounded(page: Page) -> None:
    assert await names(page) == [f"key {number:05}" for number in range(1, PAGE_ROWS + 1)]
    for number in range(1, 5):
        async with counted(page) as sent:
            await page.get_by_role("link", name="Next page").click()
            await page.get_by_role("link", name=f"key {number * PAGE_ROWS + 1:05}").wait_for()
        assert [request.partition("?")[0] for request in sent] == ["/v1/keys"]
        assert len(await names(page)) == PAGE_ROWS
        assert await elements(page) < ELEMENTS_MAX
    for number in (3, 2):
        await page.get_by_role("link", name="Previous page").click()
        first = page.get_by_role("link", name=f"key {number * PAGE_ROWS + 1:05}")
        await first.wait_for()
    await page.go_back()
    await page.get_by_role("link", name=f"key {3 * PAGE_ROWS + 1:05}").wait_for()
    await shows(page, "Total: 500+")

    async with counted(page) as sent:
        await page.get_by_label("Customer").press_sequentially("team 7")
        assert sent == []
        await page.get_by_label("Customer").press("Enter")
        await page.get_by_role("link", name="key 00007").wait_for()
    assert [parse_qs(urlsplit(request).query) for request in sent] == [
        {"customer": ["team-7"], "sort": ["-created_at"], "total": ["true"]}
    ]
    async with counted(page) as sent:
        await page.get_by_role("link", name="Next page").click()
        await page.get_by_role("link", name=f"key {KEYS - CUSTOMERS + 7:05}").wait_for()
    assert len(sent) == 1
    assert await page.get_by_role("link", name="Next page").count() == 0
    assert len(await names(page)) == KEYS // CUSTOMERS - PAGE_ROWS
    async with counted(page) as sent:
        await page.get_by_label("State").select_option("disabled")
        await shows(page, "Nothing matches these filters.")
    assert len(sent) == 1


async def search_and_order_are_part_of_the_url(page: Page) -> None:
    await expect(page.locator("tbody tr")).to_have_count(PAGE_ROWS)
    await expect(page.get_by_role("columnheader", name="Created")).to_have_attribute(
        "aria-sort", "descending"
    )
    async with counted(page) as sent:
        await page.get_by_label("Search", exact=True).press_sequentially("KEY 0999")
        assert sent == []
        await page.keyboard.press("Enter")
        await expect(page.locator("tbody tr")).to_have_count(10)
    assert [parse_qs(urlsplit(request).query) for request in sent] == [
        {"search": ["KEY 0999"], "sort": ["-created_at"], "total": ["true"]}
    ]
    async with counted(page) as sent:
        await page.get_by_role("button", name="Expires").press("Enter")
        await expect(page.get_by_role("columnheader", name="Expires")).to_have_attribute(
            "aria-sort", "ascending"
        )
    assert [parse_qs(urlsplit(request).query)["sort"] for request in sent] == [["expires_at"]]
    await expect(page.locator("th[aria-sort]")).to_have_count(1)
    assert await names(page) == [f"key 0999{number}" for number in range(10)]
    await page.get_by_role("button", name="Expires").click()
    await expect(page.locator("tbody th a").first).to_have_text("key 09999")
    await page.reload()
    await expect(page.get_by_label("Search", exact=True)).to_have_value("KEY 0999")
    await expect(page.locator("tbody th a").first).to_have_text("key 09999")
    assert parse_qs(urlsplit(page.url).query) == {"search": ["KEY 0999"], "sort": ["-expires_at"]}


async def selection_is_bounded(page: Page) -> None:
    await page.get_by_label("Select all keys on this page").check()
    await shows(page, f"Keys selected: {PAGE_ROWS}", exact=True)
    async with counted(page) as sent:
        await page.get_by_role("button", name="Disable").click()
        await page.get_by_label("Reason").press("Enter")
        await page.get_by_role("link", name="key 00056").wait_for()
    changes = [request for request in sent if request.endswith("/disable?")]
    assert (len(changes), len(sent)) == (PAGE_ROWS, PAGE_ROWS + 1)
