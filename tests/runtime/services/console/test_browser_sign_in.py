"""Sign-in with a real OpenID provider in headless Chromium."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from gatehouse.core.roles import Role
from gatehouse.features.identity.authorization_code import Failure
from gatehouse.features.identity.issuer import Issuer
from gatehouse.features.identity.oidc import OidcIdentityProvider
from playwright.async_api import Browser, Locator, Page, expect
from pydantic import SecretStr

from tests.runtime.console_client import BOOTSTRAP, Console
from tests.runtime.services.console.web_pages import (
    MARKS,
    ends_session_before,
    enter_credential,
    page_of,
    shows,
    shows_heading,
    violations_in_both_themes,
)
from tests.runtime.services.sharing.chromium import serving
from tools import nodejs

ROOT = Path(__file__).resolve().parents[4]
SOURCES = ROOT / "runtime/web"
SCREENS = re.compile(r"/assets/\w+Screen-[\w-]+\.js$")
pytestmark = MARKS


@dataclass(frozen=True)
class Origins:
    console: str
    provider: str

    @property
    def name(self) -> str:
        return urlsplit(self.provider).netloc


@dataclass(frozen=True)
class Servers:
    origins: Origins
    applications: list[Any]


@pytest.fixture(scope="module")
async def servers() -> AsyncIterator[Servers]:
    applications: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await applications[0](scope, receive, send)

    node = shutil.which("node", path=nodejs.environment()["PATH"])
    assert node is not None
    async with serving(app) as origin:
        script = Path(__file__).with_name("openid_provider.mjs")
        null, pipe = asyncio.subprocess.DEVNULL, asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            node, str(script), str(SOURCES), origin, stdout=pipe, stderr=null
        )
        assert process.stdout is not None
        url = (await process.stdout.readline()).decode().strip()
        yield Servers(Origins(origin, url), applications)
        process.terminate()
        await process.wait()


@pytest.fixture
def origins(servers: Servers, console: Console) -> Origins:
    console.sql("DELETE FROM console_session")
    roles = {"on-call": Role.OPERATOR, "books": Role.AUDITOR}
    provider = OidcIdentityProvider(
        Issuer(servers.origins.provider, "gatehouse", "groups", roles), console.clock
    )
    servers.applications[:] = [
        console.application(
            console_url=servers.origins.console,
            identity_provider=provider,
            oidc_client_id="console",
            oidc_client_secret=SecretStr("canary-of-the-client-secret"),
            oidc_scopes="openid groups",
        )
    ]
    return servers.origins


async def sign_in_at_provider(page: Page, account: str, *, consents: bool = True) -> None:
    await page.get_by_placeholder("Enter any login").fill(account)
    await page.get_by_placeholder("and password").fill("any")
    await page.get_by_role("button", name="Sign-in").click()
    if consents:
        await page.get_by_role("button", name="Continue").click()


def provider_link(page: Page, origins: Origins) -> Locator:
    return page.get_by_role("link", name=f"Sign in with {origins.name}")


async def sign_in(page: Page, origins: Origins, path: str = "/", account: str = "on-call") -> None:
    # The user does not wait until the code of the page is loaded.
    await page.route(SCREENS, lambda _: None)
    await page.goto(path)
    await provider_link(page, origins).click()
    await page.unroute(SCREENS)
    await sign_in_at_provider(page, account)


async def sign_out(page: Page, origins: Origins, console: Console) -> None:
    await page.get_by_role("button", name="Yes, sign me out").click()
    await shows_heading(page, "Sign in")
    assert page.url == f"{origins.console}/"
    assert console.sql("SELECT count(*) FROM console_session") == "0"
    await provider_link(page, origins).click()
    await page.get_by_placeholder("Enter any login").wait_for()


async def test_user_signs_in_twice_and_out(
    browser: Browser, origins: Origins, console: Console
) -> None:
    created = await console.create(name="nightly export")
    async with page_of(
        browser, origins.console, "status of 401", provider=origins.provider
    ) as page:
        await page.goto(f"/keys/{created['key']['id']}?tab=usage")
        await expect(provider_link(page, origins)).to_be_focused()
        assert await violations_in_both_themes(page) == []
        await page.keyboard.press("Enter")
        await sign_in_at_provider(page, "on-call")
        await shows_heading(page, "nightly export")
        assert page.url == f"{origins.console}/keys/{created['key']['id']}?tab=usage"
        await page.get_by_role("link", name="on-call").wait_for()
        await page.reload()
        await shows_heading(page, "nightly export")
        addresses = await page.evaluate(
            "performance.getEntries().map((entry) => entry.name).join() + document.referrer"
        )
        assert not re.search("code=|state=", addresses)
        session = console.sql("SELECT actor_type, actor_id, roles FROM console_session")
        assert session == "person|on-call|{operator}"
        await page.goto("/keys/new")
        await page.get_by_label("Name", exact=True).fill("typed")
        await ends_session_before(page, console, "/v1/keys")
        await page.get_by_role("button", name="Create key").click()
        await shows(page, "The session has ended.")
        async with page.context.expect_page() as opened:
            await provider_link(page, origins).click()
        await (await opened.value).get_by_role("heading", name="Identity confirmed").wait_for()
        await expect(page.get_by_label("Name", exact=True)).to_have_value("typed")
        await page.get_by_role("button", name="Create key").click()
        await shows_heading(page, "Key typed created")
        await page.get_by_role("button", name="I have stored the token").click()
        await shows_heading(page, "typed")
        await page.goto("/sessions")
        navigation = page.get_by_role("navigation").locator("..")
        await navigation.get_by_role("button", name="Sign out", exact=True).click()
        await sign_out(page, origins, console)


async def test_step_up_in_a_new_tab_continues_the_action(
    browser: Browser, origins: Origins, console: Console
) -> None:
    created = await console.create(name="a key to delete")
    async with page_of(
        browser, origins.console, "status of 401", provider=origins.provider
    ) as page:
        await sign_in(page, origins, f"/keys/{created['key']['id']}")
        await shows_heading(page, "a key to delete")
        console.sql("UPDATE console_session SET proven_at = proven_at - interval '1 hour'")
        await page.get_by_role("button", name="Delete").click()
        await page.get_by_label("Reason").fill("no longer used")
        await page.get_by_label("Reason").press("Enter")
        link = provider_link(page, origins)
        await expect(link).to_be_focused()
        assert await violations_in_both_themes(page) == []
        async with page.context.expect_page() as opened:
            await link.click()
        tab = await opened.value
        # The provider asks for the password, although the user has a session there.
        await sign_in_at_provider(tab, "on-call", consents=False)
        await shows_heading(tab, "Identity confirmed")
        assert await violations_in_both_themes(tab) == []
        await shows(page, "Deleted", exact=True)
        await page.get_by_role("button", name="Restore").click()
        await page.get_by_role("dialog").get_by_role("button", name="Restore").click()
        await expect(page.get_by_text("Deleted", exact=True)).to_be_hidden()
        assert console.sql("SELECT count(*) FROM console_session") == "1"
        await page.goto("/sessions")
        await page.get_by_role("button", name="Sign out everywhere").click()
        await page.get_by_role("dialog").get_by_role("button", name="Sign out everywhere").click()
        await sign_out(page, origins, console)


async def test_every_failure_has_a_text_and_a_credential_can_be_used(
    browser: Browser, origins: Origins
) -> None:
    texts: dict[str, str] = {}
    async with page_of(browser, origins.console, viewport={"width": 320, "height": 640}) as page:
        for failure in (*Failure, "Call 555-0100"):
            await page.goto(f"/sign-in?failure={failure}&request=<b>x")
            texts[str(failure)] = await page.get_by_role("alert").inner_text()
            assert await page.evaluate("document.documentElement.scrollWidth") <= 320, failure
        assert await violations_in_both_themes(page) == []
        await page.get_by_text("Use a credential instead").click()
        await enter_credential(page, BOOTSTRAP)
        await shows_heading(page, "Overview")
    assert texts.pop("Call 555-0100") == texts["response"]
    assert len(set(texts.values())) == len(Failure)
