"""Recipient pages and the link API over HTTP: only a POST request counts as a use."""

import html
import re
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from gatehouse.features.secrets.link_token import LinkToken
from gatehouse.features.secrets.service import NewItem

from tests.runtime.features.secrets.services import ORIGIN, TEXT, Sharing

SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}
PASSPHRASE = "a long passphrase"


def hidden(page: str) -> dict[str, str]:
    return {
        name: html.unescape(value)
        for name, value in re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page)
    }


def number(page: str) -> dict[str, str]:
    """The number that the page asks for, if it does."""
    match = re.search(r'<label for="number">[^<]*(\d\d)', page)
    return {} if match is None else {"number": match[1]}


def shown(page: str) -> str:
    match = re.search(r"<textarea[^>]*>\n(.*)</textarea>", page, re.DOTALL)
    assert match is not None
    return html.unescape(match[1])


def url(token: LinkToken) -> str:
    return token.url(ORIGIN)


async def submit(
    browser: httpx.AsyncClient, token: LinkToken, passphrase: str = "", **changes: Any
) -> httpx.Response:
    page = await browser.get(f"/s/{token.path}")
    form = {
        **hidden(page.text),
        **number(page.text),
        "link": url(token),
        **({"passphrase": passphrase} if passphrase else {}),
        **changes.pop("form", {}),
    }
    return await browser.post(
        f"/s/{token.path}", data=form, headers=SAME_ORIGIN | changes.pop("headers", {})
    )


async def uses(sharing: Sharing, token: LinkToken) -> int:
    return (await sharing.secrets.get(token.secret_id)).links[token.link_id].uses


async def test_form_reveals_the_text_once(browser: httpx.AsyncClient, sharing: Sharing) -> None:
    _, [token] = await sharing.create(b"<img src=x onerror=alert(1)>\nline")
    reply = await submit(browser, token)
    assert (reply.status_code, shown(reply.text)) == (200, "<img src=x onerror=alert(1)>\nline")
    assert "<img" not in reply.text
    assert reply.headers["cache-control"] == "no-store"
    # The same browser opens the link again, without a number and without another use.
    page = await browser.get(f"/s/{token.path}")
    assert (page.status_code, number(page.text)) == (200, {})
    assert shown((await submit(browser, token)).text) == shown(reply.text)
    assert await uses(sharing, token) == 1
    sharing.clock.advance(600)
    assert (await browser.get(f"/s/{token.path}")).status_code == 404


async def test_another_browser_gets_nothing_after_the_opening(
    browser: httpx.AsyncClient, sharing: Sharing
) -> None:
    _, [token] = await sharing.create()
    page = await browser.get(f"/s/{token.path}")
    claimed = {**hidden(page.text), **number(page.text), "link": url(token)}
    assert (await submit(browser, token)).status_code == 200
    browser.cookies.clear()
    assert (await browser.get(f"/s/{token.path}")).status_code == 404
    denied = await browser.post(f"/s/{token.path}", data=claimed, headers=SAME_ORIGIN)
    assert denied.status_code == 403


async def test_confirmed_receipt_ends_the_repetitions(
    browser: httpx.AsyncClient, sharing: Sharing
) -> None:
    _, [token] = await sharing.create()
    form = hidden((await submit(browser, token)).text)
    done = await browser.post(f"/s/{token.path}/acknowledge", data=form, headers=SAME_ORIGIN)
    assert done.status_code == 200
    assert (await browser.get(f"/s/{token.path}")).status_code == 404


async def test_browser_uses_a_link_again_after_its_claim(
    browser: httpx.AsyncClient, sharing: Sharing
) -> None:
    _, [token] = await sharing.create(uses=2, ttl_s=86_400)
    for expected in (1, 1, 2, 2):
        assert (await submit(browser, token)).status_code == 200
        assert await uses(sharing, token) == expected
        sharing.clock.advance(400)


async def test_cookie_of_a_page_is_limited_to_it(
    browser: httpx.AsyncClient, sharing: Sharing
) -> None:
    _, [token] = await sharing.create()
    reply = await browser.get(f"/s/{token.path}")
    [cookie] = [c for c in reply.headers.get_list("set-cookie") if c.startswith("__Secure-form=")]
    expected = f"HttpOnly; Max-Age=86400; Path=/s/{token.path}; SameSite=strict; Secure"
    assert cookie.partition("; ")[2] == expected


