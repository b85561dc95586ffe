"""Creates screenshots of every page of the web UI: `python -m tools.docs.screenshots` while `make
up` runs.

The pages are opened in both themes at three widths. The files are written to
.gatehouse/screenshots.
GATEHOUSE_CONSOLE_URL, GATEHOUSE_GATEWAY_URL: addresses of the services. GATEHOUSE_TOKEN: the
credential. The command creates sample data with this credential first, so use a test environment
only.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from gatehouse.client import retrieval_links
from playwright.async_api import Browser, Page, async_playwright, expect

from tools.chromium import launch

FOLDER = Path(__file__).resolve().parents[2] / ".gatehouse/screenshots"
WIDTHS = (1280, 768, 320)
PAGES = {
    "overview": "/",
    "keys": "/keys",
    "keys-none": "/keys?search=no+such+key",
    "key-new": "/keys/new",
    "key-import": "/keys/import",
    "key": "/keys/{key}",
    "key-missing": "/keys/000000000000",
    "cores": "/cores",
    "usage": "/usage",
    "secrets": "/secrets",
    "secret-new": "/secrets/new",
    "secret": "/secrets/{secret}",
    "requests": "/secret-requests",
    "request-new": "/secret-requests/new",
    "request": "/secret-requests/{request}",
    "audit": "/audit",
    "checkpoints": "/audit/checkpoints",
    "leaks": "/leaks",
    "webhooks": "/webhooks",
    "sessions": "/sessions",
    "settings": "/settings",
    "reference": "/api-reference?operation=create_key",
}
_KEYS = (
    {
        "name": "nightly export",
        "owner": "billing",
        "tags": ["nightly", "invoices"],
        "ttl_s": 5 * 86_400,
    },
    {
        "name": "web shop",
        "owner": "shop",
        "notes": "Requested in OPS-1234.",
        "credits": {"remaining": 10_000},
    },
    {
        "name": "mobile app, iOS and Android, all regions",
        "owner": "mobile",
        "methods": ["GET", "HEAD"],
    },
    {
        "name": "partner integration",
        "owner": "partners",
        "addresses": ["192.0.2.0/24", "2001:db8::/48"],
        "ttl_s": 90 * 86_400,
    },
    {"name": "security review", "owner": "security", "scopes": ["role:auditor"]},
    {"name": "on-call", "owner": "platform", "scopes": ["role:operator"]},
)


@dataclass(frozen=True, slots=True)
class Stack:
    console: str
    gateway: str
    token: str


async def create_data(stack: Stack) -> dict[str, str]:
    """Creates sample data. Returns the IDs of the sample data, by name of the parameter in the
    paths of `PAGES`.
    """
    headers = {"Authorization": f"Bearer {stack.token}"}
    async with httpx.AsyncClient(base_url=stack.console, headers=headers, timeout=30) as client:

        async def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
            reply = await client.post(path, json=body)
            reply.raise_for_status()
            created: dict[str, Any] = reply.json()
            return created

        keys = [
            await post(
                "/v1/keys", {**key, "limits": [{"name": "requests", "quota": 40, "window_s": 60}]}
            )
            for key in _KEYS
        ]
        async with httpx.AsyncClient(base_url=stack.gateway) as clients:
            for number, created in enumerate(keys[:4]):
                for _ in range(45 // (number + 1)):
                    await clients.post("/v1/keys/verify", json={"token": created["token"]})
        await post(f"/v1/keys/{keys[2]['key']['id']}/disable", {"reason": "unusual traffic"})
        await post(f"/v1/keys/{keys[3]['key']['id']}/revoke", {"reason": "the contract has ended"})
        secret = await post(
            "/v1/secrets",
            {
                "text": "a password",
                "label": "Staging database",
                "note": "Rotate it after the test.",
            },
        )
        link = retrieval_links.parameters(retrieval_links.create())
        request = await post(
            "/v1/secret-requests",
            {"purpose": "Password of the staging database", "retrieval_links": [link]},
        )
        await post("/v1/webhooks", {"url": "https://hooks.example.com/gatehouse"})
    return {
        "key": keys[0]["key"]["id"],
        "secret": secret["secret"]["id"],
        "request": request["request"]["id"],
    }


async def sign_in(page: Page, stack: Stack) -> None:
    await page.goto("/sign-in")
    await page.locator("input[type=password]").fill(stack.token)
    await page.keyboard.press("Enter")
    await page.locator("nav").first.wait_for(state="attached")


async def take(browser: Browser, stack: Stack, ids: dict[str, str], width: int, theme: str) -> None:
    """Takes screenshots of all pages in one width and theme."""
    folder = FOLDER / f"{width}-{theme}"
    folder.mkdir(parents=True, exist_ok=True)
    context = await browser.new_context(
        base_url=stack.console,
        viewport={"width": width, "height": 800},
        color_scheme="dark" if theme == "dark" else "light",
        locale="en-GB",
    )
    page = await context.new_page()
    await page.goto("/")
    await page.locator("input[type=password]").wait_for()
    await page.screenshot(path=folder / "sign-in.png", full_page=True)
    await sign_in(page, stack)
    for name, path in PAGES.items():
        await page.goto(path.format(**ids))
        await page.locator("h1").wait_for()
        await expect(page.locator("[aria-busy=true], .loading")).to_have_count(0)
        await page.screenshot(path=folder / f"{name}.png", full_page=True)
    await context.close()


async def main() -> None:
    stack = Stack(
        *(os.environ[f"GATEHOUSE_{name}"] for name in ("CONSOLE_URL", "GATEWAY_URL", "TOKEN"))
    )
    ids = await create_data(stack)
    async with async_playwright() as playwright:
        browser = await launch(playwright.chromium)
        for width in WIDTHS:
            for theme in ("light", "dark"):
                await take(browser, stack, ids, width, theme)
        await browser.close()
    print(f"screenshots: wrote {FOLDER}")


if __name__ == "__main__":
    asyncio.run(main())
