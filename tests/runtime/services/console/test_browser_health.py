"""The page of the health."""

import json

from gatehouse import __version__
from gatehouse.core.health import HEALTH_STATES
from playwright.async_api import Browser, expect

from tests.runtime.console_client import Console
from tests.runtime.services.console.web_pages import (
    MARKS,
    page_of,
    shows,
    sign_in,
    violations_in_both_themes,
)

pytestmark = MARKS
REFRESH_MS = 5000


def write_report(console: Console, version: str, problem: str) -> None:
    call = {"succeeded_s": 90, "failed_s": 1 if problem else 120, "problem": problem}
    report = {
        **{"id": "a", "service": "gateway", "instance": "gateway-1:1", "version": version},
        "status": "degraded" if problem else "ready",
        "checks": {"redis": "degraded" if problem else "ok"},
        "calls": {"Redis": {"": call}},
    }
    console.sql(
        f"INSERT INTO worker_report VALUES ('a', now(), '{json.dumps(report)}') "  # noqa: S608
        "ON CONFLICT (id) DO UPDATE SET seen_at = now(), report = excluded.report"
    )


async def test_broken_system_is_first_in_the_words_of_the_api(
    browser: Browser, origin: str, console: Console
) -> None:
    async with page_of(browser, origin) as page:
        await page.clock.install()
        await sign_in(page, "/health")
        dependencies, instances = (
            page.get_by_role("table", name=name).locator("tbody tr")
            for name in ("Dependencies", "Instances")
        )
        await expect(instances.first).to_contain_text("gateway")
        await expect(instances.first).to_contain_text(HEALTH_STATES["no_report"])
        write_report(console, "99.0.0", "TimeoutError")
        await page.clock.fast_forward(REFRESH_MS)
        await expect(dependencies.first).to_contain_text("Redis")
        for text in ("gateway", HEALTH_STATES["unavailable"], "TimeoutError"):
            await expect(dependencies.first).to_contain_text(text)
        await expect(instances.first).to_contain_text("99.0.0")
        await expect(instances.first).to_contain_text(f"redis: {HEALTH_STATES['degraded']}")
        await shows(page, f"Different versions run: {', '.join(sorted([__version__, '99.0.0']))}.")
        await dependencies.filter(has_text=HEALTH_STATES["not_configured"]).first.wait_for()
        assert await violations_in_both_themes(page) == []
        write_report(console, __version__, "")
        await page.clock.fast_forward(REFRESH_MS)
        await expect(page.get_by_text("Different versions")).to_have_count(0)
        redis = dependencies.filter(has_text="Redis")
        await expect(redis).to_contain_text(HEALTH_STATES["ok"])
        await expect(redis).to_contain_text("minute")
    console.sql("DELETE FROM worker_report")
