"""The documentation site: links, navigation, search, accessibility, no requests to other hosts."""

import functools
import http.server
import json
import re
import threading
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

import pytest
from axe_playwright_python.async_playwright import Axe
from gatehouse.core.errors import SettingsError
from gatehouse.platform.web.problems import problem_type
from gatehouse.services.gateway.credentials import DENIALS
from gatehouse_policies.catalogue import PACKS, RULES
from playwright.async_api import Page

from tests.runtime.platform.web.test_problems import ERRORS
from tools import chromium
from tools.site import build

pytestmark = pytest.mark.slow

NARROW, WIDE = 360, 1280
_ID = re.compile(r'\bid="([^"]+)"')
_LINK = re.compile(r'<(?:a|link|script|img)\b[^>]*?\b(?:href|src)="([^"]*)"')


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build.build(folder)
    return folder / "html"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, str]:
    found = {path: path.read_text() for path in site.rglob("*.html")}
    assert len(found) > 90
    return found


def test_links_have_targets(site: Path, pages: dict[Path, str]) -> None:
    anchors = {path: {*map(unescape, _ID.findall(text))} for path, text in pages.items()}
    broken, total = [], 0
    for page, text in pages.items():
        for link in map(unescape, _LINK.findall(text)):
            if link.startswith(("https://", "http://", "data:")):
                continue
            total += 1
            file, _, anchor = link.partition("#")
            path = unquote(file.partition("?")[0])
            target = (page.parent / path).resolve() if path else page
            if not target.is_file() or (
                anchor and target in anchors and unquote(anchor) not in anchors[target]
            ):
                broken.append(f"{page.relative_to(site)}: {link}")
    assert total > 5000
    assert broken == []


def test_every_problem_type_has_a_section(site: Path) -> None:
    """The setting `docs_url` makes it the `type` of problem documents."""
    codes = {each.code for each in ERRORS.values() if each is not SettingsError} | {*DENIALS}
    types = {problem_type(code, str(site)).partition("#") for code in codes}
    assert len(types) > 40
    ids = {page: _ID.findall(Path(page).read_text()) for page, _, _ in types}
    assert [section for page, _, section in types if section not in ids[page]] == []


def test_navigation_contains_every_page(site: Path, pages: dict[Path, str]) -> None:
    sidebar = pages[site / "index.html"].partition('class="sidebar-tree"')[2].partition("</div>")[0]
    captions = re.findall(r'class="caption-text">([^<]+)<', sidebar)
    assert captions[:2] == ["Get started", "Protect a service"]
    assert captions[-1] == "Reference"
    linked = {(site / link).resolve() for link in re.findall(r'href="([^"#]+)', sidebar)}
    without_entry = {"index.html", "search.html", "genindex.html"}
    assert {str(path.relative_to(site)) for path in {*pages} - linked} - without_entry == set()


@pytest.mark.parametrize("service", build.SERVICES)
def test_reference_has_every_operation_and_schema(site: Path, service: str) -> None:
    text = (site / f"docs/api/{service}.html").read_text()
    ids, document = {*_ID.findall(text)}, build.SERVICES[service]()
    operations = [
        f"{service}-{operation['operationId']}"
        for methods in document["paths"].values()
        for operation in methods.values()
    ]
    schemas = [f"{service}-schema-{name}" for name in document["components"]["schemas"]]
    assert len(operations) > 3
    expected = {name.lower().replace("_", "-") for name in operations + schemas}
    assert expected - ids == set()
    copies = list((site / "_downloads").rglob(f"{service}.json"))
    assert [json.loads(copy.read_text()) for copy in copies] == [document]


def test_catalogue_shows_reason_and_remedy_of_each_control(site: Path) -> None:
    overview = (site / "docs/policies.html").read_text()
    texts = {pack: (site / f"docs/controls/{pack}.html").read_text() for pack in PACKS}
    assert len(RULES) > 200
    for rule in RULES:
        name = rule.id.lower()
        assert f'href="controls/{rule.pack}.html#{name}"' in overview, rule.id
        section = texts[rule.pack].partition(f'id="{name}"')[2].partition("<section")[0]
        assert f'href="{rule.url}"' in section, rule.id
        assert ">Remedy<" in section.replace("<p>", "").replace("</p>", ""), rule.id


class _Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """No output."""


@pytest.fixture
def url(site: Path) -> Iterator[str]:
    handler = functools.partial(_Files, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


PAGES: tuple[tuple[str, Literal["light", "dark"], int], ...] = (
    ("index.html", "light", WIDE),
    ("docs/architecture.html", "dark", WIDE),
    ("docs/api/gateway.html", "light", NARROW),
    ("docs/policies.html", "dark", NARROW),
    ("search.html?q=rotate", "light", NARROW),
)


def recorded_requests(page: Page) -> list[str]:
    urls: list[str] = []
    page.on("request", lambda request: urls.append(request.url))
    return urls


async def test_pages_are_accessible_and_request_no_other_host(url: str) -> None:
    async with chromium.playwright() as playwright:
        browser = await chromium.launch(playwright.chromium)
        for path, scheme, width in PAGES:
            size = {"width": width, "height": 900}
            page = await browser.new_page(color_scheme=scheme, viewport=size)  # type: ignore[arg-type]
            requests = recorded_requests(page)
            await page.goto(f"{url}/{path}", wait_until="networkidle")
            if "search" in path:
                await page.locator("#search-results li a").first.wait_for()
            if await page.locator("pre.mermaid").count():
                await page.locator("pre.mermaid svg").last.wait_for()
            results = await Axe().run(page)
            found = [
                (row["id"], node["html"])
                for row in results.response["violations"]
                for node in row["nodes"]
            ]
            assert found == [], path
            assert await page.evaluate("document.documentElement.scrollWidth") <= width, path
            assert len(requests) > 3
            local = (f"{url}/", "data:", "blob:")
            assert [request for request in requests if not request.startswith(local)] == []
            await page.close()
        await browser.close()
