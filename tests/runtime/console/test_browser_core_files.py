"""Files of a Core agent in the web UI, in headless Chromium."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.async_api import Browser, expect

from tests.runtime.console.web_pages import MARKS, origin, page_of, sign_in, tab_to, violations, violations_in_both_themes
from tests.runtime.console_client import Console
from tests.runtime.cores.core_agent import register, running_agent

__all__ = ["origin"]

pytestmark = MARKS
HTML = "<img src=x onerror=alert(1)><script>alert(1)</script>"
HTML_NAME = "<img src=x onerror=alert(1)>.html"


def directory(root: Path) -> Path:
    nested = root / "Handbücher & 100%"
    (nested / "leer").mkdir(parents=True)
    (nested / "Grüße #1?.txt").write_text("Grüße\n")
    (root / HTML_NAME).write_text(HTML)
    (root / "data.bin").write_bytes(bytes(range(256)))
    (root / "link").symlink_to("data.bin")
    return root


async def test_files_are_browsed_by_keyboard_and_downloaded(
    browser: Browser, origin: str, console: Console, tmp_path: Path
) -> None:
    root = directory(tmp_path / "served")
    async with running_agent(console, "docs", root, tmp_path / "log"), page_of(browser, origin) as page:
        await sign_in(page, "/cores")
        await tab_to(page, "docs")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="Files of docs")).to_be_focused()
        await expect(page.locator("tbody th")).to_have_text(["Handbücher & 100%/", HTML_NAME, "data.bin"])
        await expect(page.get_by_text("such as symbolic links: 1")).to_be_visible()
        assert await violations_in_both_themes(page) == []

        await tab_to(page, "Handbücher & 100%/")
        await page.keyboard.press("Enter")
        await expect(page.get_by_label("Path").locator("[aria-current=page]")).to_be_focused()
        await tab_to(page, "Grüße #1?.txt")
        await page.keyboard.press("Enter")
        await expect(page.get_by_label("Content of the file")).to_have_text("Grüße\n")
        assert await violations_in_both_themes(page) == []
        await page.reload()
        await expect(page.get_by_label("Content of the file")).to_have_text("Grüße\n")
        async with page.expect_download() as download:
            await page.get_by_role("link", name="Download").press("Enter")
        assert (await (await download.value).path()).read_text() == "Grüße\n"
        await page.go_back()
        await page.get_by_role("link", name="leer/").click()
        await expect(page.get_by_text("The directory is empty.")).to_be_visible()
        await page.get_by_label("Path").get_by_role("link", name="docs").click()
        await page.get_by_role("link", name="data.bin").click()
        await expect(page.get_by_text("The file is not UTF-8 text.")).to_be_visible()
        await page.get_by_role("link", name="docs").click()
        await page.get_by_role("link", name=HTML_NAME).click()
        await expect(page.get_by_label("Content of the file")).to_have_text(HTML)
        assert await violations(page) == []
        async with page.expect_download() as download:
            await page.get_by_role("link", name="Download").click()
        assert (await download.value).suggested_filename.endswith(".html")
    events = (await console.client.get("/v1/audit-events", params={"action": "core.read"})).json()["events"]
    assert events[0]["details"] == {"path": HTML_NAME}


async def test_errors_of_a_core_and_denied_roles_are_explained(
    browser: Browser, origin: str, console: Console, tmp_path: Path
) -> None:
    root = directory(tmp_path / "served")
    auditor = await console.create(name="auditor", scopes=["role:auditor"])
    await register(console, "gone", "http://127.0.0.1:1")
    async with page_of(browser, origin, r"status of [45]\d\d", viewport={"width": 320, "height": 640}) as page:
        async with running_agent(console, "docs", root, tmp_path / "log"):
            await sign_in(page, "/cores/docs/files?file=missing.txt")
            await expect(page.get_by_role("alert")).to_contain_text("The Core has no such file")
            await page.get_by_label("Path").get_by_role("link", name="docs").click()
            await expect(page.get_by_role("link", name="data.bin")).to_be_visible()
            await page.goto("/cores/docs/files?file=link")
            await expect(page.get_by_role("alert")).to_contain_text("does not serve")
            await page.goto("/cores/docs/files?path=../..")
            await expect(page.get_by_role("alert")).to_contain_text("dot segment")
        await page.goto("/cores/gone/files")
        await expect(page.get_by_role("alert")).to_contain_text("could not be reached")
        assert await violations(page) == []
        assert await page.evaluate("document.documentElement.scrollWidth") <= 320
        await page.goto("/cores/unknown/files")
        await expect(page.get_by_role("alert")).to_contain_text("No Core has this name.")
        await page.get_by_role("button", name="Menu").click()
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_label("Credential")).to_be_visible()
        await page.goto("/cores")
        await page.get_by_label("Credential").fill(auditor["token"])
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("rowheader", name="gone")).to_be_visible()
        assert await page.get_by_role("link", name=re.compile("gone|docs")).count() == 0
        await page.goto("/cores/gone/files")
        await expect(page.get_by_role("heading", name="Access denied")).to_be_visible()
