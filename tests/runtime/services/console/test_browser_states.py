"""Updates, errors, lost connections and ended sessions in the web UI."""

import asyncio
import re

from gatehouse.features.usage.models import UsageBatch, UsageRow
from gatehouse.features.usage.repository import UsageRepository
from playwright.async_api import Browser, Route, expect

from tests.runtime.console_client import Console
from tests.runtime.services.console.web_pages import (
    MARKS,
    enter_credential,
    loads_nothing,
    navigate,
    page_of,
    shows,
    shows_heading,
    sign_in,
    violations_in_both_themes,
)

pytestmark = MARKS
OVERVIEW_MS = 15_000
PAUSE_AFTER_MS = 300_000
LOST = r"ERR_(FAILED|INTERNET_DISCONNECTED)|status of [45]\d\d"


async def test_overview_is_updated_without_a_reload(
    browser: Browser, origin: str, console: Console
) -> None:
    await console.create()
    async with page_of(browser, origin, LOST) as page:
        await page.clock.install()
        await sign_in(page)
        status = page.get_by_text("Updated ")
        updated = await status.inner_text()
        event = page.get_by_role("row", name="session.begin").last
        details = event.get_by_role("button", name="Details")
        await details.click()
        created = await console.create(name="created in the meantime")
        now = console.clock.now()
        row = UsageRow("", "", "RATE_LIMITED", int(now // 60) * 60, 4321)
        await UsageRepository(console.pool).add(UsageBatch("worker", 1, now, (row,)))
        await page.clock.fast_forward(OVERVIEW_MS)
        await expect(page.get_by_text(created["key"]["id"]).first).to_be_attached()
        await expect(page.locator("dd", has_text="4,321")).to_have_count(2)
        await expect(details).to_have_attribute("aria-expanded", "true")
        await expect(status).not_to_have_text(updated)
        await page.context.set_offline(True)
        await page.clock.fast_forward(OVERVIEW_MS)
        await shows(page, "The last update failed.")
        await event.wait_for()
        assert await violations_in_both_themes(page) == []
        await page.context.set_offline(False)
        await page.clock.fast_forward(OVERVIEW_MS)
        await expect(page.get_by_text("The last update failed.")).to_be_hidden()


async def test_use_of_limits_and_change_since_the_week_before(
    browser: Browser, origin: str, console: Console
) -> None:
    limits = [{"name": "daily", "quota": 1000, "window_s": 86_400}]
    refill = {"remaining": 5, "refill": {"amount": 100, "every": "month"}}
    key_id = await console.create_id(name="nightly export", limits=limits, credits=refill)
    hour = int(console.clock.now() // 3600) * 3600
    rows = [
        UsageRow(key_id, "", "VALID", hour - 3600 - weeks * 604_800, count)
        for weeks, count in ((0, 870), (1, 580))
    ]
    batch = UsageBatch("worker", 2, console.clock.now(), tuple(rows))
    await UsageRepository(console.pool).add(batch)
    async with page_of(browser, origin) as page:
        await sign_in(page)
        await shows(page, "+50%")
        for limit, percent in (("Credits", "95%"), ("daily", "8")):
            row = page.get_by_role("listitem").filter(has_text=f"nightly export {limit}")
            await expect(row).to_contain_text(percent)
        await navigate(page, "/usage")
        await shows(page, "580 in the same time one week earlier (+50%)")
        await expect(page.locator(".chart rect.valid").first).to_be_attached()
        await navigate(page, f"/keys/{key_id}")
        await shows(page, "Credits: 95% 95 of 100 since")
        assert await violations_in_both_themes(page) == []


async def test_logs_without_the_setting_say_what_to_set(browser: Browser, origin: str) -> None:
    async with page_of(browser, origin, "status of 404") as page:
        await sign_in(page, "/logs")
        await shows(page, "Logs cannot be searched. Set GATEHOUSE_LOGS")


async def test_wrong_credential_and_data_of_another_filter_are_not_taken_for_current(
    browser: Browser, origin: str, console: Console
) -> None:
    await console.create(name="of the previous filter")
    released = asyncio.Event()

    async def hold(route: Route) -> None:
        await released.wait()
        await route.continue_()

    async with page_of(browser, origin, "status of 401") as page:
        await page.goto("/keys")
        await enter_credential(page, "Bearer gtk_test_wrong")
        await shows(page, "This credential is not valid.")
        await sign_in(page, "/keys")
        key = page.get_by_role("link", name="of the previous filter")
        await key.wait_for()
        await page.route(re.compile("state=disabled"), hold)
        await page.get_by_label("State").select_option("disabled")
        await expect(key).to_be_hidden()
        released.set()
        await shows(page, "Nothing matches these filters.")


async def test_hidden_and_unattended_tabs_send_no_requests(browser: Browser, origin: str) -> None:
    async with page_of(browser, origin) as page:
        await page.clock.install()
        await sign_in(page)
        await shows(page, "Updated ")
        await loads_nothing(page)
        sent: list[str] = []
        page.on("request", lambda request: sent.append(request.url))
        set_hidden = (
            "hidden => Object.defineProperty(document, 'hidden', { value: hidden, "
            "configurable: true })"
        )
        await page.evaluate(set_hidden, True)
        await page.clock.run_for(2 * OVERVIEW_MS)
        assert sent == []
        await page.evaluate(set_hidden, False)
        async with page.expect_response(re.compile("/v1/usage")):
            await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        await page.clock.fast_forward(PAUSE_AFTER_MS)
        await shows(page, "Updates paused.")
        sent.clear()
        await page.clock.run_for(2 * OVERVIEW_MS)
        assert sent == []
        async with page.expect_response(re.compile("/v1/usage")):
            await page.keyboard.press("Shift")
        await expect(page.get_by_text("Updates paused.")).to_be_hidden()


async def test_person_does_not_wait_for_a_refresh_that_gets_no_response(
    browser: Browser, origin: str
) -> None:
    async with page_of(browser, origin, LOST) as page:
        await page.clock.install()
        await sign_in(page)
        await shows(page, "Updated ")
        await loads_nothing(page)
        await page.context.set_offline(True)
        await page.clock.fast_forward(OVERVIEW_MS)
        await shows(page, "The last update failed.")
        received = asyncio.Event()

        async def hold_first(route: Route) -> None:
            if received.is_set():
                await route.continue_()
            received.set()

        await page.route("**/v1/usage*", hold_first)
        await page.context.set_offline(False)
        await page.clock.fast_forward(OVERVIEW_MS)
        await received.wait()
        async with page.expect_response(re.compile("/v1/usage")):
            await page.get_by_role("button", name="Update now").click()
        await expect(page.get_by_text("The last update failed.")).to_be_hidden()


async def test_errors_and_empty_lists_are_accessible(
    browser: Browser, origin: str, console: Console
) -> None:
    auditor = await console.create(name="auditor", scopes=["role:auditor"])
    problem = {
        "status": 503,
        "code": "unavailable",
        "title": "Unavailable",
        "detail": "The database is unavailable.",
    }

    async def fail(route: Route) -> None:
        await route.fulfill(status=503, json=problem, content_type="application/problem+json")

    found = {}
    async with page_of(browser, origin, LOST, viewport={"width": 320, "height": 640}) as page:
        await page.route("**/operations.json", lambda route: route.abort())
        await page.goto("/")
        await shows(page, "The console cannot be reached.")
        found["unreachable"] = await violations_in_both_themes(page)
        await page.unroute("**/operations.json")
        await page.get_by_role("button", name="Retry").click()
        await enter_credential(page, auditor["token"])
        await shows_heading(page, "Overview")
        await page.goto("/keys/new")
        await shows_heading(page, "Access denied")
        await shows(
            page, "one of these roles: issuer, operator, owner, service. Your role: auditor."
        )
        found["denied"] = await violations_in_both_themes(page)
        await page.goto("/keys?search=nobody")
        await shows(page, "Nothing matches these filters.")
        found["empty"] = await violations_in_both_themes(page)
        await page.route("**/v1/keys?*", fail)
        await page.route("**/v1/keys", fail)
        await page.goto("/keys")
        await expect(page.get_by_role("alert")).to_contain_text("The database is unavailable.")
        found["error"] = await violations_in_both_themes(page)
        await page.unroute_all()
        await page.get_by_role("button", name="Retry").click()
        await page.get_by_role("link", name="auditor").wait_for()
        await page.goto("/keys/000000000000")
        await expect(page.get_by_role("alert")).to_contain_text("Not found")
        await expect(page.get_by_role("button", name="Retry")).to_be_hidden()
        found["not found"] = await violations_in_both_themes(page)
        await page.get_by_role("alert").get_by_role("link", name="Show API keys").click()
        await shows_heading(page, "API keys")
        answer = await page.goto("/key/000000000000")
        assert answer is not None
        assert answer.status == 404
        await shows_heading(page, "Page not found")
        assert await page.title() == "Page not found – Gatehouse console"
        found["no page"] = await violations_in_both_themes(page)
        await page.get_by_role("link", name="Go to the overview").click()
        await shows_heading(page, "Overview")
    assert {state: problems for state, problems in found.items() if problems} == {}
