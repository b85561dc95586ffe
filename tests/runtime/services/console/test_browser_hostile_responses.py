"""The web UI displays text in responses as text. Every text field of the generated responses
contains markup. `page_of` fails on script errors and violations of the content security policy.
"""

import re
from urllib.parse import urlencode

from playwright.async_api import Browser, Page

from tests.runtime.services.console.generated_responses import Responses
from tests.runtime.services.console.web_pages import (
    MARKS,
    PAGES,
    expand,
    loads_nothing,
    navigate,
    page_of,
    sign_in,
)

pytestmark = MARKS
TEXT = "javascript:alert(1)//" + "".join(
    (
        "<script>alert(1)</script><img src=x onerror=alert(1)>",
        "\"><svg/onload=alert(1)>'-alert(1)-'",
        "{{constructor.constructor('alert(1)')()}}javascript:alert(1)//",
        "</textarea></title><iframe srcdoc='<script>parent.alert(1)</script>'>",
        "<a href=javascript:alert(1)>",
    )
)
_FIELD = re.compile(r"\[(\w+\.\w+)\]")
_ELEMENTS = (
    "main :is(script, iframe, img, [onerror], [onload], [onfocus], [srcdoc]), "
    ":is([href^=javascript], [src^=javascript])"
)


class Checked:
    def __init__(self, page: Page) -> None:
        self.page = page
        self.shown: set[str] = set()
        self.problems: list[str] = []
        page.on("dialog", lambda dialog: self.problems.append(f"dialog {dialog.message}"))

    async def check(self, name: str) -> None:
        await loads_nothing(self.page)
        await expand(self.page)
        text = await self.page.locator("body").inner_text()
        values = await self.page.locator("input, textarea").evaluate_all(
            "(controls) => controls.map(({ value }) => value)"
        )
        self.shown |= set(_FIELD.findall(text + "".join(values)))
        if await self.page.locator(_ELEMENTS).count():
            self.problems.append(name)


async def test_markup_in_every_field_of_a_response_is_displayed_as_text(
    browser: Browser, origin: str
) -> None:
    async with page_of(browser, origin, r"status of [45]\d\d") as page:
        checked = Checked(page)
        await sign_in(page)
        await page.route("**/v1/**", Responses(lambda field: f"{TEXT}[{field}]").replace)
        names = ("key", "secret", "request", "customer", "plan", "limit")
        ids = dict.fromkeys(names, "3fGh82kLmQ0a")
        queries = {
            f"{path}?{name}": f"{path}?{urlencode({name: TEXT})}"
            for path, name in (("/keys", "search"), ("/audit", "actor_id"), ("/usage", "core"))
        }
        for name, path in (PAGES | queries).items():
            await navigate(page, path.format(**ids))
            await checked.check(name)
    assert checked.problems == []
    assert {"WebhookView.url", "KeyView.name", "AuditEventView.target_id"} <= checked.shown
    assert len(checked.shown) > 40
