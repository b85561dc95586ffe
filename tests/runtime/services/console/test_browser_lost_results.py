"""What is shown once is found again by the same user after a lost response, however the page was
left, and leaving asks first. The forms are those of test_browser_forms.py.
"""

import functools
import json
import re
from typing import Any

import pytest
from gatehouse.services.console.routes import document
from playwright.async_api import Browser, Dialog, Error, Locator, Page, Route, expect

from tests.runtime.console_client import BOOTSTRAP, Console
from tests.runtime.services.console.test_browser_forms import (
    _SHOWN_ONCE,
    _UNLOAD,
    ACTS,
    LOST,
    SOURCES,
    Act,
    changes,
    console,
    end_sessions,
    fill,
    held,
    is_change,
    open_form,
    prepare,
    send_button,
    sharing,
)
from tests.runtime.services.console.web_pages import (
    MARKS,
    enter_credential,
    loads_nothing,
    navigate,
    page_of,
    shows,
    shows_heading,
    sign_in,
)

__all__ = ["console", "sharing"]

pytestmark = MARKS
#: Acts with other links: the browser generates a part of them.
_GENERATED = {"SecretCreateScreen-end to end": r"#\w{43}\.[\w-]{43}$"}


#: Generating the document takes a second.
specification = functools.cache(document)


def once(value: Any, schema: Any) -> set[str]:
    """The texts of a response that are marked in its schema as shown once."""
    schemas = specification()["components"]["schemas"]
    schema = schemas.get(str(schema.get("$ref", "")).rpartition("/")[2], schema)
    if isinstance(value, list):
        return set().union(*(once(item, schema.get("items", {})) for item in value))
    if isinstance(value, dict):
        parts = schema.get("properties", {}).items()
        return set().union(*(once(value.get(name), part) for name, part in parts))
    return {value} if isinstance(value, str) and "x-shown-once" in schema else set()


def schema_of(act: Act) -> Any:
    """The schema of the response to an act."""
    paths = specification()["paths"].values()
    [operation] = [
        each for path in paths for each in path.values() if each["operationId"] == act.operation
    ]
    [schema] = [
        each["content"]["application/json"]["schema"]
        for code, each in operation["responses"].items()
        if code < "300"
    ]
    return schema


def test_every_response_with_the_mark_is_kept_by_the_web_ui() -> None:
    schemas = specification()["components"]["schemas"]

    def is_marked(schema: Any) -> bool:
        if isinstance(schema, list):
            return any(map(is_marked, schema))
        if not isinstance(schema, dict):
            return False
        referred = schemas.get(str(schema.get("$ref", "")).rpartition("/")[2])
        return "x-shown-once" in schema or is_marked([*schema.values(), referred])

    marked = {
        operation["operationId"]
        for path in specification()["paths"].values()
        for operation in path.values()
        if is_marked([each for code, each in operation["responses"].items() if code < "300"])
    }
    [kept] = re.findall(r"SHOWN_ONCE = \[(.*)\]", (SOURCES / "api/results.ts").read_text())
    assert set(re.findall(r"'(\w+)'", kept)) == marked & {act.operation for act in ACTS}
    assert {act.operation for act in _SHOWN_ONCE} == marked & {act.operation for act in ACTS}


async def lose(page: Page, act: Act) -> set[str]:
    """Sends a form whose response is lost. Returns what the response would have shown."""
    replies: list[tuple[bool, str]] = []

    async def hold(route: Route) -> None:
        if not is_change(route.request) or replies:
            await route.continue_()
            return
        try:
            response = await route.fetch()
            replies.append((response.ok, await response.text()))
        except Error as exc:
            replies.append((False, str(exc)))
        await route.abort()

    await page.route("**/v1/**", hold)
    await send_button(page, act).click()
    await shows(page, "The console cannot be reached.")
    await page.unroute("**/v1/**", hold)
    [(is_ok, text)] = replies
    assert is_ok, text
    values = once(json.loads(text), schema_of(act))
    assert values
    return values


def part(page: Page) -> Locator:
    return page.locator("section", has=page.get_by_role("button", name="Download")).last


async def shows_values(page: Page, act: Act, values: set[str]) -> None:
    await part(page).wait_for()
    read = "inputs => inputs.map(({ value }) => value)"
    shown = await part(page).locator("input").evaluate_all(read)
    own = _GENERATED.get(str(act))
    assert all(any(text.startswith(value) for text in shown) for value in values), act
    assert own is None or all(re.search(own, text) for text in shown)
    if act.source == "RequestCreateScreen":
        assert re.search(r"/s/\w{28}#\w{43}$", shown[1])
    else:
        assert len(shown) == len(values)


