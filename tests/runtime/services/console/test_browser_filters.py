"""The filters of the lists: what their labels promise."""

import re
from pathlib import Path

from gatehouse.core.verification import Code
from playwright.async_api import Browser, Locator, Page, expect

from tests.runtime.console_client import Console
from tests.runtime.services.console.web_pages import MARKS, loads_nothing, page_of, sign_in

pytestmark = MARKS
SCREENS = Path(__file__).resolve().parents[4] / "runtime/web/src/screens"
#: Pages with filters that have a choice without a value.
_PATHS = ("/keys", "/audit", "/usage", "/webhooks")
_ALL = re.compile(r"<option value=\"\">")


async def create_data(console: Console) -> None:
    """At least one row for each value of each filter, and no others."""
    console.sql("TRUNCATE audit_event, delivery, usage_count")
    console.sql("DELETE FROM core; DELETE FROM api_key")
    operator = await console.create(name="operator", scopes=["role:operator"])
    key_id = await console.create_id(environment="live")
    await console.create(name="expires soon", ttl_s=86_400)
    for action, method, path in (
        ("disable", "POST", "/disable"),
        ("revoke", "POST", "/revoke"),
        ("delete", "DELETE", ""),
        ("purge", "DELETE", ""),
    ):
        changed = await console.create_id(name=action)
        reply = await console.request(method, f"/v1/keys/{changed}{path}")
        assert reply.status_code == 200, reply.text
        if action == "purge":
            body = {"confirm": changed}
            assert (await console.post(f"/v1/keys/{changed}/purge", json=body)).status_code == 200
    console.expire(await console.create_id(name="expired"))
    unused = await console.create_id(name="unused")
    console.sql(
        f"UPDATE api_key SET created_at = now() - interval '1 year' WHERE id = '{unused}'"  # noqa: S608
    )
    as_operator = console.as_(operator["token"])
    for status, path in ((200, "/disable"), (403, "/purge")):
        body = {"confirm": key_id} if path == "/purge" else {}
        reply = await console.post(f"/v1/keys/{key_id}{path}", json=body, headers=as_operator)
        assert reply.status_code == status, reply.text
    for state in ("waiting", "delivered", "dead"):
        values = f"'ntf_{state}', 'topic', 'key.revoked', '{{}}', '{state}', now(), now()"
        console.sql(
            "INSERT INTO delivery (notification_id, target, event, body, state, next_at, "  # noqa: S608
            f"created_at) VALUES ({values})"
        )
    for number, code in enumerate(Code, 1):
        console.sql(
            "INSERT INTO usage_count VALUES (3600, '', date_trunc('hour', now()), '', "  # noqa: S608
            f"'{code}', {number})"
        )


async def rows(page: Page) -> set[str]:
    """What identifies the rows of the list."""
    await loads_nothing(page)
    links = await page.locator("#main tbody th a").evaluate_all("links => links.map((a) => a.href)")
    deliveries = page.locator("#main section tbody tr")
    return {
        *links,
        *(re.sub(r"\d+ \w+ ago", "", text) for text in await deliveries.all_inner_texts()),
        *await page.locator("#main details .action").all_inner_texts(),
    }


async def total(page: Page) -> int:
    await loads_nothing(page)
    text = await page.get_by_role("heading", name=re.compile("^Requests: ")).inner_text()
    return int(text.removeprefix("Requests: ").replace(",", ""))


async def choose(page: Page, select: Locator, value: str) -> None:
    if await select.input_value() != value:
        async with page.expect_response("**/v1/*"):
            await select.select_option(value)
    await expect(select).to_have_value(value)
    await loads_nothing(page)


async def test_choice_without_a_value_shows_what_its_label_says(
    browser: Browser, origin: str, console: Console
) -> None:
    await create_data(console)
    labels = []
    async with page_of(browser, origin) as page:
        await sign_in(page, "/")
        for path in _PATHS:
            await page.goto(path)
            await expect(page.locator("#main h1")).to_be_visible()
            await loads_nothing(page)
            for select in await page.locator(
                "#main select", has=page.locator("option[value='']")
            ).all():
                options = {
                    await option.inner_text(): str(await option.get_attribute("value"))
                    for option in await select.locator("option").all()
                }
                (label, _), *values = options.items()
                labels.append(label)
                await choose(page, select, "")
                if path == "/usage":
                    everything = await total(page)
                    sums = 0
                    for _, value in values:
                        await choose(page, select, value)
                        sums += await total(page)
                    assert (label, sums) == ("All", everything)
                else:
                    shown, found = await rows(page), {}
                    for name, value in values:
                        await choose(page, select, value)
                        found[name] = await rows(page)
                    assert [name for name, part in found.items() if not part] == [], path
                    excluded = label.removeprefix("All").removeprefix(" except ").capitalize()
                    union = {
                        row for name, part in found.items() if name != excluded for row in part
                    }
                    assert union <= shown
                    if "unused" not in options.values():  # these two do not cover all keys
                        assert shown == union, (path, label)
                await choose(page, select, "")
    sources = [path.read_text() for path in SCREENS.glob("*.vue")]
    assert len(labels) == sum(len(_ALL.findall(source)) for source in sources)
