"""Secrets that are pasted into a search reach no address and no history."""

import unicodedata
from urllib.parse import quote, unquote_plus

from playwright.async_api import Browser, Page, expect

from tests.runtime.console_client import BOOTSTRAP, Console
from tests.runtime.rows import request_row
from tests.runtime.services.console.web_pages import (
    MARKS,
    loads_nothing,
    navigate,
    page_of,
    sign_in,
    violations_in_both_themes,
)

pytestmark = MARKS
SHORT, LONG = "supplier-42-key", "4f9b" * 12
LINK_SECRET = "LinkSecret0" * 4
_FIELDS = (("/keys", "Search"), ("/audit", "Target ID"), ("/usage", "API key"))
_REFUSED = "The text was not searched"
#: Everything in which the browser keeps an address.
_STORED = """JSON.stringify([history.state, location.href, document.title, { ...sessionStorage },
  { ...localStorage }, performance.getEntries().map(({ name }) => name)])"""


def wrapped(text: str, width: int) -> str:
    return " ".join(text[start : start + width] for start in range(0, len(text), width))


def parts(secret: str) -> list[str]:
    return [secret[start : start + 8] for start in range(0, len(secret) - 7, 8)]


async def paste(page: Page, label: str, text: str) -> None:
    control = page.get_by_label(label, exact=True)
    await control.fill(text)
    await control.press("Enter")
    await control.blur()


async def test_secret_in_a_search_reaches_no_address(
    browser: Browser, origin: str, console: Console
) -> None:
    created = await console.create(name="found by its token")
    token, key_id = created["token"], created["key"]["id"]
    imported = {text: await console.import_key(text) for text in (SHORT, LONG)}
    secret = token[-49:]
    # test_lookup.py has the other forms.
    found = [
        (wrapped(token, 40), key_id, secret),
        (token[:-7], key_id, secret[:-7]),
        (f'  "{SHORT}",', imported[SHORT], SHORT),
        (wrapped(LONG, 9), imported[LONG], LONG),
    ]
    link = f"https://share.test/s/{'p' * 28}#{LINK_SECRET}"
    refused = [
        (f"Bearer {BOOTSTRAP}", "", BOOTSTRAP[10:]),
        (quote(link, safe=""), "", LINK_SECRET),
        (secret[:40], "", secret[:40]),
    ]
    addresses: list[str] = []
    async with page_of(browser, origin) as page:
        await sign_in(page, "/keys")
        page.on("request", lambda request: addresses.append(unquote_plus(request.url)))
        for number, (text, value, hidden) in enumerate([*found, *refused]):
            path, label = _FIELDS[number % len(_FIELDS)]
            await navigate(page, "/settings")
            await navigate(page, path)
            addresses.clear()
            await paste(page, label, text)
            if value:
                await expect(page.get_by_label(label, exact=True)).to_have_value(value)
                await page.wait_for_url(f"**={value}")
            else:
                await expect(page.get_by_role("alert")).to_contain_text(_REFUSED)
                await expect(page.get_by_label(label, exact=True)).to_have_value("")
                assert page.url == f"{origin}{path}"
            await loads_nothing(page)
            stored = await page.evaluate(_STORED)
            for part in parts(hidden):
                assert part not in stored, (text, part)
                assert part not in "".join(addresses), (text, part)
        for path in ("/keys", "/keys/new"):
            await navigate(page, path)
            await paste(page, "Customer", token)
            alert = page.get_by_role("alert").last  # the other one is of the search
            await expect(alert).to_contain_text(_REFUSED)
            await expect(page.get_by_label("Customer", exact=True)).to_have_value("")
        assert not [part for part in parts(secret) if part in "".join(addresses)]


async def test_search_leads_from_a_request_id_or_a_token_to_the_key(
    browser: Browser, origin: str, console: Console
) -> None:
    created, request_id = await console.create(name="found"), f"req_{7:026x}"
    key_id = created["key"]["id"]
    console.sql(request_row(key_id=f"'{key_id}'", core="''", request_id=f"'{request_id}'"))
    addresses: list[str] = []
    async with page_of(browser, origin) as page:
        await sign_in(page, "/settings")
        page.on("request", lambda request: addresses.append(unquote_plus(request.url)))
        field = page.get_by_role("dialog", name="Search").get_by_role("textbox")
        for text in (f'{{"status": 403, "request_id": "{request_id}"}}', created["token"]):
            await navigate(page, "/settings")
            await page.keyboard.press("Control+k")
            await expect(field).to_be_focused()
            await page.keyboard.insert_text(text)
            await page.get_by_role("link", name="API key found").wait_for()
            if text == created["token"]:
                assert await violations_in_both_themes(page) == []
            await page.keyboard.press("Enter")
            await page.wait_for_url(f"**/keys/{key_id}")
            await expect(field).to_have_count(0)
        await page.get_by_role("button", name="Search").click()
        await page.keyboard.insert_text(request_id)
        await page.get_by_role("link", name="Request Address not allowed").focus()
        await page.keyboard.press("ArrowUp")
        await page.keyboard.press("Enter")
        await page.get_by_role("button", name="Search").press("Control+k")
        await page.keyboard.press("Escape")
        await expect(field).to_have_count(0)
    assert created["token"][-20:] not in "".join(addresses)


async def test_name_of_a_form_is_stored_as_typed_and_found(
    browser: Browser, origin: str, console: Console
) -> None:
    name = unicodedata.normalize("NFD", "👩\u200d💻 Zoë می\u200cخواهم 山田\u3000太郎")
    async with page_of(browser, origin) as page:
        await sign_in(page, "/keys/new")
        await page.get_by_label("Name", exact=True).fill(name)
        await page.get_by_role("button", name="Create key").click()
        await page.get_by_role("button", name="I have stored the token").click()
        for text in (name, "zoë میخواهم", "👩💻", "山田 太郎"):
            await navigate(page, "/keys")
            await paste(page, "Search", text)
            await expect(page.get_by_role("row").nth(1)).to_contain_text(name)
            [key] = (await console.get("/v1/keys", params={"search": text})).json()["keys"]
            assert key["name"] == name
