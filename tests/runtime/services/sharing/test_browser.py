"""The recipient pages in headless Chromium, with and without JavaScript."""

import base64
import os
import re
import unicodedata
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from gatehouse.core.actor import RequestId
from gatehouse.features.secrets.link_token import LinkToken
from gatehouse.features.secrets.models import Client
from gatehouse.features.secrets.passphrases import NETWORK_ATTEMPTS_MAX, WrongPassphrase
from gatehouse.features.secrets.service import NewItem
from gatehouse.platform.observability import Observer
from playwright.async_api import Browser, Dialog, Page, Route, expect

from tests.runtime.features.secret_requests.test_service import request
from tests.runtime.features.secrets.services import TEXT, Sharing
from tests.runtime.services.sharing.chromium import (
    browser,
    localized_page_of,
    page_of,
    serving,
    violations_in_both_themes,
)

__all__ = ["browser"]

PASSPHRASE = "a long passphrasé"


NARROW: Any = {"width": 320, "height": 640}
#: Text whose bytes browsers change: line ends, a mark at the beginning, and a null character.
LINES = "\ufefffirst\r\nsecond\nthird\rfourth\r\n"


async def defects(page: Page) -> list[Any]:
    width = await page.evaluate("document.documentElement.scrollWidth")
    return [*await violations_in_both_themes(page), *([width] if width > NARROW["width"] else [])]


@pytest.fixture
async def origin(sharing: Sharing) -> AsyncIterator[str]:
    observer = Observer("sharing", "error", "test")
    app: Any = sharing.app(observer=observer, https=False)
    async with serving(app) as url:
        yield url


async def reveal(page: Page) -> None:
    """Open the link as a person does, who types the number on the page."""
    label = await page.inner_text("label[for=number]")
    await page.fill("#number", "".join(re.findall(r"\d", label)))
    await page.click("button[type=submit]")


async def saved(page: Page, button: str) -> tuple[str, bytes]:
    async with page.expect_download() as download:
        await page.click(button)
    file = await download.value
    return file.suggested_filename, (await file.path()).read_bytes()


def sealed(text: bytes) -> tuple[str, bytes]:
    """Returns the content key in a link, and the ciphertext."""
    key, nonce = os.urandom(32), os.urandom(12)
    ciphertext = nonce + AESGCM(key).encrypt(nonce, text, b"gatehouse-e2e-v1")
    return base64.urlsafe_b64encode(key).decode().rstrip("="), ciphertext


async def test_link_is_opened_copied_and_acknowledged(
    browser: Browser, origin: str, sharing: Sharing
) -> None:
    secret, [token] = await sharing.create()
    async with page_of(browser, origin, "status of 403", viewport=NARROW) as page:
        await page.goto(token.url(origin))
        assert not await page.is_visible("#link")
        assert await defects(page) == []
        await page.keyboard.press("Tab")
        await page.keyboard.type("00")
        await page.keyboard.press("Enter")
        await expect(page.locator("[role=alert]")).to_be_focused()
        assert page.url == token.url(origin)
        assert await defects(page) == []
        await page.keyboard.press("Tab")
        await page.keyboard.type((await page.inner_text("label[for=number]"))[-2:])
        await page.keyboard.press("Enter")
        await expect(page.locator("h1")).to_be_focused()
        assert await page.input_value("#secret") == TEXT.decode()
        assert await violations_in_both_themes(page) == []
        await page.click("#acknowledge button")
        await expect(page.locator("h1")).to_have_text("Thank you")
        assert await page.evaluate("[localStorage.length, sessionStorage.length]") == [0, 0]
        tools = await page.context.new_cdp_session(page)
        visited = (await tools.send("Page.getNavigationHistory"))["entries"]
        assert [entry["url"] for entry in visited] == ["about:blank", f"{origin}/s/{token.path}"]
    link = (await sharing.secrets.get(secret.id)).links[token.link_id]
    assert (
        link.uses,
        link.wrapped_keys,
        [claim.acknowledged_at is not None for claim in link.claims.values()],
    ) == (1, {}, [True])


