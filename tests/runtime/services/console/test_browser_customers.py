"""The pages of customers and plans: what a customer can do is created, changed and ended."""

from gatehouse.features.customers.service import PURGED_KEYS_MAX
from playwright.async_api import Browser, Page, expect

from tests.runtime.console_client import Console
from tests.runtime.rows import key_row, request_row
from tests.runtime.services.console.web_pages import (
    MARKS,
    navigate,
    page_of,
    shows,
    shows_heading,
    sign_in,
)

pytestmark = MARKS


async def press(page: Page, *names: str) -> None:
    for name in names:
        await (
            page.locator("#main, dialog").get_by_role("button", name=name, exact=True).last.click()
        )


async def confirm(page: Page, name: str) -> None:
    """Presses a button and the one of the question."""
    await page.locator("#main").get_by_role("button", name=name, exact=True).click()
    await page.get_by_role("dialog").get_by_role("button", name=name, exact=True).click()
    await expect(page.get_by_role("dialog")).to_have_count(0)


async def choose_customer(page: Page, typed: str) -> None:
    """As with a keyboard: the console looks up what was typed when the user leaves the control."""
    await page.get_by_label("Customer", exact=True).press_sequentially(typed)
    await page.keyboard.press("Tab")


async def test_plan_and_customer_from_creation_to_purge(
    browser: Browser, origin: str, console: Console
) -> None:
    async with page_of(browser, origin) as page:
        await sign_in(page, "/plans")
        await page.get_by_role("link", name="Create plan").first.click()
        await page.get_by_label("Name", exact=True).fill("starter")
        await page.get_by_label("Scopes").fill("orders:read")
        await press(page, "Add rate limit")
        await page.get_by_label("Requests", exact=True).fill("600")
        await press(page, "Add shared limit")
        await page.get_by_role("group", name="Shared limit 1").get_by_label("Requests").fill("3000")
        await page.get_by_label("Shared credits", exact=True).fill("1000")
        await page.get_by_label("Lifetime in days").fill("30")
        await press(page, "Create plan")
        await shows_heading(page, "starter")

        await page.get_by_role("link", name="Customers", exact=True).click()
        await page.get_by_role("link", name="Create customer").first.click()
        await page.get_by_label("ID", exact=True).fill("acme")
        await page.get_by_label("Name", exact=True).fill("Acme Ltd")
        await page.get_by_label("Plan").select_option("starter")
        await press(page, "Create customer")
        await shows_heading(page, "Acme Ltd")
        await shows(page, "requests: 3,000 requests in 1 minute · from the plan")
        await shows(page, "1,000, Refill 1,000 / month · from the plan")

        await navigate(page, "/keys/new")
        await page.get_by_label("Name", exact=True).fill("first key")
        await choose_customer(page, "acme ltd")
        await expect(page.get_by_label("Customer", exact=True)).to_have_value("acme")
        await shows(page, "Acme Ltd · acme")
        await press(page, "Create key", "I have stored the token")
        await shows_heading(page, "first key")
        await shows(page, "orders:read · from the plan")
        await shows(page, "requests: 600 requests in 1 minute · from the plan")
        await press(page, "Edit")
        await page.get_by_label("The scopes are those of the plan").uncheck()
        await page.get_by_label("Scopes", exact=True).first.fill("orders:read orders:write")
        await press(page, "Save")
        await shows(page, "The key was changed.")
        [key] = (await console.get("/v1/keys", params={"customer": "acme"})).json()["keys"]
        assert (key["scopes"], key["inherits"]) == (
            ["orders:read", "orders:write"],
            ["expires_at", "limits"],
        )

        await page.locator("dl").get_by_role("link", name="starter").click()
        await shows(page, "Customers: 1")
        overrides = page.get_by_role("row", name="first key")
        await expect(overrides).to_contain_text("Scopes")
        await expect(overrides).not_to_contain_text("Expires")
        await press(page, "Edit")
        await page.get_by_role("group", name="Rate limit 1").get_by_label("Requests").fill("900")
        await press(page, "Save")
        await shows(page, "requests: 900 requests in 1 minute")
        await page.locator("tbody tr", has_text="plan.update").first.click()
        await shows(page, "requests 600/60s, burst 600 -> requests 900/60s, burst 900")

        await page.get_by_role("link", name="Customers: 1").click()
        await page.get_by_role("link", name="Acme Ltd").click()
        await page.get_by_role("link", name="first key").wait_for()
        await confirm(page, "Disable")
        await shows(page, "customer.disable")
        await expect(page.locator("tbody tr", has_text="customer.disable")).to_contain_text("Acme")
        await confirm(page, "Delete")
        await page.locator("#main").get_by_role("button", name="Purge").click()
        await page.get_by_label("Type acme to confirm").fill("acme")
        await page.get_by_role("dialog").get_by_role("button", name="Purge").click()
        await shows(page, "There are no customers yet.")
        await shows(page, "The customer was purged. Purged keys: 1")
        await navigate(page, "/plans/starter")
        await confirm(page, "Delete")
        await shows(page, "There are no plans yet.")
    assert (await console.get(f"/v1/keys/{key['id']}")).json()["state"] == "purged"


