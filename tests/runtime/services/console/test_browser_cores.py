"""The page of the Cores."""

import subprocess

from gatehouse.features.cores.reports import InstanceReport, InstanceState, WorkerReport, bucket_of
from gatehouse.features.cores.repository import CoreRepository
from playwright.async_api import Browser, expect

from tests.runtime.console_client import Console
from tests.runtime.core_records import register
from tests.runtime.services.console.web_pages import (
    MARKS,
    page_of,
    shows,
    sign_in,
    violations_in_both_themes,
)
from tests.runtime.services.sharing.chromium import serving

pytestmark = MARKS
REFRESH_MS = 5000
GATEWAY = "https://gateway.example.com"


async def write_report(console: Console, worker: str, *, ejected: bool) -> None:
    row = await console.pool.fetchrow("SELECT name, instance_id, lease_id FROM core")
    assert row is not None
    console.sql(
        f"INSERT INTO gateway_worker (id, confirmed_seq, seen_at) VALUES ('{worker}', 0, "  # noqa: S608
        f"now()) ON CONFLICT DO NOTHING"
    )
    lease = row["name"], row["instance_id"], row["lease_id"]
    buckets = {bucket_of(12_400): 1197}
    state, failures = InstanceState(ejected=ejected), 3
    report = InstanceReport(
        *lease, state, 1200, failures, 1197 * 12_400, buckets, "tls" if ejected else None
    )
    await CoreRepository(console.pool).write_reports(worker, WorkerReport(True, [report]))


async def test_circuit_breakers_and_traffic_are_shown_and_updated(
    browser: Browser, origin: str, console: Console
) -> None:
    await register(console, "docs", url="http://10.0.0.7:8443")
    async with page_of(browser, origin) as page:
        await page.clock.install()
        await sign_in(page, "/cores")
        await shows(page, "No gateway")
        await shows(page, "No requests")
        await write_report(console, "a", ejected=False)
        await write_report(console, "b", ejected=True)
        await page.clock.fast_forward(REFRESH_MS)
        await shows(page, "Open in 1 of 2 gateways")
        await shows(page, "Failing", exact=True)
        await shows(page, "TLS connection failed")
        await shows(page, "Requests: 2,400, failed: 6")
        await shows(page, "Mean 12.4\u00a0ms, 95\u00a0% within 13.3\u00a0ms")
        assert await violations_in_both_themes(page) == []
        await write_report(console, "b", ejected=False)
        await page.clock.fast_forward(REFRESH_MS)
        await shows(page, "Closed", exact=True)
        await shows(page, "Live", exact=True)


async def test_command_for_the_registration_has_real_values(
    browser: Browser, console: Console
) -> None:
    directory = "./it's & $HOME"
    app = console.application(console_url="", gateway_url=GATEWAY)
    async with serving(app) as url, page_of(browser, url) as page:
        await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        await sign_in(page, "/cores")
        await page.get_by_label("Name of the Core").fill("manuals")
        await page.get_by_label("Directory").fill(directory)
        await page.get_by_text("Settings of the Core").click()
        await page.get_by_label("--basic-auth").check()
        await page.get_by_label("--response-timeout").fill("10m")
        await page.get_by_label("--cors-origin").fill("https://a.test, https://b.test")
        await page.get_by_label("--error-format").select_option("openai")
        await page.get_by_label("Directory").press("Enter")
        await expect(page.get_by_role("heading", name="Core manuals")).to_be_focused()
        assert await violations_in_both_themes(page) == []
        token = await page.get_by_label("Token").input_value()
        await page.get_by_role("button", name="Copy Register a Core").press("Enter")
        command = await page.evaluate("navigator.clipboard.readText()")
        await page.get_by_role("button", name="I have stored the token").click()
        await expect(page.get_by_text(token)).to_have_count(0)
    assert token not in command
    stub = 'gatehouse() { printf "%s\\n" "$GATEHOUSE_CORE_TOKEN" "$@"; }\n'
    done = subprocess.run(
        ["bash", "-c", stub + command],
        input=f"{token}\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        token,
        "core",
        "--gateway",
        GATEWAY,
        "--name",
        "manuals",
        "--dir",
        directory,
        *("--response-timeout", "10m", "--basic-auth"),
        *("--cors-origin", "https://a.test", "--cors-origin", "https://b.test"),
        *("--error-format", "openai"),
    ]
    (key,) = (await console.get("/v1/keys?search=Core+manuals")).json()["keys"]
    assert (key["scopes"], key["cores"]) == (["cores:register"], ["manuals"])