async def test_link_is_opened_without_javascript(
    browser: Browser, origin: str, sharing: Sharing
) -> None:
    _, [token] = await sharing.create(passphrase=PASSPHRASE)
    async with page_of(
        browser, origin, "status of 403", java_script_enabled=False, locale="de-DE"
    ) as page:
        await page.goto(token.url(origin))
        await expect(page.locator("time").first).to_contain_text("UTC")
        await page.fill("#link", token.url(origin))
        await page.fill("#passphrase", "wrong passphrase")
        await page.click("button[type=submit]")
        await expect(page.locator("[role=alert]")).to_contain_text("Verbleibende Versuche: 4")
        # Some keyboards send an accent as a separate character.
        await page.fill("#passphrase", unicodedata.normalize("NFD", PASSPHRASE))
        await page.click("button[type=submit]")
        assert await page.input_value("#secret") == TEXT.decode()
        assert await saved(page, "#save button") == ("secret.txt", TEXT)
        await page.click("#acknowledge button")
        await expect(page.locator("h1")).to_have_text("Vielen Dank")


@pytest.mark.parametrize(
    ("languages", "language"), [(["en-US@posix"], "en"), (["", "de_DE", "de-DE"], "de")]
)
async def test_pages_work_with_every_language_that_browsers_report(
    browser: Browser, origin: str, sharing: Sharing, languages: list[str], language: str
) -> None:
    _, [token] = await sharing.create()
    _, requested, _ = await request(sharing)
    async with localized_page_of(browser, origin, languages, "Pacific/Kiritimati") as page:
        await page.goto(token.url(origin))
        await expect(page.locator("html")).to_have_attribute("lang", language)
        await expect(page.locator("#remaining")).to_have_text(re.compile(r"^\(in \d+ \w+\)$"))
        await expect(page.locator("time").first).to_contain_text("GMT+14")
        await reveal(page)
        await expect(page.locator("#secret")).to_have_value(TEXT.decode())
        await page.goto(requested.url(origin))
        await page.fill("#text", "a secret")
        await page.click("button[type=submit]")
        await page.locator("#submitted").wait_for()


async def test_end_to_end_secret_is_decrypted_in_the_browser(
    browser: Browser, origin: str, sharing: Sharing
) -> None:
    encoded, ciphertext = sealed(TEXT)
    _, [token] = await sharing.create(items=[], ciphertext_base64=ciphertext)
    async with page_of(browser, origin, viewport=NARROW) as page:
        sent: list[str] = []
        page.on("request", lambda request: sent.append(f"{request.url} {request.post_data}"))
        await page.goto(token.url(origin))
        await reveal(page)
        await expect(page.locator("#connection-lost")).to_contain_text("The link is incomplete")
        await page.goto("about:blank")
        await page.goto(f"{token.url(origin)}.{encoded}")
        await reveal(page)
        await expect(page.locator("#secret")).to_have_value(TEXT.decode())
        assert encoded not in page.url
        assert await defects(page) == []
        assert not [line for line in sent if encoded in line.replace("%3D", "=")]


