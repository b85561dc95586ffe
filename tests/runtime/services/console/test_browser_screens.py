"""Screens of the web UI that need other services."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from gatehouse.commands.cli import end_to_end
from gatehouse.core.clock import rfc3339
from gatehouse.features.secrets.link_token import parse
from gatehouse.features.secrets.models import FILES_BYTES_MAX
from gatehouse.features.secrets.schemas import FILES_MAX
from gatehouse.features.secrets.service import NewItem
from playwright.async_api import Browser, FilePayload, Page, expect

from tests.runtime.conftest import Database
from tests.runtime.console_client import Console, open_console
from tests.runtime.features.audit.test_checkpoints import kms_signer
from tests.runtime.features.secrets.services import CLIENT, TEXT, Sharing
from tests.runtime.services.console.web_pages import (
    MARKS,
    page_of,
    shows,
    sign_in,
    violations,
    violations_in_both_themes,
)

pytestmark = MARKS
UPDATE_MS = 5000
SHARING_URL = "https://sharing.test"


@pytest.fixture
async def console(database: Database, sharing: Sharing, tmp_path: Path) -> AsyncIterator[Console]:
    """A console with every part. The log files are in `tmp_path`."""
    logs = {"logs": f"file:{tmp_path}"}
    changes = {**sharing.console(SHARING_URL), "signer": kms_signer(), **logs}
    async with open_console(database, **changes) as started:
        yield started


async def shown_value(page: Page, label: str) -> str:
    return await page.get_by_label(label, exact=True).input_value()


async def test_secret_is_requested_submitted_and_opened(
    browser: Browser, origin: str, sharing: Sharing
) -> None:
    async with page_of(browser, origin) as page:
        sent: list[str] = []
        page.on("request", lambda request: sent.append(f"{request.url} {request.post_data}"))
        await page.clock.install()
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
        await page.get_by_role("button", name="I have stored the retrieval link").click()
        await page.locator(".badge", has_text="Requested").first.wait_for()
        await sharing.requests.submit(submission, [NewItem(TEXT)], "a" * 32, CLIENT)
        await page.clock.fast_forward(UPDATE_MS)
        await page.locator(".badge", has_text="Active").first.wait_for()
        heading = page.get_by_role("heading", name="Password of the staging database")
        await heading.wait_for()
        assert link.secret not in await page.content()
        assert await violations(page) == []
    assert await sharing.read(link) == TEXT


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


async def test_files_are_refused_before_they_are_read(
    browser: Browser, origin: str, sharing: Sharing
) -> None:
    async with page_of(browser, origin) as page:
        await page.add_init_script(
            "window.reads = 0; const read = Blob.prototype.arrayBuffer;"
            "Blob.prototype.arrayBuffer = function () { reads += 1; return read.call(this) }"
        )
        await sign_in(page, "/secrets/new")
        alert = page.get_by_role("alert")
        share = page.get_by_role("button", name="Share a secret")
        for sizes, accepted in (
            ([FILES_BYTES_MAX + 1], False),
            ([FILES_BYTES_MAX], True),
            ([FILES_BYTES_MAX, 1], False),
            ([1] * (FILES_MAX + 1), False),
            ([1] * FILES_MAX, True),
        ):
            await page.get_by_label("Files").set_input_files(
                [
                    FilePayload(name=f"{number}.txt", mimeType="text/plain", buffer=b"a" * size)
                    for number, size in enumerate(sizes)
                ]
            )
            await expect(page.locator("main li")).to_have_count(len(sizes) if accepted else 0)
            await expect(alert).to_have_count(0 if accepted else 1)
            await expect(share).to_be_enabled(enabled=accepted)
        assert await page.evaluate("reads") == 0
        await page.get_by_label("Files").dispatch_event(
            "drop",
            {
                "dataTransfer": await page.evaluate_handle(
                    "() => { const data = new DataTransfer();"
                    "data.items.add(new File(['dropped'], 'a.txt', { type: 'text/plain' }));"
                    "return data }"
                )
            },
        )
        await expect(page.locator("main li")).to_contain_text(["a.txt"])
        await share.click()
        link = parse(await shown_value(page, "Link"))
    assert link is not None
    assert await sharing.read(link) == b"dropped"


async def test_logs_are_searched(
    browser: Browser, origin: str, console: Console, tmp_path: Path
) -> None:
    now = console.clock.now()
    key_id = (await console.create(name="found"))["key"]["id"]
    request_id, unknown = (f"req_{int((now - ago) * 1000) << 60:026x}" for ago in (152, 1))
    lines: list[dict[str, Any]] = [
        {"level": "info", "event": "request", "route": "/v1/keys/verify", "status": 200},
        {"level": "warning", "event": "usage is late", "key_id": "3fGh82kLmQ0a"},
        {"level": "error", "event": "request", "error": "Unavailable", "request_id": "req_1"},
        *({"level": "debug", "event": "cache", "number": number} for number in range(59)),
        {"level": "debug", "event": "request", "request_id": request_id, "key_id": key_id},
    ]
    texts = [
        json.dumps({"service": "gateway", "ts": rfc3339(now - 90 - index), **line})
        for index, line in enumerate(lines)
    ]
    (tmp_path / "gateway.log").write_text("\n".join(texts))
    async with page_of(browser, origin) as page:
        await sign_in(page, "/logs")
        rows = page.locator("tbody tr:not(.details)")
        await expect(rows).to_have_count(50)
        await page.get_by_role("link", name="Next page").click()
        await expect(rows).to_have_count(13)
        await page.get_by_label("Minimum level").select_option("warning")
        await expect(rows).to_have_count(2)
        await page.get_by_label("Text").fill("late")
        await page.keyboard.press("Enter")
        await expect(rows).to_have_count(1)
        await page.get_by_label("Text").fill("")
        await page.keyboard.press("Enter")
        await rows.filter(has_text="Unavailable").click()
        await page.get_by_role("link", name="req_1").click()
        await expect(rows).to_have_count(1)
        assert page.url.endswith("/logs?request_id=req_1")
        await rows.get_by_role("button", name="Details").click()
        assert await violations_in_both_themes(page) == []
        for text in (unknown, request_id):
            await page.keyboard.press("Control+k")
            await expect(page.get_by_role("dialog").get_by_role("textbox")).to_be_focused()
            await page.keyboard.insert_text(text)
            if text is unknown:
                await shows(page, "have no key for this request")
                await page.keyboard.press("Escape")
        await page.keyboard.press("Enter")
        await page.wait_for_url(f"**/keys/{key_id}")
