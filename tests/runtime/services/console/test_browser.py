"""The web UI."""

import re

from playwright.async_api import Browser, expect

from tests.runtime.console_client import BOOTSTRAP, Console
from tests.runtime.services.console.web_pages import (
    MARKS,
    enter_credential,
    navigate,
    page_of,
    shows,
    shows_heading,
    sign_in,
    sign_in_by_keyboard,
    tab_to,
    violations_in_both_themes,
)

pytestmark = MARKS


async def test_key_is_created_and_revoked_by_keyboard(
    browser: Browser, origin: str, console: Console
) -> None:
    async with page_of(browser, origin) as page:
        await sign_in_by_keyboard(page)
        await tab_to(page, "Create key")
        await page.keyboard.press("Enter")
        await page.get_by_label("Name").focus()
        await page.keyboard.type("nightly export")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="Key nightly export created")).to_be_focused()
        token = await page.get_by_label("Token", exact=True).input_value()
        assert re.fullmatch(r"gtk_test_[0-9A-Za-z]{40,}", token)
        await tab_to(page, "I have stored the token")
        await page.keyboard.press("Enter")
        await shows_heading(page, "nightly export", exact=True)
        key_id = page.url.rpartition("/")[2]
        assert token not in await page.content()
        await tab_to(page, "Revoke")
        await page.keyboard.press("Enter")
        await expect(page.get_by_label("Reason")).to_be_focused()
        await page.keyboard.type("end of the test")
        await page.keyboard.press("Enter")
        await shows(page, "Revoked", exact=True)
        await navigate(page, "/audit")
        await shows(page, "key.revoke", exact=True)
    key = (await console.get(f"/v1/keys/{key_id}")).json()
    assert (key["state"], key["revoke_reason"]) == ("revoked", "end of the test")


async def test_nothing_of_a_session_remains_after_sign_out(
    browser: Browser, origin: str, console: Console
) -> None:
    created = await console.create(name="canary-of-the-list", notes="canary-of-the-notes")
    async with page_of(browser, origin) as page:
        await sign_in_by_keyboard(page, f"/keys/{created['key']['id']}")
        await shows(page, "canary-of-the-notes")
        other = await page.context.new_page()
        await other.goto("/keys")
        await other.get_by_role("link", name="canary-of-the-list").wait_for()
        await page.get_by_role("button", name="Sign out").click()
        await shows_heading(page, "Sign in")
        await shows_heading(other, "Sign in")
        assert "canary" not in await other.content()
        remaining = await page.evaluate(
            "document.documentElement.outerHTML + JSON.stringify([{...localStorage}, "
            "{...sessionStorage}, history.state])"
        )
        assert not re.search(f"canary|{BOOTSTRAP}|gtk_", remaining + page.url)
        assert await page.context.cookies() == []
        await page.reload()
        await shows_heading(page, "Sign in")


async def test_sign_in_link_works_once(browser: Browser, origin: str, console: Console) -> None:
    path = (await console.post("/v1/sign-in-links")).json()["path"]
    async with page_of(browser, origin, "status of 401") as page:
        await page.goto(path.replace("/#", "/keys#"))
        await expect(page.get_by_role("button", name="Sign in")).to_be_focused()
        assert page.url == f"{origin}/keys"
        await page.keyboard.press("Enter")
        await shows_heading(page, "API keys")
        await page.goto("about:blank")
        await page.goto(path)
        await shows_heading(page, "Sign in")
        assert await violations_in_both_themes(page) == []
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("alert")).to_contain_text("already used")
        await expect(page.get_by_label("Credential")).to_be_focused()
        assert page.url == f"{origin}/"


async def test_one_step_up_continues_all_selected_changes(
    browser: Browser, origin: str, console: Console
) -> None:
    for number in range(7):
        await console.create(name=f"nightly {number}", tags=["bulk"], scopes=["role:auditor"])
    async with page_of(browser, origin, "status of 401") as page:
        await sign_in(page, "/keys?tag=bulk")
        console.sql("UPDATE console_session SET proven_at = proven_at - interval '1 hour'")
        await page.get_by_label("Select all keys on this page").check()
        await page.get_by_role("button", name="Revoke").click()
        await page.get_by_label("Reason").press("Enter")
        await expect(page.get_by_role("heading", name="Confirm your identity")).to_have_count(1)
        await enter_credential(page, BOOTSTRAP)
        # And the option of the filter.
        await expect(page.get_by_text("Revoked", exact=True)).to_have_count(7 + 1)


async def test_auditor_sees_no_action_that_is_denied(
    browser: Browser, origin: str, console: Console
) -> None:
    auditor = await console.create(name="auditor", scopes=["role:auditor"])
    async with page_of(browser, origin) as page:
        await page.goto("/keys")
        await enter_credential(page, auditor["token"])
        await page.get_by_role("link", name="auditor").wait_for()
        assert await page.get_by_role("link", name="Create key").count() == 0
        await page.goto(f"/keys/{auditor['key']['id']}")
        await shows_heading(page, "auditor")
        assert (
            await page.get_by_role("button", name=re.compile("Revoke|Rotate|Edit|Delete")).count()
            == 0
        )
        await navigate(page, "/cores")
        await expect(page.get_by_role("heading", name="Register a Core")).to_have_count(0)
        await navigate(page, "/keys")
        await expect(page.get_by_role("link", name="Import keys")).to_be_hidden()
