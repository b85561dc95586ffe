"""Fixture `browser`: headless Chromium, one process for each test module. The tests are skipped with the command to install it if
it is missing. A test opens a new browser context, which shares no cookies and no storage with others."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, async_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome")
#: Chromium's own services would contact other hosts. A root user cannot use its sandbox.
_ARGUMENTS = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run")


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        pytest.skip("Chromium is not installed. On Debian and Ubuntu: apt-get install chromium")
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=path, args=[*_ARGUMENTS, *sandbox])
        yield chromium
        await chromium.close()
