"""Between the press of a button and the result: Cancel, leaving the page, and lost responses. The
forms are those of test_browser_forms.py.
"""

from playwright.async_api import Browser, expect

from tests.runtime.console_client import Console
from tests.runtime.services.console.test_browser_forms import LOST, held
from tests.runtime.services.console.web_pages import (
    MARKS,
    loads_nothing,
    navigate,
    page_of,
    shows,
    shows_heading,
    sign_in,
)

pytestmark = MARKS


async def test_cancel_ends_the_revocation_of_several_keys(
    browser: Browser, origin: str, console: Console
) -> None:
    for _ in range(12):
        await console.create(name="many", customer_id="bulk")
    async with page_of(browser, origin) as page:
        await sign_in(page, "/keys?customer=bulk")
        await page.get_by_label("Select all keys on this page").check()
        await page.get_by_role("button", name="Revoke").click()
        dialog = page.get_by_role("dialog")
        async with held(page) as released:
            await dialog.get_by_role("button", name="Revoke").click()
            await expect(dialog.get_by_role("status")).to_have_text("0 of 12 done")
            await dialog.get_by_role("button", name="Cancel").click()
            await expect(dialog.get_by_role("button", name="Cancel")).to_be_disabled()
            released.set()
            await shows(page, "Cancelled. Keys changed: 5 of 12")
            await shows(page, "Keys selected: 7")
            await loads_nothing(page)
        revoked = await console.get("/v1/keys", params={"customer": "bulk", "state": "revoked"})
        assert len(revoked.json()["keys"]) == 5
        await page.get_by_role("button", name="Revoke").click()
        await dialog.get_by_role("button", name="Revoke").click()
        await shows(page, "Keys changed: 7")
        await loads_nothing(page)


async def test_leaving_while_a_key_is_created_asks_first(
    browser: Browser, origin: str, console: Console
) -> None:
    async with page_of(browser, origin) as page:
        await sign_in(page, "/keys")
        await navigate(page, "/keys/new")
        await page.get_by_label("Name", exact=True).fill("created in flight")
        question = page.get_by_role("dialog").filter(has_text="A request is in progress.")
        async with held(page) as released:
            await page.get_by_role("button", name="Create key").click()
            await page.get_by_role("link", name="Usage", exact=True).click()
            await question.wait_for()
            await question.get_by_role("button", name="Cancel").click()
            await page.go_back()
            await question.wait_for()
            released.set()
            await page.locator("section", has_text="created in flight created").wait_for()
            await question.get_by_role("button", name="Leave page").click()
        again = page.get_by_role("dialog").filter(has_text="The page shows a value")
        await again.get_by_role("button", name="Cancel").click()
        await page.get_by_label("Token", exact=True).wait_for()
        await page.get_by_role("button", name="I have stored the token").click()
        await shows_heading(page, "created in flight")


async def test_changed_form_after_a_lost_response_is_not_sent_silently(
    browser: Browser, origin: str, console: Console
) -> None:
    async def created() -> int:
        reply = await console.get("/v1/keys", params={"tag": "lost"})
        return len(reply.json()["keys"])

    async with page_of(browser, origin, LOST) as page:
        await sign_in(page, "/keys/new")
        name, create = (
            page.get_by_label("Name", exact=True),
            page.get_by_role("button", name="Create key"),
        )
        await page.get_by_label("Tags").fill("lost")
        await name.fill("first")
        async with held(page, lose=True) as released:
            released.set()
            await create.click()
            await shows(page, "The console cannot be reached.")
        await name.fill("second")
        await create.click()
        await shows(page, "The result of the previous request is unknown.")
        assert await created() == 1
        await name.fill("first")
        await create.click()
        await shows_heading(page, "Key first created")
        assert await created() == 1
        await page.get_by_role("button", name="I have stored the token").click()
        await shows_heading(page, "first", level=1)
