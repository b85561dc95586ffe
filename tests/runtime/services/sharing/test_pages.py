"""What the pages for links and for secret requests have in common."""

import gzip
import re
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from gatehouse.core.actor import Actor
from gatehouse.features.secrets.link_token import LinkToken
from gatehouse.features.secrets.schemas import FILES_MAX, CreateSecret
from gatehouse.features.secrets.service import NewItem
from gatehouse.services.sharing.pages import PAGES

from tests.runtime.features.secret_requests.test_service import request
from tests.runtime.features.secrets.services import ORIGIN, TEXT, Sharing
from tests.runtime.services.sharing import test_submitters
from tests.runtime.services.sharing.test_recipients import (
    PASSPHRASE,
    SAME_ORIGIN,
    hidden,
    number,
    submit,
)

Submit = Callable[..., Awaitable[httpx.Response]]


async def create(sharing: Sharing, kind: str) -> tuple[str, LinkToken, Submit]:
    """Return the path of a page, the link, and a function that submits the form of the page."""
    if kind == "s":
        _, [token] = await sharing.create(sender="Ada <b>", label="canary", recipients=("canary",))
        return f"/s/{token.path}", token, submit
    values: dict[str, Any] = {
        "requester": "Ada <b>",
        "purpose": "<i>first\nsecond",
        "label": "canary",
    }
    _, token, _ = await request(sharing, **values)
    return f"/r/{token.path}", token, test_submitters.submit


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("kind", ["s", "r"])
async def test_reading_a_page_changes_nothing(
    browser: httpx.AsyncClient, sharing: Sharing, kind: str, method: str
) -> None:
    path, token, _ = await create(sharing, kind)
    before = await sharing.secrets.get(token.secret_id)
    reply = await browser.request(method, path)
    assert (reply.status_code, await sharing.secrets.get(token.secret_id)) == (200, before)
    assert "canary" not in reply.text
    if method == "GET":
        assert "Ada &lt;b&gt;" in reply.text
        assert ("&lt;i&gt;first\nsecond" in reply.text) == (kind == "r")
        assert re.search(r"20\d\d-\d\d-\d\d \d\d:\d\d UTC", reply.text)


@pytest.mark.parametrize(
    ("creator", "name", "verified"),
    [
        ("person", "", True),
        ("person", "Ada (verified)", False),
        ("person", "person:grace", False),
        ("key", "", False),
        ("key", "person:ada", False),
    ],
)
async def test_only_the_identity_of_a_signed_in_person_is_verified(
    browser: httpx.AsyncClient, sharing: Sharing, creator: Any, name: str, verified: bool
) -> None:
    actor = Actor(creator, "ada")
    new = CreateSecret(text="text", sender=name)
    _, [token] = await sharing.secrets.create(new, actor.label, actor)
    page = (await browser.get(f"/s/{token.path}")).text
    lookup = await browser.post("/v1/links/lookup", json={"link": token.url(ORIGIN)})
    assert (PAGES.texts["en"]["verified"] in page, PAGES.texts["en"]["unverified"] in page) == (
        verified,
        not verified,
    )
    assert ("<dd>ada<br>" in page, lookup.json()["sender_verified"]) == (verified, verified)


@pytest.mark.parametrize("kind", ["s", "r"])
async def test_form_of_another_site_is_denied(
    browser: httpx.AsyncClient, sharing: Sharing, kind: str
) -> None:
    path, token, submit_form = await create(sharing, kind)
    content: dict[str, Any] = {"text": "text"} if kind == "r" else {}
    before = await sharing.secrets.get(token.secret_id)
    forms: list[dict[str, Any]] = [
        {"headers": {"Sec-Fetch-Site": "cross-site"}},
        {"headers": {"Sec-Fetch-Site": "none"}},
        {"form": {"csrf": "x" * 32}},
        {"form": {"csrf": ""}},
    ]
    replies = [await submit_form(browser, token, **content, **form) for form in forms]
    form = hidden(page := (await browser.get(path)).text) | number(page)
    form |= {"link": token.url(ORIGIN), **content}
    browser.cookies.clear()  # the page sets the cookie
    encoded: dict[str, Any] = (
        {"files": test_submitters.multipart([*form.items()])} if kind == "r" else {"data": form}
    )
    replies.append(await browser.post(path, headers=SAME_ORIGIN, **encoded))
    assert [reply.status_code for reply in replies] == [403] * 5
    assert not [reply for reply in replies if token.secret in reply.text]
    assert await sharing.secrets.get(token.secret_id) == before


@pytest.mark.parametrize("language", PAGES.texts)
async def test_pages_have_a_strict_policy_and_fit_the_budget(
    sharing: Sharing, language: str
) -> None:
    files = [NewItem(b"content", f"{number}{'x' * 200}.bin") for number in range(FILES_MAX - 1)]
    _, [token] = await sharing.create(items=[NewItem(TEXT), *files], passphrase=PASSPHRASE)
    _, submission, _ = await request(sharing)
    async with sharing.client() as browser:
        browser.headers["Accept-Language"] = language
        pages = [
            await browser.get(path)
            for path in ("/", f"/s/{token.path}", f"/r/{submission.path}", "/s/unknown")
        ]
        pages += [
            await submit(browser, token, "wrong passphrase"),
            await submit(browser, token, PASSPHRASE),
        ]
        static = [await browser.get(path) for path in ("/share.css", "/share.js")]
    assert [page.status_code for page in pages] == [200, 200, 200, 404, 403, 200]
    static_bytes = sum(len(gzip.compress(part.content)) for part in static)
    for page in pages:
        policy = page.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy
        assert "trusted-types 'none'" in policy
        assert re.findall(r'(?:href|src)="([^"]+)"', page.text) == ["/share.css", "/share.js"]
        assert len(gzip.compress(page.content)) + static_bytes < 12_000


def test_languages_have_the_same_texts_and_placeholders() -> None:
    placeholders = {name: re.findall(r"{\w+}", text) for name, text in PAGES.texts["en"].items()}
    assert set(PAGES.texts) == {"en", "de"}
    assert {
        name: re.findall(r"{\w+}", text) for name, text in PAGES.texts["de"].items()
    } == placeholders


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", "en"),
        ("de-CH,de;q=0.9,en;q=0.8", "de"),
        ("fr, en;q=0.5, de;q=0.4", "en"),
        ("de;q=x", "en"),
        ("," * 999, "en"),
    ],
)
def test_language_follows_the_browser(header: str, expected: str) -> None:
    assert PAGES.language(header) == expected