async def test_other_states_of_the_pages_are_accessible(
    browser: Browser, origin: str, sharing: Sharing
) -> None:
    _, [token] = await sharing.create(
        items=[NewItem(TEXT), NewItem(b"content", "key.pem")], passphrase=PASSPHRASE
    )
    link, checked, local = token.url(origin), [], Client("127.0.0.1", RequestId("req_1"))

    async with page_of(browser, origin, "status of 4", viewport=NARROW) as page:

        async def check(state: str) -> None:
            checked.append((state, await defects(page)))

        async def enter(passphrase: str) -> None:
            await page.fill("#passphrase", passphrase)
            async with page.expect_response(lambda reply: reply.request.method == "POST"):
                await page.click("button[type=submit]")
            await page.locator("[role=alert], #files").last.wait_for()

        await page.goto(origin)
        await check("start")
        await page.goto(link)
        await enter("wrong passphrase")
        await expect(page.locator("[role=alert]")).to_contain_text("Tries left: 4")
        await expect(page.locator("[role=alert]")).to_be_focused()
        await check("wrong passphrase")
        for _ in range(NETWORK_ATTEMPTS_MAX - 1):
            with pytest.raises(WrongPassphrase):
                await sharing.open(token, passphrase="wrong passphrase", client=local)
        await enter(PASSPHRASE)
        await expect(page.locator("[role=alert]")).to_contain_text("10")
        await check("locked")
        sharing.clock.advance(600)
        await enter(PASSPHRASE)
        await check("text and files")
        await page.click("#acknowledge button")
        await expect(page.locator("h1")).to_have_text("Thank you")
        await check("acknowledged")
        await page.goto(link)
        await page.reload()
        await check("used")
    states = ("start", "wrong passphrase", "locked", "text and files", "acknowledged", "used")
    assert checked == [(state, []) for state in states]


async def test_hostile_text_and_file_name_are_inert(
    browser: Browser, origin: str, sharing: Sharing
) -> None:
    hostile = (
        "</textarea><script>document.title='x'</script><img src=x onerror=\"document.title='x'\">"
    )
    _, [token] = await sharing.create(
        items=[NewItem(hostile.encode()), NewItem(b"<svg onload=alert(1)>", f"{hostile}.svg")]
    )
    async with page_of(browser, origin) as page:
        await page.goto(token.url(origin))
        await reveal(page)
        await expect(page.locator("#secret")).to_have_value(hostile)
        assert (await saved(page, "li button"))[1] == b"<svg onload=alert(1)>"
        assert await page.title() == await page.inner_text("h1")


async def test_secret_is_submitted_with_the_keyboard(
    browser: Browser, origin: str, sharing: Sharing
) -> None:
    _, token, link = await request(
        sharing, purpose="Password of the staging database\nfor the migration"
    )
    async with page_of(browser, origin, viewport=NARROW) as page:
        await page.goto(token.url(origin))
        assert not await page.is_visible("#link")
        assert await defects(page) == []
        await page.keyboard.press("Tab")
        await page.keyboard.type(TEXT.decode())
        await page.set_input_files(
            "#file", {"name": "key.bin", "mimeType": "application/x-key", "buffer": b"\x00\xff"}
        )
        await page.click("button[type=submit]")
        await page.wait_for_selector("#submitted")
        assert await violations_in_both_themes(page) == []
        assert token.secret not in page.url
        assert await page.evaluate("[localStorage.length, sessionStorage.length]") == [0, 0]
        await page.goto(link.url(origin))
        assert "request:" not in await page.inner_text("dl")
        await reveal(page)
        await expect(page.locator("#secret")).to_have_value(TEXT.decode())
        assert await saved(page, "li button") == ("key.bin", b"\x00\xff")


async def _fail(page: Page, path: str, loss: str) -> None:
    """Presses the button. The connection is lost before or after the service receives the form, or
    the service is unavailable.
    """
    posts = 0

    async def handle(route: Route) -> None:
        nonlocal posts
        if route.request.method != "POST" or posts:
            await route.continue_()
            return
        posts += 1
        if loss == "response lost":
            await route.fetch()
        if loss == "proxy":
            await route.fulfill(status=502, content_type="text/html", body="<h1>Bad gateway</h1>")
        else:
            await route.abort()

    await page.route(f"**{path}", handle)
    if loss == "offline":
        await page.context.set_offline(True)
    await page.click("button[type=submit]")
    await expect(page.locator("#connection-lost")).to_be_in_viewport(ratio=0.99)
    await expect(page.locator("#connection-lost")).to_be_focused()
    await expect(page.locator("#connection-lost")).to_contain_text("The connection was lost")
    assert await violations_in_both_themes(page) == []
    await page.context.set_offline(False)


