"""Screens of the web UI that need other services."""

from collections.abc import AsyncIterator

import pytest
from gatehouse.commands.cli import end_to_end
from gatehouse.features.secrets.link_token import parse
from gatehouse.features.secrets.service import NewItem
from playwright.async_api import Browser, Page, expect

from tests.runtime.conftest import Database
from tests.runtime.console_client import Console, open_console
from tests.runtime.features.audit.test_checkpoints import kms_signer
from tests.runtime.features.secrets.services import CLIENT, TEXT, Sharing
from tests.runtime.services.console.web_pages import MARKS, page_of, shows, sign_in, violations

pytestmark = MARKS
SHARING_URL = "https://sharing.test"


@pytest.fixture
async def console(database: Database, sharing: Sharing) -> AsyncIterator[Console]:
    changes = {**sharing.console(SHARING_URL), "signer": kms_signer()}
    async with open_console(database, **changes) as started:
        yield started


async def shown_value(page: Page, label: str) -> str:
    return await page.get_by_label(label, exact=True).input_value()


@pytest.mark.requirement("SS-12")
async def test_secret_is_requested_submitted_and_opened(
    browser: Browser, origin: str, sharing: Sharing
) -> None:
    async with page_of(browser, origin) as page:
        sent: list[str] = []
        page.on("request", lambda request: sent.append(f"{request.url} {request.post_data}"))
        await sign_in(page, "/secrets")
        await page.get_by_role("link", name="Request a secret").first.click()
        await page.get_by_label("Purpose").fill("Password of the staging database")
        await page.get_by_role("button", name="Request a secret").click()
        await expect(page.get_by_role("heading", name="Secret request created")).to_be_focused()
        submission = parse(await shown_value(page, "Submission link"), "r")
        link = parse(await shown_value(page, "Retrieval link"))
        assert submission is not None
        assert link is not None
        assert not [line for line in sent if link.secret in line]
        assert await violations(page) == []
        await sharing.requests.submit(submission, [NewItem(TEXT)], "a" * 32, CLIENT)
        await page.get_by_role("button", name="I have stored the retrieval link").click()
        await expect(page.locator(".badge", has_text="Active").first).to_be_visible()
        heading = page.get_by_role("heading", name="Password of the staging database")
        await expect(heading).to_be_visible()
        assert link.secret not in await page.content()
        assert await violations(page) == []
    assert await sharing.read(link) == TEXT


@pytest.mark.requirement("SS-12")
async def test_text_is_encrypted_end_to_end_in_the_browser(
    browser: Browser, origin: str, sharing: Sharing
) -> None:
    text = "correct horse battery staple 🐴"
    async with page_of(browser, origin) as page:
        sent: list[str] = []
        page.on("request", lambda request: sent.append(f"{request.url} {request.post_data}"))
        await sign_in(page, "/secrets/new")
        await page.get_by_label("Text", exact=True).fill(text)
        await page.get_by_label("Encrypt end to end").check()
        await page.get_by_label("Sender").fill("Grace")
        assert await violations(page) == []
        await page.get_by_role("button", name="Share a secret").click()
        await expect(page.get_by_role("heading", name="Secret created")).to_be_focused()
        link, key = end_to_end.split_link(await shown_value(page, "Link"))
        assert len(key) == 43
        assert not [line for line in sent if key in line or text in line]
        await page.get_by_role("button", name="I have sent the links").click()
        await shows(page, "End to end", exact=True)
    token = parse(link)
    assert token is not None
    assert (await sharing.secrets.get(token.secret_id)).sender == "Grace"
    assert end_to_end.decrypt(await sharing.read(token), key).decode() == text
