"""Lists of several pages: sorted by each column, with their totals."""

import re

from gatehouse.platform.web.fields import PAGE_SIZE, PAGE_SIZE_MAX, TOTAL_MAX
from playwright.async_api import Browser, Page, expect

from tests.runtime.clocks import ManualClock
from tests.runtime.console_client import Console
from tests.runtime.services.console.test_browser_screens import console
from tests.runtime.services.console.web_pages import (
    MARKS,
    loads_nothing,
    navigate,
    page_of,
    shows,
    sign_in,
)

__all__ = ["console"]

pytestmark = MARKS

#: More than a page, which the console and the web UI load at once.
_ROWS = PAGE_SIZE_MAX + 20
_DELIVERIES = (
    "INSERT INTO delivery (notification_id, target, event, body, state, attempts, next_at, "
    "created_at, problem) SELECT 'msg_' || lpad(number::text, 24, '0'), 'topic' || number % 2, "
    "'key.' || (ARRAY['revoked', 'rotated'])[number % 2 + 1], '{{}}', "
    "(ARRAY['dead', 'delivered'])[number % 2 + 1], number % 9, now(), now() - number * "
    "interval '1 hour', 'status ' || number % 5 FROM generate_series(1, {rows}) AS number"
)
_BUTTONS = ".table thead button"


async def _column(page: Page, header: str = "") -> list[str]:
    """The first lines of the cells of a column, by default of the first."""
    headers = await page.locator("thead th").all_inner_texts()
    place = headers.index(header) + 1 if header else 1
    cells = page.locator(f"tbody tr > :nth-child({place})")
    texts: list[str] = await cells.evaluate_all("cells => cells.map((cell) => cell.innerText)")
    return [re.sub(r"\s*Copy.*", "", text).split("\n")[0] for text in texts]


async def _sort(page: Page, header: str) -> None:
    column = page.locator(".table th", has=page.get_by_role("button", name=header, exact=True))
    before = await column.get_attribute("aria-sort")
    await column.get_by_role("button").click()
    await expect(column).not_to_have_attribute("aria-sort", before or "")
    await loads_nothing(page)


async def test_list_of_several_pages_is_sorted_by_its_columns(
    browser: Browser, origin: str, console: Console
) -> None:
    assert isinstance(console.clock, ManualClock)
    console.sql("TRUNCATE delivery")
    console.sql(_DELIVERIES.format(rows=_ROWS))
    for number in range(PAGE_SIZE + 5):
        console.clock.advance(10)
        value = {"text": "a", "label": f"label {number % 17}", "recipients": [f"{number % 5}"]}
        created = await console.post(
            "/v1/secrets", json={**value, "ttl_s": 86_400 * (1 + number % 9)}
        )
        assert created.status_code == 201, created.text
    lists = (("/secrets?owner=bootstrap", PAGE_SIZE + 5, 1), ("/webhooks", _ROWS, 6))
    different = 0
    async with page_of(browser, origin) as page:
        await sign_in(page)
        for path, rows, columns in lists:
            await navigate(page, path)
            assert len(await _column(page)) == PAGE_SIZE
            await shows(page, f"Total: {rows}")
            headers = await page.locator(_BUTTONS).all_inner_texts()
            assert len(headers) >= 5
            for header in headers[:columns]:
                found = []
                for _ in range(2):
                    await _sort(page, header)
                    found.append(await _column(page, header))
                in_browser = [texts for texts in found if len(texts) == rows]
                assert in_browser, (path, header)
                if len(in_browser) == 2:
                    down, up = found
                    different += down[0] != down[-1]
                    assert (down[0], down[-1]) == (up[-1], up[0]), (path, header)
                    assert sorted(down) == sorted(up), (path, header)
    assert different >= 6


async def test_audit_events_are_sorted_and_a_longer_list_says_that_it_is_not(
    browser: Browser, origin: str, console: Console
) -> None:
    console.sql("TRUNCATE delivery")
    console.sql(_DELIVERIES.format(rows=TOTAL_MAX + 1))
    key = await console.create_id()
    await console.post(f"/v1/keys/{key}/disable", json={})
    await console.post(f"/v1/keys/{key}/enable", json={})
    async with page_of(browser, origin) as page:
        await sign_in(page, f"/audit?target_id={key}")
        actions = page.locator("tbody tr > :nth-child(3)")
        oldest = ["key.create", "key.disable", "key.enable"]
        await expect(actions).to_have_text([*reversed(oldest)])
        for header, texts in (("Time", oldest), ("Action", oldest), ("Action", oldest[::-1])):
            await _sort(page, header)
            await expect(actions).to_have_text(texts)
        await shows(page, "Total: 3")
        await navigate(page, "/webhooks")
        await _sort(page, "Attempts")
        await shows(page, f"This list has more than {TOTAL_MAX} entries")
        await shows(page, f"Total: {TOTAL_MAX}+")
        first = await page.locator("tbody tr").first.inner_text()
        await expect(page.locator("tbody tr")).to_have_count(PAGE_SIZE)
        await page.get_by_role("link", name="Next page").click()
        await loads_nothing(page)
        await expect(page.locator("tbody")).not_to_contain_text(first)
        await page.get_by_label("State").select_option("Delivered")
        await expect(page.locator("tbody tr")).to_have_count((TOTAL_MAX + 1) // 2 + 1)
        await expect(page.get_by_text("This list has more than")).to_have_count(0)


async def test_sorted_list_is_refreshed_less_often_if_it_takes_several_requests(
    browser: Browser, origin: str, console: Console
) -> None:
    console.sql("TRUNCATE delivery")
    console.sql(_DELIVERIES.format(rows=2 * PAGE_SIZE_MAX + 1))
    async with page_of(browser, origin) as page:
        await page.clock.install()
        answered: list[str] = []
        page.on("requestfinished", lambda request: answered.append(request.url))
        await sign_in(page, "/webhooks?sort=attempts")
        await expect(page.locator("tbody tr")).to_have_count(2 * PAGE_SIZE_MAX + 1)
        for requests in (3, 3, 6, 6, 9):
            while sum("/v1/deliveries?" in url for url in answered) < requests:
                await page.wait_for_event("requestfinished")
            assert sum("/v1/deliveries?" in url for url in answered) == requests
            await page.clock.fast_forward(5000)
        counted = [url for url in answered if "/v1/deliveries?" in url and "total=true" in url]
        assert len(counted) == 3  # of 9: only with the first page