async def test_every_result_is_found_after_a_reload(
    browser: Browser, origin: str, console: Console
) -> None:
    dialogs: list[str] = []

    async def accept(dialog: Dialog) -> None:
        dialogs.append(dialog.type)
        await dialog.accept()

    async with page_of(browser, origin, LOST) as page:
        page.on("dialog", accept)
        await sign_in(page, "/keys")
        for act in _SHOWN_ONCE:
            ids = await prepare(console, act)
            await navigate(page, act.path.format(**ids))
            await open_form(page, act)
            await fill(page, act, ids)
            values = await lose(page, act)
            before = changes(console)
            assert not await page.evaluate(_UNLOAD)
            stored = json.dumps(await page.evaluate("[{...localStorage}, {...sessionStorage}]"))
            assert "typed" not in stored
            assert not any(value in stored for value in values)
            dialogs.clear()
            await page.reload()
            assert dialogs == ["beforeunload"]
            await shows_values(page, act, values)
            assert not await page.evaluate(_UNLOAD)
            await page.goto("/none")
            await shows_values(page, act, values)
            await page.go_back()
            await shows_values(page, act, values)
            await part(page).get_by_role("button", name=re.compile("^I have ")).click()
            await page.wait_for_function(_UNLOAD)
            await page.reload()
            await loads_nothing(page)
            await expect(part(page)).to_have_count(0)
            assert changes(console) == before


async def test_result_is_found_on_the_next_page_of_the_console(
    browser: Browser, origin: str, console: Console
) -> None:
    act = _SHOWN_ONCE[0]
    async with page_of(browser, origin, LOST) as page:
        await sign_in(page, act.path)
        await fill(page, act, {})
        values = await lose(page, act)
        leave = page.get_by_role("dialog").get_by_role("button", name="Leave page")
        await page.get_by_role("link", name="Usage", exact=True).click()
        await leave.click()
        await shows_heading(page, "Usage", level=1)
        await shows_values(page, act, values)
        # The user leaves again, although the page asks.
        await page.get_by_role("link", name="Audit", exact=False).first.click()
        await leave.click()
        await expect(part(page)).to_have_count(0)
        await page.reload()
        await loads_nothing(page)
        await expect(part(page)).to_have_count(0)


async def test_result_of_a_request_in_progress_is_found(
    browser: Browser, origin: str, console: Console
) -> None:
    act = _SHOWN_ONCE[0]
    async with page_of(browser, origin, LOST) as page:
        await sign_in(page, act.path)
        await fill(page, act, {})
        async with held(page) as released:
            await send_button(page, act).click()
            await expect(send_button(page, act)).to_be_disabled()
            await page.get_by_role("link", name="Usage", exact=True).click()
            for text in ("A request is in progress.", "values that you have not saved"):
                question = page.get_by_role("dialog").filter(has_text=text)
                await question.get_by_role("button", name="Leave page").click()
            await shows_heading(page, "Usage", level=1)
            released.set()
            await part(page).get_by_label("Token", exact=True).wait_for()


async def test_another_user_does_not_get_the_result(
    browser: Browser, origin: str, console: Console
) -> None:
    act = _SHOWN_ONCE[0]
    other = (await console.create(name="other", scopes=["admin"]))["token"]
    async with page_of(browser, origin, f"{LOST}|status of 401") as page:
        await sign_in(page, act.path)
        await fill(page, act, {})
        values = await lose(page, act)
        await end_sessions(console)
        page.on("dialog", lambda dialog: dialog.accept())
        await page.reload()
        await enter_credential(page, other)
        await shows_heading(page, "Create key", level=1)
        await loads_nothing(page)
        await expect(part(page)).to_have_count(0)
        content = await page.content()
        assert not any(value in content for value in values)
        await end_sessions(console)
        await page.reload()
        await enter_credential(page, BOOTSTRAP)
        await shows_heading(page, "Create key", level=1)


@pytest.mark.parametrize("way", ["link", "sign out", "back"])
async def test_leaving_typed_values_asks(
    browser: Browser, origin: str, console: Console, way: str
) -> None:
    key_id = await console.create_id()
    async with page_of(browser, origin) as page:
        await sign_in(page, "/usage")
        await navigate(page, f"/keys/{key_id}")
        await page.get_by_role("button", name="Edit", exact=True).click()
        assert await page.evaluate(_UNLOAD)
        await page.get_by_label("Notes", exact=True).fill("typed")
        assert not await page.evaluate(_UNLOAD)
        if way == "back":
            await page.go_back()
        else:
            role: Any = "link" if way == "link" else "button"
            name = "Usage" if way == "link" else "Sign out"
            await page.get_by_role(role, name=name, exact=True).click()
        question = page.get_by_role("dialog").filter(has_text="values that you have not saved")
        await question.get_by_role("button", name="Cancel").click()
        await expect(page.get_by_label("Notes", exact=True)).to_have_value("typed")
        await page.get_by_role("button", name="Save", exact=True).click()
        await shows(page, "The key was changed.")
        await page.wait_for_function(_UNLOAD)
