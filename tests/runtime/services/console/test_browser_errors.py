"""Errors of the web UI: every fault shows the next step, and dialogs give the focus back."""

import re

from playwright.async_api import Browser, Page, expect

from tests.runtime.console_client import Console
from tests.runtime.services.console.web_pages import (
    MARKS,
    page_of,
    shows,
    sign_in,
    violations_in_both_themes,
)

pytestmark = MARKS
#: Message of the errors that the tests cause. It could contain a value, so pages must not show it.
MESSAGE = "canary-of-the-error"
UNEXPECTED = "An unexpected error occurred."
NOT_LOADED = "The page could not be loaded."
SCREEN = re.compile(r"/assets/KeyListScreen-[\w-]+\.js$")


async def expect_report(page: Page, selector: str = "#app") -> None:
    """The message names the next step and what to report, without the message of the error."""
    alert = page.locator(selector).get_by_role("alert").filter(has_text=UNEXPECTED).first
    await expect(alert).to_contain_text("reload the page")
    await expect(alert.locator("code")).to_have_text(re.compile(r"^RangeError · "))
    assert MESSAGE not in await page.locator("body").inner_text()
    assert await violations_in_both_themes(page, await alert.element_handle()) == []
    async with page.expect_event("load"):
        await alert.get_by_role("button", name="Reload page").click()


async def test_panel_or_page_that_throws_shows_a_message_and_the_rest_remains(
    browser: Browser, origin: str, console: Console
) -> None:
    await console.create(ttl_s=86_400)
    async with page_of(browser, origin, MESSAGE) as page:
        module = f"export default {{ setup() {{ throw new RangeError('{MESSAGE}') }} }}"
        await page.route(
            SCREEN, lambda route: route.fulfill(body=module, content_type="text/javascript")
        )
        await sign_in(page)
        broken = (
            f"Intl.RelativeTimeFormat.prototype.format = () => {{ throw new "
            f"RangeError('{MESSAGE}') }}"
        )
        await page.add_init_script(f"if (!sessionStorage.repaired) {broken}")
        await page.reload()
        panel = "section:has(h2:text('Keys that expire soon'))"
        await page.locator(panel).get_by_role("alert").wait_for()
        await page.locator("section:has(h2:text('Requests')) svg").first.wait_for()
        await page.evaluate("sessionStorage.repaired = 'yes'")
        await expect_report(page, panel)
        await page.locator(panel).locator("time").wait_for()
        await page.get_by_role("link", name="API keys").click()
        await page.locator("main").get_by_role("alert").wait_for()
        await page.get_by_role("link", name="Audit trail").first.click()
        await expect(page.get_by_role("alert")).to_be_hidden()
        await page.go_back()
        await page.unroute(SCREEN)
        await expect_report(page, "main")


async def test_page_that_cannot_be_loaded_shows_a_message(browser: Browser, origin: str) -> None:
    expected = "status of 404|ERR_INTERNET_DISCONNECTED|Couldn't load preload"
    async with page_of(browser, origin, expected) as page:
        await sign_in(page)
        for link in ("API keys", "Usage"):
            if link == "Usage":
                await page.context.set_offline(True)
            else:
                await page.route(
                    SCREEN, lambda route: route.fulfill(status=404, json={"code": "not_found"})
                )
            await page.get_by_role("link", name=link, exact=True).first.click()
            alert = page.get_by_role("alert").filter(has_text=NOT_LOADED)
            await expect(alert).to_contain_text("Check the network connection")
            if link == "Usage":
                assert await violations_in_both_themes(page) == []
            await page.context.set_offline(False)
            await page.unroute(SCREEN)
            await alert.get_by_role("button", name="Retry").click()
            await page.get_by_role("heading", name=link, exact=True).wait_for()
            await expect(page.get_by_role("alert")).to_be_hidden()
        await page.context.set_offline(True)
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_role("alert")).to_contain_text("Check the network connection")


async def test_application_that_does_not_start_shows_a_message(
    browser: Browser, origin: str
) -> None:
    async with page_of(browser, origin, "status of 404") as page:
        await page.route(
            re.compile(r"/assets/index-[\w-]+\.js$"), lambda route: route.fulfill(status=404)
        )
        await page.goto("/")
        await page.evaluate("document.getAnimations().forEach((animation) => animation.finish())")
        await shows(page, "reload the page")
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_dialog_gives_the_focus_back(browser: Browser, origin: str, console: Console) -> None:
    key_id = await console.create_id(name="nightly export")
    async with page_of(browser, origin) as page:
        await sign_in(page, f"/keys/{key_id}")
        for name, closing in (
            *(("Rotate", "Escape"), ("Rotate", "Cancel")),
            *(("Disable", "Cancel"), ("Disable", "Disable")),
        ):
            opener = page.get_by_role("button", name=name)
            await opener.focus()
            await page.keyboard.press("Enter")
            dialog = page.get_by_role("dialog")
            await dialog.wait_for()
            if closing == "Escape":
                await page.keyboard.press("Escape")
            else:
                await dialog.get_by_role("button", name=closing).press("Enter")
            await expect(dialog).to_be_hidden()
            heading = page.get_by_role("heading", name="nightly export")
            await expect(heading if closing == "Disable" else opener).to_be_focused()
