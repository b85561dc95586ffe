"""The filter bar of lists, time ranges that are selected in charts, and the words for results."""

import re
import time
from datetime import datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from gatehouse.core.decision import ALLOWED, CHECKS, CODES
from playwright.async_api import Browser, Page, expect

from tests.runtime.clocks import ManualClock
from tests.runtime.console_client import Console
from tests.runtime.rows import request_row
from tests.runtime.services.console.test_browser_screens import console
from tests.runtime.services.console.web_pages import (
    MARKS,
    loads_nothing,
    navigate,
    page_of,
    shows,
    sign_in,
    violations_in_both_themes,
)

__all__ = ["console"]

pytestmark = MARKS
#: Lists with filters, each with one that has a value.
_LISTS = {
    "/requests?core=docs": "Core: docs",
    "/usage?tag=batch": "Tag: batch",
    "/keys?unused_for_s=604800": "Unused for: 7 days",
    "/keys?plan=business": "Plan: business",
    "/customers?state=disabled": "State: Disabled",
    "/audit?action=key.*": "Action: key.*",
    "/secrets?owner=bootstrap": "Owner: bootstrap",
    "/webhooks?state=dead": "State: Dead",
    "/logs?level=warning": "Minimum level: warning",
}


def parameters(page: Page) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


async def test_each_filter_of_each_list_is_shown_in_words_and_can_be_removed(
    browser: Browser, origin: str, console: Console
) -> None:
    await console.post("/v1/plans", json={"name": "business"})
    async with page_of(browser, origin) as page:
        await sign_in(page)
        chips = page.get_by_role("list", name="Active filters")
        for path, text in _LISTS.items():
            await navigate(page, path)
            remove = chips.get_by_role("button", name=f"Remove filter: {text}", exact=True)
            await remove.click()
            await expect(remove).to_have_count(0)
            assert parameters(page) == {}, path
            assert await page.evaluate("document.activeElement !== document.body"), path


async def test_times_are_chosen_as_people_say_them(
    browser: Browser, origin: str, console: Console
) -> None:
    rows = request_row(
        "FROM generate_series(5, 305, 20) AS minutes",
        began_at="now() - minutes * interval '1 minute'",
        path="'/a/' || minutes",
    )
    console.sql(f"TRUNCATE gateway_request; {rows}")
    async with page_of(browser, origin) as page:
        await sign_in(page, "/requests")
        found = page.locator("tbody tr")
        chips = page.get_by_role("list", name="Active filters")
        await expect(found).to_have_count(16)
        await page.get_by_label("Time", exact=True).select_option("Last hour")
        await expect(chips).to_contain_text("Last hour")
        await expect(found).to_have_count(3)
        assert parameters(page) == {"last": "1h"}
        await navigate(page, "/requests?last=90m")  # as in the command line
        await expect(chips).to_contain_text("Last 90 min")
        await page.get_by_label("Time", exact=True).select_option("Since a time of day")
        since = datetime.now() - timedelta(minutes=130)
        await page.get_by_label("Since", exact=True).fill(f"{since:%H:%M}")
        await expect(found).to_have_count(7)
        assert parameters(page) == {"since": f"{since:%Y-%m-%dT%H:%M}"}
        await page.get_by_label("Time", exact=True).select_option("Custom range")
        until = since + timedelta(minutes=60)
        await page.get_by_label("Until", exact=True).fill(f"{until:%Y-%m-%dT%H:%M}")
        await page.get_by_label("Until", exact=True).blur()
        await expect(found).to_have_count(3)
        await expect(chips.get_by_role("listitem")).to_have_count(3)
        assert await violations_in_both_themes(page) == []
        await chips.get_by_role("button", name="Clear filters").click()
        await expect(found).to_have_count(16)


async def test_later_pages_of_the_last_hour_have_its_start(
    browser: Browser, origin: str, console: Console
) -> None:
    for number in range(55):
        await console.post("/v1/limits", json={"name": f"l{number}", "quota": 1, "window_s": 60})
    assert isinstance(console.clock, ManualClock)
    async with page_of(browser, origin) as page:
        await sign_in(page, "/audit?last=30d")
        await page.get_by_role("link", name="Next page").click()
        await loads_nothing(page)
        assert {"last", "since", "cursor"} == parameters(page).keys()
        await page.locator("tbody tr").first.wait_for()
        await page.get_by_role("link", name="First page").click()
        await loads_nothing(page)
        assert parameters(page) == {"last": "30d"}


