"""Times on all pages are those of the browser, and never timestamps of the API."""

from playwright.async_api import Browser

from tests.runtime.console_client import Console
from tests.runtime.services.console.generated_responses import Responses
from tests.runtime.services.console.web_pages import (
    MARKS,
    PAGES,
    expand,
    loads_nothing,
    navigate,
    page_of,
    raw_times,
    shows,
    sign_in,
)

pytestmark = MARKS
INSTANT = "2031-02-03T04:05:06Z"


def text(field: str) -> str:
    """The texts of problems contain times, and the other texts are those of people."""
    return f"must be before {INSTANT}" if field == "Problem.detail" else "a text"


async def test_no_page_shows_a_timestamp_of_the_api(browser: Browser, origin: str) -> None:
    found = {}
    times = 0
    async with page_of(browser, origin, r"status of [45]\d\d") as page:
        await sign_in(page)
        await page.route("**/v1/**", Responses(text).replace)
        for name, path in PAGES.items():
            parameters = dict.fromkeys(
                ("key", "customer", "plan", "limit", "secret", "request"), "3fGh82kLmQ0a"
            )
            await navigate(page, path.format(**parameters))
            await loads_nothing(page)
            await expand(page)
            found[name] = await raw_times(page)
            times += await page.locator("main time").count()
    assert {name: texts for name, texts in found.items() if texts} == {}
    assert times > 20


async def test_event_shows_the_times_before_and_after_a_change(
    browser: Browser, origin: str, console: Console
) -> None:
    key_id = await console.create_id(expires_at=INSTANT)
    changed = await console.patch(
        f"/v1/keys/{key_id}",
        json={"expires_at": INSTANT.replace("2031", "2032")},
        headers={"If-Match": "*"},
    )
    assert changed.status_code == 200, changed.text
    async with page_of(browser, origin) as page:
        await sign_in(page, f"/audit?target_id={key_id}&action=key.update")
        await expand(page)
        await shows(page, "3 Feb 2031")
        await shows(page, "3 Feb 2032")
        assert await raw_times(page) == []


async def test_problem_of_a_field_shows_times_of_the_browser(browser: Browser, origin: str) -> None:
    problem = {
        **{"code": "bad_request", "status": 400, "title": "Bad request", "request_id": "req_0"},
        "errors": [
            {"location": f"body.{name}", "message": f"is after {INSTANT}", "fix": ""}
            for name in ("name", "unknown")
        ],
    }
    async with page_of(browser, origin, "status of 400") as page:
        await sign_in(page, "/keys/new")
        await page.route(
            "**/v1/keys",
            lambda route: route.fulfill(
                status=400, json=problem, content_type="application/problem+json"
            ),
        )
        await page.get_by_label("Name", exact=True).fill("a name")
        await page.get_by_role("button", name="Create").first.click()
        await shows(page, "unknown is after 3 Feb 2031")
        assert await raw_times(page) == []
