"""The portal: links, sessions, and what a customer does with its keys."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from tests.runtime.console_client import Console

SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}
URL = "https://console.test"


@dataclass
class Visitor:
    """The browser of a customer."""

    console: Console
    client: httpx.AsyncClient
    page: httpx.Response = field(init=False)

    async def get(self, path: str = "/portal") -> httpx.Response:
        self.page = await self.client.get(path)
        return self.page

    async def send(self, path: str, **values: str) -> httpx.Response:
        """Submit the form with this action on the last page, as a browser does."""
        return await self.client.post(path, data=self.form(path) | values, headers=SAME_ORIGIN)

    def form(self, path: str) -> dict[str, str]:
        match = re.search(rf'<form [^>]*action="{re.escape(path)}".*?</form>', self.page.text, re.S)
        assert match is not None, path
        fields = re.findall(r'<input [^>]*?name="(\w+)"[^>]*?value="([^"]*)"', match[0])
        addresses = re.findall(r'<textarea [^>]*?name="(\w+)"[^>]*>\n([^<]*)<', match[0])
        return dict(fields) | dict(addresses)


async def link_of(console: Console, customer: str, **body: Any) -> str:
    reply = await console.post(f"/v1/customers/{customer}/portal", json=body)
    assert reply.status_code == 201, reply.text
    url = str(reply.json()["url"])
    assert url.startswith(f"{URL}/portal/links/")
    return url.removeprefix(URL)


async def visitor(console: Console, client: httpx.AsyncClient, customer: str) -> Visitor:
    visiting, path = Visitor(console, client), await link_of(console, customer)
    await visiting.get(path)
    reply = await visiting.send(path)
    assert (reply.status_code, reply.headers["location"]) == (303, "/portal")
    await visiting.get()
    return visiting


@pytest.fixture
async def acme(console: Console) -> AsyncIterator[Visitor]:
    """A customer `acme` with a plan that limits the lifetime of keys, in a new session."""
    limit = {"name": "requests", "quota": 600, "window_s": 60}
    plan = {"name": "portal-plan", "ttl_s": 30 * 86_400, "scopes": ["orders:read"]}
    shared = [{**limit, "quota": 3000}]
    await console.post("/v1/plans", json={**plan, "limits": [limit], "shared_limits": shared})
    name = f"acme-{datetime.now(UTC).timestamp():.6f}"
    await console.post("/v1/customers", json={"id": name, "name": "Acme", "plan": "portal-plan"})
    async with console.connect(token="") as client:
        client.headers["Accept-Language"] = "en"
        visiting = await visitor(console, client, name)
        visiting.customer = name  # type: ignore[attr-defined]
        yield visiting


async def test_whole_life_of_a_key(acme: Visitor, console: Console) -> None:
    created = await acme.send("/portal/keys", name="export", addresses="192.0.2.1 2001:db8::/32")
    assert created.status_code == 200, created.text
    print(created.text)
