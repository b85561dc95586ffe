"""The web UI in headless Chromium: a server, sign-in and navigation."""

from typing import Any

import pytest
from playwright.async_api import Page, Route, expect

from tests import requires
from tests.runtime.console_client import BOOTSTRAP, Console
from tests.runtime.services.sharing.chromium import page_of, violations, violations_in_both_themes

__all__ = [
    "MARKS",
    "PAGES",
    "enter_credential",
    "expand",
    "navigate",
    "page_of",
    "raw_times",
    "resize",
    "shows",
    "shows_heading",
    "sign_in",
    "sign_in_by_keyboard",
    "tab_to",
    "violations",
    "violations_in_both_themes",
]

MARKS = [requires.WEB_UI]

#: Paths of the pages, with parameters for the IDs of sample data.
PAGES = {
    "overview": "/",
    "keys": "/keys",
    "keys-none": "/keys?search=no+such+key",
    "key-new": "/keys/new",
    "key": "/keys/{key}",
    "key-missing": "/keys/000000000000",
    "customers": "/customers",
    "customer-new": "/new-customer",
    "customer": "/customers/{customer}",
    "plans": "/plans",
    "plan-new": "/new-plan",
    "plan": "/plans/{plan}",
    "limits": "/limits",
    "limit-new": "/new-limit",
    "limit": "/limits/{limit}",
    "cores": "/cores",
    "usage": "/usage",
    "requests": "/requests",
    "secrets": "/secrets",
    "secret-new": "/secrets/new",
    "secret": "/secrets/{secret}",
    "request-new": "/secrets/request",
    "request": "/secrets/{request}",
    "audit": "/audit",
    "health": "/health",
    "logs": "/logs",
    "webhooks": "/webhooks",
    "people": "/people",
    "sessions": "/sessions",
    "settings": "/settings",
}

#: Resolves when the new page is displayed. The router resolves before.
_NAVIGATE = """async (path) => {
  await document.querySelector('#app').__vue_app__.config.globalProperties.$router.push(path)
  await new Promise(requestAnimationFrame)
  if (location.pathname !== new URL(path, location.origin).pathname)
    throw new Error(`${location.pathname} instead of ${path}`)
}"""


#: Without this item, the web UI opens the sign-in page without a request
#: (runtime/web/src/identity/session.ts).
_BEGUN = "localStorage.setItem('session', 'begun')"


async def sign_in(page: Page, path: str = "/") -> None:
    """Creates a session and opens a page with it. After a sign-out, the page would request it
    again.
    """
    headers = {"Authorization": f"Bearer {BOOTSTRAP}", "Sec-Fetch-Site": "same-origin"}
    created = await page.request.post("/v1/sessions", headers=headers)
    assert created.status == 201, await created.text()
    await page.add_init_script(_BEGUN)
    await page.goto(path)
    await page.locator("main h1").wait_for()
    await loads_nothing(page)


async def sign_in_by_keyboard(page: Page, path: str = "/") -> None:
    """Opens a page and signs in with Enter. The credential is inserted as from the clipboard."""
    await page.goto(path)
    await expect(page.get_by_label("Credential")).to_be_focused()
    await page.keyboard.insert_text(BOOTSTRAP)
    await page.keyboard.press("Enter")
    await expect(page.locator("main h1")).not_to_have_text("Sign in")


async def navigate(page: Page, path: str) -> None:
    """After the action in progress, if there is one: it keeps its page."""
    await expect(page.locator("dialog [role=status]")).to_have_count(0)
    await page.evaluate(_NAVIGATE, path)
    await page.locator("h1").first.wait_for()
    await loads_nothing(page)


async def loads_nothing(page: Page) -> None:
    await expect(page.locator("[aria-busy=true], .loading")).to_have_count(0)


async def ends_session_before(page: Page, console: Console, path: str) -> None:
    """Deletes all sessions when the page sends its next request to the path, so that no refresh of
    the page finds first that its session has ended.
    """

    async def end(route: Route) -> None:
        console.sql("DELETE FROM console_session")
        await route.continue_()

    await page.route(f"**{path}", end, times=1)


#: Timestamps of the API, or of fields, in a text for people. The JSON of an event, of a log line or
#: of a response is shown as it is.
_RAW_TIMES = r"""() => {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = []
  while (walker.nextNode())
    if (!walker.currentNode.parentElement.closest('pre, script, style, textarea'))
      found.push(...(walker.currentNode.data.match(/\d{4}-\d\d-\d\dT\d\d:\d\d\S*/g) ?? []))
  return found
}"""


async def raw_times(page: Page) -> list[str]:
    found: list[str] = await page.evaluate(_RAW_TIMES)
    return found


async def resize(page: Page, width: int, height: int = 800) -> None:
    """Changes the size of the window. Returns when the next frame is displayed."""
    await page.set_viewport_size({"width": width, "height": height})
    await page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")


async def expand(page: Page) -> None:
    """Opens all details, and the rows of tables."""
    await page.evaluate(
        "document.querySelectorAll('main details:not([open]) > summary, "
        "main .expand[aria-expanded=false]').forEach((control) => control.click())"
    )


async def shows(page: Page, text: str, *, exact: bool = False) -> None:
    await page.get_by_text(text, exact=exact).wait_for()


async def shows_heading(page: Page, name: str, **options: Any) -> None:
    await page.get_by_role("heading", name=name, **options).wait_for()


async def enter_credential(page: Page, credential: str) -> None:
    await page.get_by_label("Credential").fill(credential)
    await page.keyboard.press("Enter")


async def tab_to(page: Page, name: str) -> None:
    target = page.get_by_role("link", name=name, exact=True).or_(
        page.get_by_role("button", name=name, exact=True)
    )
    for _ in range(60):
        await page.keyboard.press("Tab")
        if await target.first.evaluate("element => element === document.activeElement"):
            return
    pytest.fail(f"{name} cannot be reached with Tab")
