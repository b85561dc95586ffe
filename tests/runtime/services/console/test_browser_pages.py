"""Every page."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from gatehouse.commands.cli import retrieval_links
from gatehouse.services.console.web import FOLDER
from playwright.async_api import Browser, Error, Page, Route, ViewportSize, expect

from tests.runtime.clocks import ManualClock
from tests.runtime.console_client import Console
from tests.runtime.core_records import register
from tests.runtime.rows import request_row
from tests.runtime.services.console.test_browser_screens import console
from tests.runtime.services.console.web_pages import (
    MARKS,
    PAGES,
    expand,
    loads_nothing,
    navigate,
    page_of,
    resize,
    shows,
    shows_heading,
    sign_in,
    violations,
    violations_in_both_themes,
)

__all__ = ["console"]

pytestmark = MARKS
SHIFT_MAX = 0.1
#: Rule of WCAG 2.2, success criterion 2.5.8 (24 by 24 CSS pixels, or enough space).
_TARGET_SIZE = {"runOnly": ["target-size"], "resultTypes": ["violations"]}
#: High enough for a whole page: its last section counts for the layout shift too.
_WIDE: ViewportSize = {"width": 1280, "height": 2400}
_NARROW: ViewportSize = {"width": 320, "height": 640}
_WITH_DISPLAY_SETTINGS = frozenset({"overview", "keys", "key", "secret-new", "settings"})
_MOVING = "document.getAnimations().filter(({ playState }) => playState === 'running').length"

#: The layout shift of the page, and what was shown and then moved by more than a few pixels because
#: something above it changed its height. The first text of a page, "Loading", is replaced.
_RECORD_SHIFTS = """
window.layoutShift = 0
window.moved = []
new PerformanceObserver((list) => {
  for (const { hadRecentInput, sources, value } of list.getEntries()) {
    if (hadRecentInput) continue
    window.layoutShift += value
    for (const { node, previousRect: from, currentRect: to } of sources)
      if (node && node !== document.body && from.height && to.height && Math.abs(from.y - to.y) > 8)
        window.moved.push(`${node.textContent.slice(0, 40)}: ${from.y} to ${to.y}`)
  }
}).observe({ type: 'layout-shift', buffered: true })
"""

_TWO_FRAMES = """new Promise((done) =>
  requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"""

#: Controls on which the keyboard focus is not visible. Pressing a key first makes the focus of
#: scripts visible too.
_WITHOUT_FOCUS_RING = """() => [...document.querySelectorAll(
    'a[href], button, input, select, textarea, summary, [tabindex="0"]')]
  .filter((element) => element.checkVisibility() && !element.disabled)
  .filter((element) => {
    element.focus({ preventScroll: true })
    const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(element)
    const isVisible =
      (outlineStyle !== 'none' && parseFloat(outlineWidth) >= 1) || boxShadow !== 'none'
    return document.activeElement !== element || !element.matches(':focus-visible') || !isVisible
  })
  .map((element) => element.outerHTML.slice(0, 200))"""


#: IDs outside of the component that has a button to copy them, and the number of buttons. Rows that
#: can be expanded have the buttons below, and headings and documents are selected as a whole.
_IDS_WITHOUT_BUTTON = """() => {
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  const found = []
  while (texts.nextNode()) {
    const { data, parentElement } = texts.currentNode
    const ids = data.match(/\\b((req|msg)_\\w+|(?=\\w+[A-Z\\d])[^\\W_]{12}([^\\W_]{10})?)\\b/g)
    if (ids && !parentElement.closest('.id, tr.open, pre, option, h1, h2')) found.push(...ids)
  }
  return [found, document.querySelectorAll('.id button').length]
}"""

#: Shown columns by which a list cannot be sorted. The values of a chart and the lines of logs are
#: in the order of time.
_UNSORTED = """() => [...document.querySelectorAll('main thead th')]
  .filter((header) => !header.closest('figure') && location.pathname !== '/logs')
  .filter((header) => !header.querySelector('button, input, .visually-hidden'))
  .map((header) => header.textContent)"""

#: Links in the first cell of a row, whose space would otherwise depend on the width of an ID.
_LOW_LINKS = """() => [...document.querySelectorAll('tbody th a')]
  .filter((link) => link.getBoundingClientRect().height < 24).map((link) => link.textContent)"""

DENIALS = request_row(
    "FROM generate_series(1, 40) AS number",
    began_at="now() - (number - 0.5) * interval '1 hour'",
    key_id="(ARRAY['{key}', ''])[number % 2 + 1]",
    failed_check="(ARRAY['address', 'scopes', 'token'])[number % 3 + 1]",
    request_id="'req_' || number",
    count="number",
)


PLAN = {
    "name": "starter",
    "description": "for small customers",
    "limits": [{"name": "requests", "quota": 600, "window_s": 60}],
    "shared_limits": [{"name": "daily", "quota": 100_000, "window_s": 86_400}],
    "credits": {"amount": 1000, "every": "month"},
}


async def create_data(console: Console) -> dict[str, str]:
    plan = await console.post("/v1/plans", json=PLAN)
    assert plan.status_code in (201, 409), plan.text
    limit = {"name": "sign-in", "quota": 5, "window_s": 900, "description": "of a user"}
    limited = await console.post("/v1/limits", json=limit)
    assert limited.status_code in (201, 409), limited.text
    customer = f"billing-{time.monotonic_ns()}"
    new = {"id": customer, "name": "Billing", "plan": "starter", "tags": ["eu"], "limits": None}
    created = await console.post("/v1/customers", json=new)
    assert created.status_code == 201, created.text
    key = await console.create(
        name="nightly export",
        customer_id=customer,
        scopes=["cores:read"],
        tags=["nightly"],
        notes="a note",
        ttl_s=86_400,
    )
    secret = await console.post("/v1/secrets", json={"text": "a secret", "label": "door code"})
    assert secret.status_code == 201, secret.text
    webhook = await console.post("/v1/webhooks", json={"url": "https://hooks.example.com/a"})
    assert webhook.status_code == 201, webhook.text
    await register(console, "docs", url="http://10.0.0.7:8443")
    key_id = key["key"]["id"]
    for core, code, count in (
        ("docs", "RATE_LIMITED", 1_234_567),
        ("documents-of-the-legal-department", "VALID", 1),
    ):
        values = f"3600, '{key_id}', date_trunc('hour', now()), '{core}', '{code}', {count}"
        console.sql(f"INSERT INTO usage_count VALUES ({values})")  # noqa: S608
    console.sql(DENIALS.format(key=key_id))
    link = retrieval_links.parameters(retrieval_links.create())
    asked = {"purpose": "a certificate", "retrieval_link": link}
    request = await console.post("/v1/secret-requests", json=asked)
    assert request.status_code == 201, request.text
    return {
        "key": key["key"]["id"],
        "customer": customer,
        "plan": "starter",
        "limit": "sign-in",
        "secret": secret.json()["secret"]["id"],
        "request": request.json()["secret"]["id"],
    }


async def open_page(page: Page, path: str) -> None:
    await page.goto(path)
    await page.locator("h1").wait_for()
    await loads_nothing(page)


def test_list_contains_every_route() -> None:
    routes = [
        route["path"]
        for route in json.loads((Path(FOLDER) / "routes.json").read_bytes())
        if route["name"] != "sign-in"
    ]
    listed = {path.partition("?")[0] for path in PAGES.values()}
    names = ("key", "secret", "customer")
    parameters = {f"/{name}s/:id": f"/{name}s/{{{name}}}" for name in names}
    parameters |= {f"/{name}s/:name": f"/{name}s/{{{name}}}" for name in ("plan", "limit")}
    missing = {parameters.get(path, path.replace(":name", "docs")) for path in routes} - listed
    assert missing == set(), "add these paths to PAGES in web_pages.py"


async def test_every_page_in_every_size_and_with_every_display_setting(
    browser: Browser, origin: str, console: Console
) -> None:
    ids = await create_data(console)
    await console.create(
        name="a key with a long name",
        customer_id="documents-of-the-legal-department",
        scopes=["reports:quarterly:read"],
    )
    problems: dict[str, list[str]] = {}
    titles: dict[str, str] = {}
    tables = copied = 0
    async with page_of(browser, origin, r"status of [45]\d\d") as page:
        await page.add_init_script(_RECORD_SHIFTS)
        await page.goto("/")
        await page.get_by_label("Credential").wait_for()
        problems["sign-in"] = await _problems_at_320_pixels(page)
        await sign_in(page)
        for name, path in PAGES.items():
            await page.set_viewport_size(_WIDE)
            async with _newest_response_first(page):
                await open_page(page, path.format(**ids))
            titles[name] = await page.title()
            tables += await page.locator(".flush table").count()
            found = await _problems_of_the_load(page)
            await expand(page)
            without_button, number = await page.evaluate(_IDS_WITHOUT_BUTTON)
            copied += number
            found += [
                *(f"no button that copies {text}" for text in without_button),
                *(f"not sorted by {text}" for text in await page.evaluate(_UNSORTED)),
                *await violations(page, _TARGET_SIZE),
                *await _problems_of_the_focus(page),
            ]
            if name in _WITH_DISPLAY_SETTINGS:
                found += await _problems_of_display_settings(page)
            problems[name] = [*found, *await _cut_cards(page), *await _problems_at_320_pixels(page)]
            if name == "key":
                await page.get_by_role("button", name="Revoke").click()
                problems["dialog"] = await violations_in_both_themes(page)
    assert {name: found for name, found in problems.items() if found} == {}
    assert [
        name for name, title in titles.items() if not title.endswith(" – Gatehouse console")
    ] == []
    different = {name: title for name, title in titles.items() if name not in {"keys-none"}}
    assert len(set(different.values())) >= len(different) - 2, different
    assert min(tables, copied) > 5


async def test_panel_of_denied_requests_equals_its_lists_which_are_sorted(
    browser: Browser, origin: str, console: Console
) -> None:
    for label in ("zz", "00"):
        await console.post("/v1/secrets", json={"text": "a secret", "label": label})
    console.sql("TRUNCATE gateway_request; " + DENIALS.format(key=await console.create_id()))
    async with page_of(browser, origin) as page:
        await sign_in(page)
        panel = page.locator("section", has=page.get_by_role("heading", name="Denied requests"))
        total = (await panel.get_by_text("All ").first.inner_text()).removeprefix("All ")
        rows = [text.split("\n") for text in await panel.locator("li").all_inner_texts()]
        counts = {text: int(number) for text, number in ((f"All {total}", total), *rows)}
        assert (len(rows), sum(counts.values())) == (3, 2 * int(total))
        for text, count in counts.items():
            await panel.get_by_role("link", name=text, exact=True).click()
            await shows_heading(page, f"Requests: {count}, denied: {count}")
            numbers = await page.locator("tbody td:last-child").all_inner_texts()
            assert sum(map(int, numbers)) == count
            await page.go_back()
        for path, header, texts in (
            ("/requests", "Time", ("req_40", "req_1")),
            ("/secrets?owner=bootstrap", "Label", ("00", "zz")),
        ):
            await navigate(page, path)
            for text in texts:
                await page.get_by_role("button", name=header, exact=True).click()
                await expect(page.locator("tbody tr").first).to_contain_text(text)
        await shows(page, "Total: ")


async def test_usage_is_shown_by_outcome_in_the_list_and_for_any_time_range(
    browser: Browser, origin: str, console: Console
) -> None:
    clock = console.clock
    assert isinstance(clock, ManualClock)
    clock.advance(time.time() - clock.now())  # that of the browser
    key_id = await console.create_id(name="nightly export")
    usage = (("VALID", 1, 7), ("RATE_LIMITED", 1, 3), ("FORBIDDEN", 2, 2), ("VALID", 100, 40))
    for code, hours, count in (*usage, ("AGENT", 1, 50)):
        at = f"date_trunc('hour', now() - interval '{hours} hours')"
        values = f"3600, '{key_id}', {at}, 'docs', '{code}', {count}"
        console.sql(f"INSERT INTO usage_count VALUES ({values})")  # noqa: S608
    console.sql(f"INSERT INTO key_activity VALUES ('{key_id}', now())")  # noqa: S608
    since = datetime.fromtimestamp(clock.now() - 5 * 86_400, UTC).strftime("%Y-%m-%dT%H:%M")
    async with page_of(browser, origin) as page:
        await sign_in(page, "/keys?search=nightly")
        bars = page.get_by_role("img", name="Last 36 hours: 12 requests, of which 5 were denied")
        await expect(bars).to_have_count(1)
        for query, legend in (
            ("", ["Allowed 7", "Rate limited 3", "Not allowed by the key 2"]),
            (f"&since={since}", ["Allowed 47", "Rate limited 3", "Not allowed by the key 2"]),
            ("&code=AGENT", ["Allowed (agent of a Core) 50"]),
        ):
            await navigate(page, f"/usage?key={key_id}{query}")
            items = page.locator("figure li")
            await expect(items).to_have_text(legend)


@asynccontextmanager
async def _newest_response_first(page: Page) -> AsyncIterator[None]:
    """Lets one request of the web UI after another through, the newest one first."""
    held: list[Route] = []
    condition = asyncio.Condition()

    async def hold(route: Route) -> None:
        async with condition:
            held.append(route)
            condition.notify()

    async def release() -> None:
        while True:
            async with condition:
                await condition.wait_for(lambda: held)
            # The frame of the last response and the requests that it caused come first. A page that
            # was left has no frame.
            with suppress(Error):
                await page.evaluate(_TWO_FRAMES)
            with suppress(Error):
                await held.pop().continue_()

    await page.route("**/v1/**", hold)
    task = asyncio.create_task(release())
    try:
        yield
    finally:
        task.cancel()
        await page.unroute("**/v1/**")


async def _problems_of_the_load(page: Page) -> list[str]:
    language = await page.evaluate("document.documentElement.lang")
    viewport = await page.locator("meta[name=viewport]").get_attribute("content") or ""
    shift = await page.evaluate("window.layoutShift")
    found = [f"moved: {text}" for text in await page.evaluate("window.moved")]
    if language != "en" or "width=device-width" not in viewport or "user-scalable" in viewport:
        found.append(f"language {language}, viewport {viewport}")
    if shift > SHIFT_MAX:
        found.append(f"layout shift {shift}")
    return found


async def _problems_of_the_focus(page: Page) -> list[str]:
    await page.keyboard.press("Tab")
    return [f"no visible focus: {element}" for element in await page.evaluate(_WITHOUT_FOCUS_RING)]


async def _problems_of_display_settings(page: Page) -> list[str]:
    found = []
    await page.emulate_media(reduced_motion="reduce")
    if await page.evaluate(_MOVING):
        found.append("moves although the user prefers reduced motion")
    found += await _problems_of_the_focus(page)
    await page.emulate_media(forced_colors="active", reduced_motion="no-preference")
    found += await _problems_of_the_focus(page)
    await page.emulate_media(forced_colors="none")
    await resize(page, 640, 400)
    if await page.evaluate("document.documentElement.scrollWidth > innerWidth"):
        found.append("wider than the window with a zoom of 200 %")
    found += await _problems_of_the_focus(page)
    await page.wait_for_function(f"{_MOVING} === 0")
    return found


async def _cut_cards(page: Page) -> list[str]:
    measure = (
        "() => [...document.querySelectorAll('.card, .ticks')].filter((card) => "
        "card.scrollWidth > card.clientWidth + 1).map((card) => card.innerText.split('\\n')[0])"
    )
    found = []
    for width in (1440, 1120, 960, 769, 480):
        await resize(page, width)
        found += [
            f"wider than its card at {width} pixels: {text}"
            for text in await page.evaluate(measure)
        ]
    return found


async def _problems_at_320_pixels(page: Page) -> list[str]:
    """The rules of axe include the target size (WCAG 2.2, success criterion 2.5.8)."""
    await page.set_viewport_size(_NARROW)
    found = await violations_in_both_themes(page)
    found += [f"lower than 24 pixels: {text}" for text in await page.evaluate(_LOW_LINKS)]
    if await page.evaluate("document.documentElement.scrollWidth") > _NARROW["width"]:
        found.append("wider than 320 pixels")
    return found


async def test_requests_are_filtered_by_result(
    browser: Browser, origin: str, console: Console
) -> None:
    key_id = await console.create_id(name="a caller")
    requests = request_row(
        "FROM generate_series(1, 4) AS number",
        began_at="now() - number * interval '1 minute'",
        key_id=f"'{key_id}'",
        code="(ARRAY['VALID', 'VALID', 'RATE_LIMITED', 'UNKNOWN_CORE'])[number]",
        failed_check="(ARRAY['', '', 'limit', 'registered core'])[number]",
        detail="(ARRAY['', '', 'requests', ''])[number]",
        path="'/cores/docs/orders/' || number",
        status="(ARRAY[200, 502, 429, 404])[number]",
        duration_us="number * 1500",
        core_us="number * 1000",
        request_id="'req_' || number",
        count="number",
    )
    console.sql(f"TRUNCATE gateway_request; {requests}")
    async with page_of(browser, origin) as page:
        await sign_in(page, "/requests")
        await shows_heading(page, "Requests: 10, denied: 7")
        rows = page.locator("tbody tr")
        await expect(rows).to_have_count(4)
        await expect(rows.nth(1)).to_contain_text("Allowed")
        await expect(rows.nth(1)).to_contain_text("502")
        for label, result, paths in (
            ("Outcome", "Allowed", ("1", "2")),
            ("Outcome", "Denied", ("3", "4")),
            ("Denied because", "Unknown Core", ("4",)),
            ("Denied because", "Rate limited", ("3",)),
        ):
            await page.get_by_label(label).select_option(result)
            await expect(rows).to_have_count(len(paths))
            for row, number in enumerate(paths):
                await expect(rows.nth(row)).to_contain_text(f"GET /cores/docs/orders/{number}")
        await page.reload()
        await expect(page.get_by_label("Denied because")).to_have_value("limit")
        await page.get_by_role("button", name="Clear filters").click()
        await page.get_by_label("Path begins with").fill("/cores/docs/orders/2")
        await page.keyboard.press("Enter")
        await expect(rows).to_have_count(1)
        assert await violations_in_both_themes(page) == []
