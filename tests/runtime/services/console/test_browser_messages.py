"""Problems of forms: each at its field and once, in the words of people."""

import re

import pytest
from playwright.async_api import Browser, expect

from tests.runtime.services.console.test_messages import readable
from tests.runtime.services.console.web_pages import MARKS, page_of, sign_in

pytestmark = MARKS

FORMS = [
    (
        "/keys/new",
        "Create key",
        {"Name": "a\u202eb", "Tags": "Ä Ö", "Scopes": "Bad!", "Notes": "a\u202eb"},
    ),
    (
        "/new-customer",
        "Create customer",
        {"ID": "-a-", "Name": "a\u202eb", "Tags": "Ä", "Contact": "a b"},
    ),
    ("/new-plan", "Create plan", {"Name": "Ä", "Description": "a\u202eb", "Scopes": "Bad!"}),
    ("/new-limit", "Create limit", {"Name": "Ä", "Description": "a\u202eb", "Requests": "5"}),
    ("/secrets/request", "Request a secret", {"Purpose": "a\u202eb", "Requester": "a\u202eb"}),
]


@pytest.mark.parametrize(("path", "button", "values"), FORMS, ids=[form[0] for form in FORMS])
async def test_each_problem_is_shown_once_at_its_field(
    browser: Browser, origin: str, path: str, button: str, values: dict[str, str]
) -> None:
    async with page_of(browser, origin, "status of 400") as page:
        await sign_in(page, path)
        for label, value in values.items():
            await page.get_by_label(label, exact=True).first.fill(value)
        before = await page.locator("#main").inner_text()
        await page.get_by_role("button", name=button).click()
        alert = page.locator("#main").get_by_role("alert")
        await expect(alert).to_contain_text("Correct the marked fields.")
        await expect(alert.locator("li")).to_have_count(0)
        wrong = [label for label, value in values.items() if value != "5"]
        for label in wrong:
            control = page.get_by_label(label, exact=True).first
            await expect(control).to_have_attribute("aria-invalid", "true")
        await expect(page.locator(".field-error")).to_have_count(len(wrong))
        added = set((await page.locator("#main").inner_text()).splitlines()) - {
            *before.splitlines()
        }
        text = "\n".join(added)
        readable(text)
        assert not re.search(r"\b(?:body|query)\.", text)
        for error in await page.locator(".field-error").all():
            sentences = (await error.inner_text()).strip().splitlines()
            assert len(sentences) == len(set(sentences))
            assert sentences[0][0].isupper()