async def test_passphrase_errors_are_shown_on_the_page(
    browser: httpx.AsyncClient, sharing: Sharing
) -> None:
    _, [token] = await sharing.create(passphrase=PASSPHRASE)
    assert 'name="passphrase"' in (await browser.get(f"/s/{token.path}")).text
    missing, wrong = await submit(browser, token), await submit(browser, token, "wrong passphrase")
    assert [(reply.status_code, 'role="alert"' in reply.text) for reply in (missing, wrong)] == [
        (403, True),
        (403, True),
    ]
    for _ in range(4):
        await submit(browser, token, "wrong passphrase")
    sharing.clock.advance(30.75)
    locked = await submit(browser, token, PASSPHRASE)
    assert (locked.status_code, locked.headers["retry-after"], await uses(sharing, token)) == (
        429,
        "570",
        0,
    )
    assert "Try again in 10 minutes." in locked.text


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("../../etc/passwd", "passwd"),
        ("a\r\nSet-Cookie: x=1", "aSet-Cookie%3A%20x%3D1"),
        ("\u202egnp.exe", "gnp.exe"),
        (".env", ".env"),
        ("\u0646\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", quote("نمی\u200cخواهم")),
        ("-rf .", "rf"),
        ("...", "secret.txt"),
    ],
)
async def test_file_is_always_an_attachment(
    browser: httpx.AsyncClient, sharing: Sharing, name: str, expected: str
) -> None:
    content = b"<script>alert(1)</script>" * 10_000
    _, [token] = await sharing.create(items=[NewItem(content, name, "text/html")])
    form = hidden((await submit(browser, token)).text)
    reply = await browser.post(f"/s/{token.path}/items/0", data=form, headers=SAME_ORIGIN)
    assert (reply.status_code, reply.content) == (200, content)
    assert reply.headers["content-disposition"] == f"attachment; filename*=UTF-8''{expected}"
    assert reply.headers["content-type"] == "application/octet-stream"
    assert reply.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert reply.headers["x-content-type-options"] == "nosniff"


async def test_text_with_files_is_shown_with_a_download_for_each(
    browser: httpx.AsyncClient, sharing: Sharing
) -> None:
    _, [token] = await sharing.create(
        items=[NewItem(TEXT), NewItem(b"a" * 70_000, "a.bin"), NewItem(b"b", "b<i>.bin")]
    )
    reply = await submit(browser, token)
    assert shown(reply.text) == TEXT.decode()
    form = hidden(reply.text)
    for number, content in ((1, b"a" * 70_000), (2, b"b")):
        file = await browser.post(f"/s/{token.path}/items/{number}", data=form, headers=SAME_ORIGIN)
        assert (file.status_code, file.content) == (200, content)
    assert "<i>" not in reply.text
    assert await uses(sharing, token) == 1
    done = await browser.post(f"/s/{token.path}/acknowledge", data=form, headers=SAME_ORIGIN)
    late = await browser.post(f"/s/{token.path}/items/1", data=form, headers=SAME_ORIGIN)
    assert (done.status_code, late.status_code) == (200, 404)


@pytest.mark.parametrize(
    "body", ["link=a&link=b&csrf=x&claim=y", "link=%ff%fe", "unknown=1", "x" * 9000]
)
async def test_malformed_form_is_rejected_with_a_page(
    browser: httpx.AsyncClient, sharing: Sharing, body: str
) -> None:
    _, [token] = await sharing.create()
    reply = await browser.post(
        f"/s/{token.path}",
        content=body,
        headers={"Content-Type": "application/x-www-form-urlencoded", **SAME_ORIGIN},
    )
    assert reply.status_code in (400, 403, 413)
    assert "<h1>" in reply.text
    assert await uses(sharing, token) == 0


async def test_program_opens_a_link(browser: httpx.AsyncClient, sharing: Sharing) -> None:
    _, [token] = await sharing.create(
        items=[NewItem(TEXT), NewItem(b"\x00\xff", "key.bin")], passphrase=PASSPHRASE
    )
    looked_up = (await browser.post("/v1/links/lookup", json={"link": url(token)})).json()
    assert (looked_up["sender"], looked_up["uses"], looked_up["passphrase"]) == ("Ada", 0, True)
    assert (await browser.post("/v1/links/open", json={"link": url(token)})).json()[
        "code"
    ] == "passphrase_required"
    opened = (
        await browser.post("/v1/links/open", json={"link": url(token), "passphrase": PASSPHRASE})
    ).json()
    assert (opened["items"][0]["text"], opened["items"][1]["content_base64"]) == (
        TEXT.decode(),
        "AP8=",
    )
    again = {"link": url(token), "passphrase": PASSPHRASE, "claim": opened["claim"]}
    assert (await browser.post("/v1/links/open", json=again)).json() == opened
    acknowledged = {"link": again["link"], "claim": again["claim"]}
    assert (await browser.post("/v1/links/acknowledge", json=acknowledged)).status_code == 204
    assert (await browser.post("/v1/links/open", json=again)).status_code == 404