_LOST = "ERR_|status of 502"


async def test_submitter_without_a_connection_keeps_text_files_and_link(
    browser: Browser, origin: str, sharing: Sharing
) -> None:
    _, token, link = await request(sharing)
    async with page_of(browser, origin, _LOST, viewport=NARROW) as page:
        await page.goto(token.url(origin))
        await page.fill("#text", "typed by the submitter")
        await page.set_input_files(
            "#file", {"name": "key.bin", "mimeType": "application/x-key", "buffer": b"\x00\xff"}
        )
        await _fail(page, f"/r/{token.path}", "proxy")
        assert page.url == token.url(origin)
        assert await page.input_value("#text") == "typed by the submitter"
        await page.click("button[type=submit]")
        await page.wait_for_selector("#submitted")
        assert token.secret not in page.url
        await page.goto(link.url(origin))
        await reveal(page)
        await expect(page.locator("#secret")).to_have_value("typed by the submitter")
        assert await page.locator("li button").count() == 1


@pytest.mark.parametrize("loss", ["offline", "response lost"])
async def test_recipient_without_a_connection_keeps_the_link(
    browser: Browser, origin: str, sharing: Sharing, loss: str
) -> None:
    _, [token] = await sharing.create(passphrase=PASSPHRASE)
    async with page_of(browser, origin, _LOST, viewport=NARROW) as page:
        await page.goto(token.url(origin))
        await page.fill("#passphrase", PASSPHRASE)
        await _fail(page, f"/s/{token.path}", loss)
        assert page.url == token.url(origin)
        assert await page.input_value("#passphrase") == PASSPHRASE
        await page.click("button[type=submit]")
        await expect(page.locator("#secret")).to_have_value(TEXT.decode())
        await page.locator("#tools").wait_for()
        assert token.secret not in page.url


async def test_secret_is_submitted_without_javascript(
    browser: Browser, origin: str, sharing: Sharing
) -> None:
    _, token, link = await request(sharing)
    async with page_of(browser, origin, java_script_enabled=False, locale="de-DE") as page:
        await page.goto(token.url(origin))
        await page.fill("#link", token.path)
        await page.fill("#text", "erste Zeile\nzweite")
        await page.click("button[type=submit]")
        # The browser does not send an incomplete link, because the server would reject it before it
        # reads the text.
        await expect(page.locator("#link:invalid")).to_have_count(1)
        assert await page.input_value("#text") == "erste Zeile\nzweite"
        await page.fill("#link", token.url(origin))
        await page.click("button[type=submit]")
        await expect(page.locator("h1")).to_have_text("Vielen Dank")
    assert await sharing.read(link) == b"erste Zeile\nzweite"


@pytest.mark.parametrize("can_copy", [True, False])
async def test_text_is_hidden_and_copied_without_the_clipboard_api(
    browser: Browser, origin: str, sharing: Sharing, can_copy: bool
) -> None:
    _, [token] = await sharing.create(LINES.encode())
    async with page_of(browser, origin) as page:
        await page.add_init_script(
            "Object.defineProperty(navigator, 'clipboard', { value: undefined });"
            "addEventListener('copy', ({ clipboardData }) => {"
            "  window.copied = clipboardData.getData('text/plain'); });"
            + ("" if can_copy else "document.execCommand = () => false;")
        )
        await page.goto(token.url(origin))
        await reveal(page)
        await page.click("#hide")
        assert await page.input_value("#secret") == "\u2022" * 8
        await expect(page.locator("#hide")).to_have_text("Show")
        await page.click("#copy")
        if can_copy:
            await expect(page.locator("#note")).to_have_text("Copied")
            assert await page.evaluate("copied") == LINES
            await expect(page.locator("#copy")).to_be_focused()
        else:
            await expect(page.locator("#note")).to_contain_text("Ctrl+C")
            selected = await page.evaluate("document.getSelection().toString()")
            assert selected == LINES.replace("\r\n", "\n").replace("\r", "\n")
        await expect(page.locator("#hide")).to_have_text("Hide")
        await expect(page.locator("#status")).to_contain_text("cannot be used again")
        assert await violations_in_both_themes(page) == []


