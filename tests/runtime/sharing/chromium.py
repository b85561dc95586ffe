"""Browser tests: the fixture `browser`, a server on a free port, and the accessibility rules.

`browser` is headless Chromium, one process for each module or conftest that imports it. If Chromium is missing, the tests are
skipped with the command that installs it. A test opens a new browser context, which shares no cookies and no storage with others.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, async_playwright, expect

# Assertions wait for longer than the default of 5 seconds, for busy test machines.
expect.set_options(timeout=30_000)

#: Programs, in order of preference. The headless shell is Chromium without its user interface. It takes half of the CPU time.
_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
#: Chromium's own services would contact other hosts. A root user cannot use its sandbox.
_ARGUMENTS = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run")

#: Options of axe: WCAG 2.2 AA and best practices.
AXE_RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"], "resultTypes": ["violations"]}
_CONTRAST = {"runOnly": ["color-contrast"], "resultTypes": ["violations"]}


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[str]:
    """Serves an ASGI application on a free port. Yields its origin."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    task = asyncio.create_task(server.serve([listener]))
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    await task


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        pytest.skip("Chromium is not installed. On Debian and Ubuntu: apt-get install chromium-headless-shell, or chromium")
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=path, args=[*_ARGUMENTS, *sandbox])
        yield chromium
        await chromium.close()


async def violations(page: Page, rules: dict[str, list[str]] = AXE_RULES) -> list[str]:
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(Axe().axe_script)
    results = await page.evaluate("options => axe.run(options)", rules)
    return [f"{violation['id']}: {violation['nodes'][0]['html']}" for violation in results["violations"]]


async def violations_in_both_themes(page: Page) -> list[str]:
    """All rules in the light theme. The themes differ in colours only, so only the contrast is checked in the dark theme."""
    found = await violations(page)
    await page.emulate_media(color_scheme="dark")
    found += await violations(page, _CONTRAST)
    await page.emulate_media(color_scheme="light")
    return found