async def test_keys_customers_and_actors_are_found_by_name(
    browser: Browser, origin: str, console: Console
) -> None:
    await console.post("/v1/customers", json={"id": "acme", "name": "Acme Ltd"})
    key_id = await console.create_id(name="nightly export")
    async with page_of(browser, origin) as page:
        await sign_in(page)
        for path, label, typed, name, value in (
            ("/requests", "API key", "Nightly export", "key", key_id),
            ("/usage", "API key", "nightly export", "key", key_id),
            ("/logs", "API key", "nightly export", "key", key_id),
            ("/requests", "Customer", "acme ltd", "customer", "acme"),
            ("/keys", "Customer", "Acme Ltd", "customer", "acme"),
            ("/audit", "Actor ID", "nightly export", "actor_id", key_id),
        ):
            await navigate(page, path)
            control = page.get_by_label(label, exact=True)
            await control.fill(typed)
            options = page.locator(f"datalist option[value='{value}']")
            await expect(options).to_have_count(1)
            await control.press("Enter")
            chip = page.get_by_role(
                "button", name=re.compile("Remove filter: .*: (?i:nightly|acme)")
            )
            await chip.wait_for()
            assert parameters(page) == {name: value}, path
        for label, noun in (("API key", "API key"), ("Customer", "customer")):
            await navigate(page, "/requests")
            await page.get_by_label(label, exact=True).fill("no such object")
            await page.keyboard.press("Enter")
            await shows(page, f"No {noun}, or more than one, has this ID, name or tag.")
            assert parameters(page) == {}


@pytest.mark.parametrize("way", ["mouse", "keyboard"])
async def test_time_range_is_selected_in_a_chart(
    browser: Browser, origin: str, console: Console, way: str
) -> None:
    clock = console.clock
    assert isinstance(clock, ManualClock)
    clock.advance(time.time() - clock.now())  # that of the browser
    key_id = await console.create_id()
    at = "date_trunc('hour', now()) - hours * interval '1 hour'"
    console.sql(
        "TRUNCATE usage_count; INSERT INTO usage_count SELECT 3600, "  # noqa: S608
        f"'{key_id}', {at}, 'docs', 'VALID', 1 FROM generate_series(0, 30) AS hours"
    )
    async with page_of(browser, origin) as page:
        await sign_in(page, f"/keys/{key_id}")
        chart = page.get_by_role("slider")
        bars = await chart.locator("g").count()
        assert bars in (24, 25)
        box = await chart.locator("svg").bounding_box()
        assert box is not None
        if way == "mouse":
            width, y = box["width"] / bars, box["y"] + box["height"] / 2
            await page.mouse.move(box["x"] + 4.5 * width, y)
            await page.mouse.down()
            await page.mouse.move(box["x"] + 6.5 * width, y, steps=3)
            await page.mouse.up()
        else:
            await chart.focus()
            for key in ("Home", *["ArrowRight"] * 4, "Shift+ArrowRight", "Shift+ArrowRight"):
                await page.keyboard.press(key)
            assert "–" in (await chart.get_attribute("aria-valuetext") or "")
            await page.keyboard.press("Enter")
        await shows(page, "Requests: 3")
        found = parameters(page)
        since, until = (datetime.fromisoformat(found[each]) for each in ("since", "until"))
        assert (until - since, since.minute, found["key"]) == (timedelta(hours=3), 0, key_id)


async def test_result_of_a_request_has_one_word_everywhere(
    browser: Browser, origin: str, console: Console
) -> None:
    """In charts, usage, requests, explanations and the search."""
    clock = console.clock
    assert isinstance(clock, ManualClock)
    clock.advance(time.time() - clock.now())
    created = await console.create(name="word", limits=[{"quota": 9, "window_s": 60, "name": "a"}])
    key_id = created["key"]["id"]
    rows = [
        request_row(
            key_id=f"'{key_id}'", failed_check=f"'{check}'", request_id=f"'req_{number:026d}'"
        )
        for number, check in enumerate(CHECKS)
    ]
    counts = [
        f"INSERT INTO usage_count VALUES (3600, '{key_id}', date_trunc('hour', now()), '', "  # noqa: S608
        f"'{code}', 1)"
        for code in CODES
    ]
    console.sql("; ".join(("TRUNCATE usage_count, gateway_request", *counts, *rows)))
    checks = {*CHECKS.values(), ALLOWED}
    codes = {text for code, text in CODES.items() if code != "AGENT"}
    assert codes <= {*checks, CODES["FORBIDDEN"]}
    async with page_of(browser, origin) as page:
        await sign_in(page)
        for path in ("/", f"/keys/{key_id}", "/usage"):
            await navigate(page, path)
            await page.locator("figure li").first.wait_for()
            legend = await page.locator("figure li").all_inner_texts()
            assert {re.sub(r" \d+$", "", text.strip()) for text in legend} == codes, path
        result = page.get_by_label("Result", exact=True).locator("option")
        assert {*await result.all_inner_texts()} == {*CODES.values(), "All"}
        table = page.locator("table", has_text="By result").locator("tbody th")
        assert {*await table.all_inner_texts()} == codes
        await navigate(page, "/requests")
        badges = page.locator("tbody .state .badge")
        await expect(badges).to_have_count(len(CHECKS))
        assert {*await badges.all_inner_texts()} == {*CHECKS.values()}
        reasons = page.get_by_label("Denied because").locator("option")
        assert {*await reasons.all_inner_texts()} == {*CHECKS.values(), "All"}
        await navigate(page, f"/keys/{key_id}")
        await page.get_by_role("button", name="Explain").click()
        names = page.locator("form + div[role=status] tbody th")
        await names.first.wait_for()
        assert {*await names.all_inner_texts()} < checks
    for number, text in enumerate(CHECKS.values()):
        body = {"text": f"req_{number:026d}"}
        found = (await console.post("/v1/lookup", json=body)).json()["found"]
        assert [each["label"] for each in found if each["kind"] == "requests"] == [text]