@pytest.mark.parametrize("kind", ["text", "text with a null character", "end to end"])
async def test_text_is_saved_with_its_bytes(
    browser: Browser, origin: str, sharing: Sharing, kind: str
) -> None:
    text = LINES + ("\0" if "null" in kind else "")
    encoded, ciphertext = sealed(text.encode())
    if kind == "end to end":
        _, [token] = await sharing.create(items=[], ciphertext_base64=ciphertext)
    else:
        _, [token] = await sharing.create(text.encode())
    permissions = ["clipboard-read", "clipboard-write"]
    async with page_of(browser, origin, "ERR_FAILED", permissions=permissions) as page:
        await page.goto(f"{token.url(origin)}.{encoded}")
        await reveal(page)
        await page.click("#copy")
        await expect(page.locator("#note")).to_have_text("Copied")
        if "null" not in kind:
            assert await page.evaluate("navigator.clipboard.readText()") == text
        assert await saved(page, "#save button") == ("secret.txt", text.encode())


@pytest.mark.parametrize("scripts", [True, False])
async def test_scanner_that_clicks_does_not_use_the_link(
    browser: Browser, origin: str, sharing: Sharing, scripts: bool
) -> None:
    """One scanner runs the scripts of the page, clicks every button and sends every form. The other
    requests the page and sends every form with its default values and the link.
    """
    _, [token] = await sharing.create()
    link = token.url(origin)
    if scripts:
        async with page_of(browser, origin, "status of 403") as page:
            await page.goto(link)
            for button in await page.query_selector_all("button, [role=button], a"):
                await button.click()
            await page.evaluate(
                "document.forms[0].dispatchEvent(new Event('submit', { cancelable: true }))"
            )
            await page.locator("[role=alert]").wait_for()
            async with page.expect_navigation():
                await page.evaluate("document.forms[0].submit()")
    else:
        async with httpx.AsyncClient(base_url=origin, timeout=60, trust_env=False) as client:
            page_text = (await client.get(f"/s/{token.path}")).text
            assert (await client.head(f"/s/{token.path}")).status_code == 200
            forms = re.findall(r'<form method="post" action="([^"]+)"', page_text)
            fields = dict(re.findall(r'<input [^>]*name="(\w+)"[^>]*? value="([^"]*)"', page_text))
            assert (len(forms), {*fields}) == (1, {"csrf", "claim", "link"})
            for action in (*forms, f"{forms[0]}/items/0"):
                for number in ("", "1"):
                    reply = await client.post(
                        action, data={**fields, "link": link, "number": number}
                    )
                    assert reply.status_code == 403
    assert (await sharing.secrets.get(token.secret_id)).links[token.link_id].uses == 0
    async with page_of(browser, origin) as page:
        await page.goto(link)
        await reveal(page)
        await expect(page.locator("#secret")).to_have_value(TEXT.decode())


OPENINGS = ["text", "end to end", "file", "passphrase", "several uses"]


async def create_for(sharing: Sharing, kind: str, origin: str) -> tuple[LinkToken, str]:
    """A secret, and its complete link."""
    if kind == "end to end":
        encoded, ciphertext = sealed(TEXT)
        _, [token] = await sharing.create(items=[], ciphertext_base64=ciphertext)
        return token, f"{token.url(origin)}.{encoded}"
    options: dict[str, dict[str, Any]] = {
        "file": {"items": [NewItem(TEXT, "secret.bin")]},
        "passphrase": {"passphrase": PASSPHRASE},
        "several uses": {"uses": 3},
    }
    _, [token] = await sharing.create(**options.get(kind, {}))
    return token, token.url(origin)


