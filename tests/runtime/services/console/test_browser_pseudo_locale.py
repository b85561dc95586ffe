"""The web UI in a pseudo-locale: all text is from the catalogue, and longer text fits 320 pixels.

The pseudo-locale replaces the texts of the catalogue in the built script. Its text is the English
text with accents, 40 % longer and in brackets. The browser puts formatted numbers and times into
brackets too. A word outside of brackets is a value from a response, or text that is not from the
catalogue.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from gatehouse.core.roles import Role
from gatehouse.services.console.web import WebFiles
from playwright.async_api import Browser, Page, Route, expect

from tests.runtime.console_client import BOOTSTRAP, Console
from tests.runtime.features.sharing.conftest import aws, module_services, sharing
from tests.runtime.services.console.test_browser_pages import create_data
from tests.runtime.services.console.test_browser_screens import console
from tests.runtime.services.console.web_pages import MARKS, PAGES, navigate, page_of
from tests.runtime.services.sharing.chromium import serving

__all__ = ["aws", "console", "module_services", "sharing"]

pytestmark = MARKS
CATALOGUE = Path(__file__).resolve().parents[4] / "runtime/web/src/locales/en.ts"
_ENTRY = re.compile(r"^  '([\w.-]+)':\s+'((?:[^'\\]|\\.)*)',$", re.MULTILINE)
_ACCENTS = str.maketrans("aceinouyAEINOUY", "áçéíñóúýÁÉÍÑÓÚÝ")
_LONGER = 0.4
_BRACKETS = "\u27e6\u27e7"
#: A text of the catalogue in the built script.
_BUILT_ENTRY = re.compile(r"""(?<=['"`])([\w.-]+)(['"`]:)(['"`])(?:(?!\3)[^\\]|\\.)*\3""")
#: Units, and values of the API, which are not in the catalogue.
_COMMON = {
    *(
        "kib",
        "mib",
        "gib",
        "get",
        "post",
        "put",
        "patch",
        "delete",
        "head",
        "options",
        "ndjson",
        "csv",
        "debug",
        "warning",
        "error",
    ),
    *(word for role in Role for word in role.value.split(":")),
}

_FORMATS = f"""
for (const name of ['DateTimeFormat', 'NumberFormat', 'RelativeTimeFormat']) {{
  Intl[name] = class extends Intl[name] {{
    format(...values) {{ return '{_BRACKETS[0]}' + super.format(...values) + '{_BRACKETS[1]}' }}
  }}
}}
"""

_TEXTS = """() => {
  document.querySelectorAll('details').forEach((details) => { details.open = true })
  const found = [document.title]
  const isSkipped = (element) => element.closest('script, style, noscript, svg title, body [lang], code, pre, .mono')
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  while (walker.nextNode()) {
    if (!isSkipped(walker.currentNode.parentElement)) found.push(walker.currentNode.data)
  }
  for (const element of document.body.querySelectorAll('*')) {
    for (const name of ['aria-label', 'title', 'placeholder', 'alt']) {
      if (element.hasAttribute(name) && !isSkipped(element)) found.push(element.getAttribute(name))
    }
  }
  return found
}"""  # noqa: E501

#: Elements beyond the right edge, except those in an element that can be scrolled, and text that is
#: cut off.
_OVERFLOW = """() => [...document.body.querySelectorAll('*')].filter((element) => {
  const scrolls = (parent) => ['auto', 'scroll'].includes(getComputedStyle(parent).overflowX)
  const scrolled = (parent) => parent && (scrolls(parent) || scrolled(parent.parentElement))
  const style = getComputedStyle(element)
  const box = element.getBoundingClientRect()
  const hidden = '.visually-hidden, svg, option, .cards thead:not(:has(.sort))'
  const isHidden = element.closest(hidden) || !box.width || style.visibility === 'hidden'
  const isCut = style.overflowX === 'hidden' && element.scrollWidth > element.clientWidth + 1
  return !isHidden && (isCut || box.right > innerWidth + 1) && !scrolled(element.parentElement)
}).map((element) => element.outerHTML.slice(0, 200))"""


def pseudo(text: str) -> str:
    """The text with accents, 40 % longer, in brackets. Placeholders such as `{name}` remain."""
    parts = re.split(r"(\{\w+\})", text)
    accented = "".join(part if part.startswith("{") else part.translate(_ACCENTS) for part in parts)
    return (
        f"{_BRACKETS[0]}{accented} {'lóñgér ' * round(len(text) * _LONGER / 7 + 0.5)}{_BRACKETS[1]}"
    )


def catalogue() -> dict[str, str]:
    source = CATALOGUE.read_text(encoding="utf-8")
    entries = {key: text.replace("\\'", "'") for key, text in _ENTRY.findall(source)}
    assert len(entries) == len(re.findall(r"^  '[\w.-]+':", source, re.MULTILINE)) > 300
    return entries


def words(value: Any) -> Iterator[str]:
    """Words in the values of a JSON document."""
    if isinstance(value, str):
        yield from re.findall(r"[^\W\d_]{2,}", value.lower())
    for item in (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    ):
        yield from words(item)


class Recorder:
    """An ASGI application that collects the words in the API responses of another one."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.origin = ""
        self.words: set[str] = set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = bytearray()

        async def record(message: Any) -> None:
            body.extend(message.get("body", b""))
            if not message.get("more_body") and body.startswith(b"{"):
                self.words |= set(words(json.loads(body)))
            await send(message)

        await self._app(scope, receive, record if scope["path"].startswith("/v1/") else send)


@pytest.fixture
async def recorder(console: Console) -> AsyncIterator[Recorder]:
    created = Recorder(console.application(console_url=""))
    async with serving(created) as created.origin:
        yield created


class Texts:
    """Checks what a page shows. `problems`: unknown text and elements that do not fit, by state of
    the page.
    """

    def __init__(self, page: Page, recorder: Recorder) -> None:
        self.page = page
        self._recorder = recorder
        self.problems: dict[str, list[str]] = {}

    async def check(self, name: str) -> None:
        """Checks the current state of the page."""
        page = self.page
        await expect(page.locator("[aria-busy=true], .loading")).to_have_count(0)
        found: list[str] = await page.evaluate(_TEXTS)
        assert any(text.startswith(_BRACKETS[0]) for text in found), name
        unknown = [
            text.strip()
            for text in found
            if set(words(_outside(text))) - self._recorder.words - _COMMON
        ]
        overflow: list[str] = await page.evaluate(_OVERFLOW)
        if await page.evaluate("document.documentElement.scrollWidth") > 320:
            overflow.append("the page")
        if unknown or overflow:
            self.problems[name] = [*unknown, *overflow]


def _outside(text: str) -> str:
    """The text without the parts in brackets, which can be nested."""
    previous = ""
    while text != previous:
        previous, text = text, re.sub(f"{_BRACKETS[0]}[^{_BRACKETS}]*{_BRACKETS[1]}", " ", text)
    return text


@asynccontextmanager
async def pseudo_page(browser: Browser, recorder: Recorder) -> AsyncIterator[Texts]:
    """A page in the pseudo-locale, 320 pixels wide."""
    scripts = {
        name: file.content.decode()
        for name, file in WebFiles.read().assets.items()
        if name.endswith(".js")
    }
    texts = catalogue()
    [name] = [
        name
        for name, script in scripts.items()
        if set(texts) <= {entry[1] for entry in _BUILT_ENTRY.finditer(script)}
    ]

    def replace_text(entry: re.Match[str]) -> str:
        key, separator = entry[1], entry[2]
        return f"{key}{separator}{json.dumps(pseudo(texts[key]))}" if key in texts else entry[0]

    module = _BUILT_ENTRY.sub(replace_text, scripts[name])

    async def fulfill(route: Route) -> None:
        await route.fulfill(body=module, content_type="text/javascript")

    async with page_of(
        browser, recorder.origin, r"status of [45]\d\d", viewport={"width": 320, "height": 640}
    ) as page:
        await page.add_init_script(_FORMATS)
        await page.route(f"**/assets/{name}", fulfill)
        yield Texts(page, recorder)


async def check_dialogs_and_results(texts: Texts, ids: dict[str, str]) -> None:
    """Checks forms that are open, dialogs, errors and values that are shown once."""
    page = texts.page
    await page.goto(f"/keys/{ids['key']}")
    actions = page.locator(".page-head button")
    await expect(actions).to_have_count(5)
    for index in range(await actions.count()):
        await actions.nth(index).click()
        await texts.check(f"action {index} of a key")
        await page.reload()
        await expect(actions.first).to_be_visible()
    for path in ("/keys/new", "/secrets/new", "/secret-requests/new"):
        await page.goto(path)
        form = page.locator("main form")
        await form.locator("textarea, input:not([type])").first.fill("nightly")
        await form.locator("button.primary").click()
        await expect(page.locator("input[readonly]").first).to_be_visible()
        await texts.check(f"result of {path}")


async def test_every_text_is_from_the_catalogue_and_fits(
    browser: Browser, recorder: Recorder, console: Console
) -> None:
    ids = await create_data(console)
    async with pseudo_page(browser, recorder) as texts:
        page = texts.page
        await page.goto("/sign-in?failure=configuration")
        await expect(page.get_by_role("alert")).to_be_visible()
        await texts.check("sign-in")
        await page.locator("input[type=password]").fill(BOOTSTRAP)
        await page.keyboard.press("Enter")
        await expect(page.locator("nav")).to_be_attached()
        for path in PAGES.values():
            await navigate(page, path.format(**ids))
            await texts.check(path)
        await check_dialogs_and_results(texts, ids)
    assert texts.problems == {}
