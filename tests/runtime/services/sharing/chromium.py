"""Browser tests: the fixture `browser` (headless Chromium, one process for each module that imports
it), a server, pages that fail on errors, and the accessibility rules.
"""

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import uvicorn
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import (
    Browser,
    ConsoleMessage,
    ElementHandle,
    Error,
    Page,
    Request,
    Response,
    WebError,
    expect,
)

from tools.chromium import ChromiumMissingError, launch, playwright

# Assertions wait for longer than the default of 5 seconds, for busy test machines. While an element
# is not visible yet, `expect(element).to_be_visible()` makes a text of the whole page every time it
# looks, `element.wait_for()` does not.
_TIMEOUT_MS = 60_000
expect.set_options(timeout=_TIMEOUT_MS)

#: Options of axe: WCAG 2.2 AA and best practices.
AXE_RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "resultTypes": ["violations"],
}
_CONTRAST = {"runOnly": ["color-contrast"], "resultTypes": ["violations"]}


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    # The server closes no idle connection: a request that is being sent on it would be lost.
    options: Any = {"log_level": "error", "lifespan": "off", "timeout_keep_alive": 3700}
    server = uvicorn.Server(uvicorn.Config(app, **options))
    task = asyncio.create_task(server.serve([listener]))
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    await task


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with playwright() as driver:
        try:
            chromium = await launch(driver.chromium)
        except ChromiumMissingError as error:
            pytest.skip(str(error))
        yield chromium
        await chromium.close()


@asynccontextmanager
async def page_of(
    browser: Browser, origin: str, expected: str = "$^", *, provider: str = "blob:", **options: Any
) -> AsyncIterator[Page]:
    """A page of a new browser profile, which shares no cookies and no storage with others.
    `options`: of the browser context.

    Fails if this page, or a page that it opens, causes an uncaught error, an unhandled rejection, a
    message of the level error or warning in the console of the browser, or a request to another
    origin. The browser reports error statuses of responses, lost connections and violations of the
    content security policy in its console. `expected`: pattern of the problems that the test
    causes. `provider`: origin of the identity provider, whose pages are not checked.
    """
    context = await browser.new_context(**{"base_url": origin, "locale": "en-GB", **options})
    context.set_default_timeout(_TIMEOUT_MS)
    problems: list[str] = []

    def add(text: str, page: Page | None) -> None:
        if page is None or not page.url.startswith(provider):
            problems.append(text)

    def on_console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            add(f"{message.text} {message.location['url']}".strip(), message.page)

    def on_error(error: WebError) -> None:
        add(str(error.error), error.page)

    async def on_response(response: Response) -> None:
        if response.status >= 500:
            with suppress(Error):  # the page is closed, or has aborted the request
                print(response.status, response.request.method, response.url, await response.text())

    def on_request(request: Request) -> None:
        if not request.url.startswith((origin, provider, "blob:")):
            add(request.url, None if request.is_navigation_request() else request.frame.page)

    context.on("console", on_console)
    context.on("weberror", on_error)
    context.on("request", on_request)
    context.on("response", on_response)
    try:
        yield await context.new_page()
    finally:
        await context.close()
    unexpected = [problem for problem in problems if not re.search(expected, problem)]
    assert not unexpected, unexpected


@asynccontextmanager
async def localized_page_of(
    browser: Browser, origin: str, languages: list[str], zone: str
) -> AsyncIterator[Page]:
    """A page of a browser that reports these language tags, which can be invalid."""
    headers = {"Accept-Language": ",".join(languages)}
    async with page_of(
        browser, origin, locale=None, timezone_id=zone, extra_http_headers=headers
    ) as page:
        for name, value in (
            ("languages", languages),
            ("language", languages[0] if languages else ""),
        ):
            await page.add_init_script(
                f"Object.defineProperty(navigator, '{name}', {{ get: () => {json.dumps(value)} }})"
            )
        yield page


async def violations(
    page: Page, rules: dict[str, list[str]] = AXE_RULES, part: ElementHandle | None = None
) -> list[str]:
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(Axe().axe_script)
    results = await page.evaluate(
        "([part, rules]) => axe.run(part ?? document, rules)", [part, rules]
    )
    return [
        f"{violation['id']}: {violation['nodes'][0]['html']}" for violation in results["violations"]
    ]


async def violations_in_both_themes(page: Page, part: ElementHandle | None = None) -> list[str]:
    """All rules in the light theme. The themes differ in colours only, so dark needs only the
    contrast.
    """
    found = await violations(page, part=part)
    await page.emulate_media(color_scheme="dark")
    found += await violations(page, _CONTRAST, part)
    await page.emulate_media(color_scheme="light")
    return found