async def open_again(page: Page, kind: str) -> None:
    """Opens the link with what the page asks for, and compares the content."""
    if kind == "passphrase":
        await page.fill("#passphrase", PASSPHRASE)
        await page.click("button[type=submit]")
    if kind == "file":
        assert (await saved(page, "li button"))[1] == TEXT
    else:
        await expect(page.locator("#secret")).to_have_value(TEXT.decode())


# After the first reload, the page is the same with and without a lost response.
@pytest.mark.parametrize(
    ("kind", "is_lost"),
    [*((kind, True) for kind in OPENINGS), (OPENINGS[0], False), ("passphrase", False)],
)
async def test_opened_link_survives_reload_back_and_restart(
    browser: Browser, origin: str, sharing: Sharing, kind: str, is_lost: bool
) -> None:
    token, link = await create_for(sharing, kind, origin)
    async with page_of(browser, origin, "ERR_FAILED|status of 404") as page:
        page.on("dialog", lambda dialog: dialog.accept())

        async def lose(route: Route) -> None:
            assert (await route.fetch()).ok
            await route.abort()

        await page.goto(link)
        if is_lost:
            await page.route(f"**/s/{token.path}", lose, times=1)
        if kind == "passphrase":
            await page.fill("#passphrase", PASSPHRASE)
            await page.click("button[type=submit]")
        else:
            await reveal(page)
        shown = page.locator("#connection-lost" if is_lost else "#acknowledge")
        await shown.wait_for()
        for leave in (page.reload, page.reload):
            await leave()
            await open_again(page, kind)
            assert token.secret not in page.url
        await page.goto("about:blank")
        await page.go_back()
        await open_again(page, kind)
        # The browser is closed and opened again, with its cookies and without the tab.
        state = await page.context.storage_state()
        async with page_of(browser, origin, storage_state={**state, "origins": []}) as restarted:
            await restarted.goto(link)
            await open_again(restarted, kind)
        async with page_of(browser, origin, "status of 404") as stranger:
            await stranger.goto(link)
            is_open = kind == "several uses"
            await expect(stranger.locator("#not_found_title")).to_be_visible(visible=not is_open)
            await expect(stranger.locator("#secret")).to_have_count(0)
        assert (await sharing.secrets.get(token.secret_id)).links[token.link_id].uses == 1
        sharing.clock.advance(601)
        await page.reload()
        await expect(page.locator("#secret, #files")).to_have_count(0)


async def test_reload_after_the_opening_works_without_javascript(
    browser: Browser, origin: str, sharing: Sharing
) -> None:
    _, [token] = await sharing.create()
    async with page_of(browser, origin, java_script_enabled=False) as page:
        for _ in range(2):
            await page.goto(token.url(origin))
            await page.fill("#link", token.url(origin))
            if await page.is_visible("#number"):
                await page.fill("#number", (await page.inner_text("label[for=number]"))[-2:])
            await page.click("button[type=submit]")
            assert await page.input_value("#secret") == TEXT.decode()
            await page.goto("about:blank")
    assert (await sharing.secrets.get(token.secret_id)).links[token.link_id].uses == 1


async def test_submission_with_a_lost_response_is_confirmed_after_a_reload(
    browser: Browser, origin: str, sharing: Sharing
) -> None:
    _, token, link = await request(sharing)
    async with page_of(browser, origin, "ERR_FAILED") as page:
        dialogs: list[str] = []

        async def accept(dialog: Dialog) -> None:
            dialogs.append(dialog.type)
            await dialog.accept()

        async def lose(route: Route) -> None:
            assert (await route.fetch()).ok
            await route.abort()

        page.on("dialog", accept)
        await page.goto(token.url(origin))
        await page.fill("#text", "a secret")
        await page.reload()
        assert dialogs == ["beforeunload"]
        await page.fill("#text", "a secret")
        await page.route(f"**/r/{token.path}", lose, times=1)
        await page.click("button[type=submit]")
        await page.locator("#connection-lost").wait_for()
        await page.reload()
        await page.locator("#submitted").wait_for()
    assert await sharing.read(link) == b"a secret"