async def test_unknown_customer_is_created_with_the_key_only_if_chosen(
    browser: Browser, origin: str, console: Console
) -> None:
    async with page_of(browser, origin, "status of 400") as page:
        await sign_in(page, "/keys/new")
        await page.get_by_label("Name", exact=True).fill("first key")
        await choose_customer(page, "nobody")
        await shows(page, "No customer, or more than one, has this ID, name or tag.")
        await press(page, "Create key")
        await expect(page.get_by_label("Customer", exact=True)).to_have_attribute(
            "aria-invalid", "true"
        )
        await page.get_by_label("Create this customer").check()
        await press(page, "Create key", "I have stored the token")
        await page.get_by_role("link", name="nobody").click()
        await shows_heading(page, "nobody")
        await page.keyboard.press("Control+k")
        await expect(page.get_by_role("dialog").get_by_role("textbox")).to_be_focused()
        await page.keyboard.insert_text("nobody")
        await page.get_by_role("link", name="Customer nobody").wait_for()


async def test_customer_filter_finds_by_name_and_suggests(
    browser: Browser, origin: str, console: Console
) -> None:
    for customer, name in (("c-1", "Acme Ltd"), ("c-2", "Acme Inc")):
        await console.post("/v1/customers", json={"id": customer, "name": name})
        key = await console.create_id(name=f"key of {name}", customer_id=customer)
        console.sql(request_row(key_id=f"'{key}'", request_id=f"'req_{customer}'"))
    async with page_of(browser, origin) as page:
        await sign_in(page, "/keys")
        for path, found in (("/keys", "key of Acme Inc"), ("/requests", "key of Acme Inc")):
            await navigate(page, path)
            await page.get_by_label("Customer", exact=True).press_sequentially("acme")
            options = page.locator("datalist option")
            await expect(options).to_have_text(["Acme Inc", "Acme Ltd"])
            await page.get_by_label("Customer", exact=True).fill("ACME inc")
            await page.keyboard.press("Enter")
            await page.wait_for_url(f"**{path}?customer=c-2")
            await shows(page, "Acme Inc · c-2")
            await expect(page.locator("tbody tr")).to_have_count(1)
            await expect(page.locator("tbody tr")).to_contain_text(found)


async def test_purge_continues_until_no_key_is_left(
    browser: Browser, origin: str, console: Console
) -> None:
    keys = PURGED_KEYS_MAX + 2
    await console.post("/v1/customers", json={"id": "many"})
    console.sql(
        key_row(
            f"FROM generate_series(1, {keys}) AS n",
            id="'M' || lpad(n::text, 11, '0')",
            customer_id="'many'",
        )
    )
    await console.delete("/v1/customers/many")
    async with page_of(browser, origin) as page:
        await sign_in(page, "/customers/many")
        await page.locator("#main").get_by_role("button", name="Purge").click()
        await page.get_by_label("Type many to confirm").fill("many")
        await page.get_by_role("dialog").get_by_role("button", name="Purge").click()
        await shows(page, f"The customer was purged. Purged keys: {keys}")
