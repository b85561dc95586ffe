"""The focus of the keyboard in every act of test_browser_forms.py, and where controls are removed.
A module of its own has a database of its own.
"""

import asyncio

from playwright.async_api import Browser, Page, Route, expect

from tests.runtime.console_client import Console
from tests.runtime.services.console.test_browser_forms import (
    ACTS,
    LOST,
    PREVIOUS,
    SESSION,
    Act,
    console,
    end_sessions,
    fill,
    held,
    is_change,
    open_form,
    opened,
    send_button,
    sharing,
)
from tests.runtime.services.console.test_browser_pages import create_data
from tests.runtime.services.console.web_pages import (
    MARKS,
    loads_nothing,
    navigate,
    page_of,
    sign_in,
)

__all__ = ["console", "sharing"]

pytestmark = MARKS


async def test_focus_follows_every_form_and_never_falls_to_the_body(
    browser: Browser, origin: str, console: Console
) -> None:
    await end_sessions(console)
    acts = [act for act in ACTS if (act.source, act.operation) not in SESSION]
    async with page_of(browser, origin, LOST) as page:
        await sign_in(page, PREVIOUS)
        for act in acts:
            async with opened(page, console, act) as ids:
                if act.open:
                    for key in ("Escape", ""):
                        await _close(page, act, key)
                    await open_form(page, act)
                    await _focus_is(page, "closest('dialog, form')")
                    await fill(page, act, ids)
                async with held(page, fail=True) as released:
                    released.set()
                    await send_button(page, act).press("Enter")
                    failure = page.get_by_role("alert").filter(has_text="The database is")
                    await failure.wait_for()
                    await expect(send_button(page, act)).to_be_focused()
                async with page.expect_response(lambda response: is_change(response.request)):
                    await send_button(page, act).press("Enter")
                await loads_nothing(page)
                await _focus_is(page, "closest('#app, dialog')")
    assert len([act for act in acts if act.open]) > 20


async def test_focus_stays_where_a_control_was_removed_or_is_loaded_again(
    browser: Browser, origin: str, console: Console
) -> None:
    await create_data(console)
    released = asyncio.Event()

    async def hold(route: Route) -> None:
        await released.wait()
        await route.continue_()

    async with page_of(browser, origin) as page:
        await sign_in(page, "/customers")
        await page.route("**/v1/customers?*", hold)
        await page.get_by_role("button", name="State", exact=True).press("Enter")
        await page.locator("#main .loading").wait_for()
        await _focus_is(page, "matches('h1')")
        released.set()
        await _focus_is(page, "textContent === 'State'")
        await navigate(page, "/keys/new")
        for _ in range(2):
            await page.get_by_role("button", name="Add rate limit").press("Enter")
        for _ in range(2):
            await page.get_by_role("button", name="Remove").last.press("Enter")
            await _focus_is(page, "matches('form button')")
        # A click beside all controls takes the focus away.
        await page.get_by_text("Gatehouse", exact=True).click()
        await _focus_is(page, "matches('body')")


async def _close(page: Page, act: Act, key: str) -> None:
    """Closes a dialog or a form, and opens it again if the key did not close it."""
    is_dialog = await page.get_by_role("dialog").count() > 0
    if is_dialog or not key:
        if key:
            await page.keyboard.press(key)
        else:
            cancel = page.locator("dialog, #main").get_by_role("button", name="Cancel")
            await cancel.last.press("Enter")
        await expect(page.locator(":focus")).to_have_accessible_name(act.open[-1])
        await open_form(page, act)
    field = "closest('dialog')" if is_dialog else "matches('form :is(input, select, textarea)')"
    await _focus_is(page, field)
    if not key:
        await page.locator("dialog, #main").get_by_role("button", name="Cancel").last.click()
        await expect(page.locator(":focus")).to_have_accessible_name(act.open[-1])


async def _focus_is(page: Page, expression: str) -> None:
    """After the next frame, so that the focus remains there."""
    await page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    await page.wait_for_function(f"() => document.activeElement.{expression}")
