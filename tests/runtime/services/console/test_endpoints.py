"""Every endpoint of the console accepts its largest valid request, and every list its total."""

import base64
import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from gatehouse.core.clock import rfc3339
from gatehouse.core.http.forwarding import CONSOLE_COOKIE
from gatehouse.features.cores.schemas import LeaseRequest
from gatehouse.features.customers.schemas import CreateLimit, CreatePlan, UpdateCustomer
from gatehouse.features.keys.schemas import CreateKey, UpdateKey
from gatehouse.features.secrets.models import FILES_BYTES_MAX, RECIPIENTS_MAX
from gatehouse.features.secrets.schemas import FILES_MAX, CreateSecret, SecretContent
from gatehouse.features.usage.schemas import BUCKETS_MAX
from gatehouse.platform.web.endpoint import Endpoint
from gatehouse.platform.web.fields import PAGE_SIZE_MAX, TOTAL_MAX
from gatehouse.services.console.routes import ENDPOINTS

from tests.runtime.conftest import Database
from tests.runtime.console_client import Console, open_console
from tests.runtime.features.secrets.members import URL
from tests.runtime.features.secrets.services import Sharing
from tests.runtime.largest_values import largest

_numbers = itertools.count(1)


def _content(value: dict[str, Any]) -> dict[str, Any]:
    for file in value["files"]:
        file["content_base64"] = base64.b64encode(bytes(FILES_BYTES_MAX // FILES_MAX)).decode()
    return {name: item for name, item in value.items() if name != "ciphertext_base64"}


def _credits(value: dict[str, Any]) -> dict[str, Any]:
    return {**value, "credits": {**value["credits"], "add": 0}}


#: Changes of the largest value of a type, so that its fields do not exclude each other.
CHANGES: dict[Any, Callable[[dict[str, Any]], dict[str, Any]]] = {
    CreateKey: lambda value: {**value, "ttl_s": None, "plan": None, "customer_id": "c" * 64},
    UpdateKey: lambda value: {**_credits(value), "plan": None, "customer_id": None},
    UpdateCustomer: lambda value: _credits(value),
    CreateSecret: lambda value: {**_content(value), "passphrase": None},
    SecretContent: _content,
}


@dataclass
class Caller:
    """Sends requests to a console with the bootstrap token, and creates what they concern."""

    console: Console
    database: Database
    created: dict[str, Any] = field(default_factory=dict)

    async def send(self, endpoint: Endpoint, query: str) -> httpx.Response:
        path = endpoint.path
        for name in (
            *("id", "customer", "plan", "limit_name", "secret", "link", "webhook", "session"),
        ):
            if f"{{{name}}}" in path:
                path = path.replace(f"{{{name}}}", await getattr(self, name)())
        path = path.replace("{feature}", "self-revocation")
        if "{name}" in path:
            path = path.format(name=(core := self.core()), instance=core)
        if "{notification}" in path:
            path = path.format(notification=self.delivery(), destination="topic")
        headers = {"If-Match": "*", "Idempotency-Key": str(next(_numbers))}
        if endpoint.operation_id == "show_session":
            headers["Cookie"] = f"{CONSOLE_COOKIE}={await self.cookie()}"
        body = await self._body(endpoint, path)
        self.console.client.cookies.clear()
        request = self.console.client.build_request(
            endpoint.method, f"{path}?{query}", json=body, headers=headers
        )
        if "cookie" in request.headers:
            del request.headers["authorization"]
        return await self.console.client.send(request)

    async def change(self, method: str, path: str, value: Any) -> httpx.Response:
        reply = await self.console.request(method, path, json=value, headers={"If-Match": "*"})
        assert reply.is_success, reply.text
        return reply

    async def _body(self, endpoint: Endpoint, path: str) -> Any:
        if endpoint.body is None:
            return None
        value = CHANGES.get(endpoint.body, dict)(largest(endpoint.body))
        match endpoint.operation_id:
            case "create_customer" | "update_customer":
                value["plan"] = await self.plan()
            case "restore_key" | "restore_customer":
                await self.change("DELETE", path.removesuffix("/restore"), {})
            case "purge_key":
                await self.change("POST", path.replace("/purge", "/revoke"), {})
                value["confirm"] = path.split("/")[3]
            case "purge_customer":
                await self.change("DELETE", path.removesuffix("/purge"), {})
                value["confirm"] = path.split("/")[3]
            case "update_secret":
                value["expires_at"] = rfc3339(self.console.clock.now() + 86_400)
            case "restore_secret_version":
                content = {"text": "a"}
                await self.change("PUT", path.replace("/restore-version", "/content"), content)
                value["version"] = 1
            case "create_webhook" | "update_webhook":
                value["url"] = "https://hooks.example.com/".ljust(len(value["url"]), "a")
        return value

    async def id(self) -> str:
        value = CHANGES[CreateKey](largest(CreateKey))
        return str((await self.change("POST", "/v1/keys", value)).json()["key"]["id"])

    async def customer(self) -> str:
        value = {"id": f"customer-{next(_numbers)}", "contact": largest(CreateKey)["contact"]}
        return str((await self.change("POST", "/v1/customers", value)).json()["id"])

    async def plan(self) -> str:
        value = {**largest(CreatePlan), "name": f"plan-{next(_numbers)}"}
        return str((await self.change("POST", "/v1/plans", value)).json()["name"])

    async def limit_name(self) -> str:
        value = {**largest(CreateLimit), "name": f"limit-{next(_numbers)}"}
        return str((await self.change("POST", "/v1/limits", value)).json()["name"])

    async def secret(self) -> str:
        value = {"text": "a", "recipients": [f"recipient {n}" for n in range(RECIPIENTS_MAX)]}
        self.created = (await self.change("POST", "/v1/secrets", value)).json()
        return str(self.created["secret"]["id"])

    async def link(self) -> str:
        return str(self.created["links"][0]["id"])

    async def webhook(self) -> str:
        value = {"url": f"https://hooks.example.com/{next(_numbers)}"}
        return str((await self.change("POST", "/v1/webhooks", value)).json()["webhook"]["id"])

    async def session(self) -> str:
        return str((await self.change("POST", "/v1/sessions", {})).json()["session"]["id"])

    async def cookie(self) -> str:
        reply = await self.change("POST", "/v1/sessions", {})
        return reply.headers["set-cookie"].partition("=")[2].partition(";")[0]

    def core(self) -> str:
        name = f"one-{next(_numbers)}"
        self.database.sql(_CORE.format(name=name, settings=_SETTINGS_JSON))
        return name

    def delivery(self) -> str:
        name = f"one-{next(_numbers)}"
        self.database.sql(_DELIVERY.format(name=name))
        return name


_SETTINGS = largest(LeaseRequest)["settings"]
for name in ("basic_auth", "forward_authorization", "credential_header"):
    del _SETTINGS[name]
_SETTINGS_JSON = msgspec.json.encode(_SETTINGS).decode().replace("'", "''")
_CORE = (
    "INSERT INTO core (name, instance_id, url, environment, lease_id, registered_by, "
    "pepper_generation, expires_at, settings) SELECT '{name}', '{name}', 'http://127.0.0.1/', "
    "'test', 'lease', (SELECT id FROM api_key LIMIT 1), 1, '3000-01-01', '{settings}'"
)
_DELIVERY = (
    "INSERT INTO delivery (notification_id, target, event, body, state, next_at, created_at, "
    "problem) SELECT '{name}', 'topic', 'key.revoked', repeat('a', 10000), 'dead', now(), now(), "
    "repeat('a', 500)"
)


@pytest.fixture(scope="module")
async def caller(database: Database, module_services: Sharing) -> AsyncIterator[Caller]:
    backend = replace(module_services.backend, creates_per_minute=10_000)
    changes = {
        "sharing": backend,
        "notification_sender": "keys@example.com",
        "logs": f"file:{Path(__file__).parent}",
    }
    async with open_console(database, **{**module_services.console(URL), **changes}) as console:
        caller = Caller(console, database)
        await caller.id()
        yield caller


#: The query with the largest response. Other lists have no parameters.
QUERIES = {
    **dict.fromkeys(("list_keys", "list_customers"), f"limit={PAGE_SIZE_MAX}&sort=name&total=true"),
    "read_usage": "width=minute&by=key,core,code&compare=true&since={since}&until={until}",
    "list_key_usage": "limit=100&since={since}&until={until}",
    "list_requests": f"limit={PAGE_SIZE_MAX}&totals=true",
    "list_limit_use": "limit=100&percent=0",
    "search_logs": f"limit=100&search={'x' * 60}&request_id={'r' * 64}",
    **dict.fromkeys(("list_sessions", "end_sessions"), "everybody=true"),
    **dict.fromkeys(
        ("list_audit", "list_deliveries", "list_cores", "list_secrets"),
        f"limit={PAGE_SIZE_MAX}&total=true",
    ),
}


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.operation_id)
async def test_largest_request_is_accepted(caller: Caller, endpoint: Endpoint) -> None:
    now = caller.console.clock.now()
    times = {"since": rfc3339(now - 60 * BUCKETS_MAX + 60), "until": rfc3339(now)}
    query = QUERIES.get(endpoint.operation_id, "").format(**times)
    reply = await caller.send(endpoint, query)
    assert reply.status_code == endpoint.status, reply.text


#: Lists without the number of their entries: that of logs takes long, and that of denied requests
#: is the number of requests.
WITHOUT_TOTAL = {"search_logs", "list_requests"}
LISTS = [each for each in ENDPOINTS if each.query and "cursor" in each.query.__struct_fields__]


@pytest.mark.parametrize(
    "endpoint",
    [each for each in LISTS if each.operation_id not in WITHOUT_TOTAL],
    ids=lambda endpoint: endpoint.operation_id,
)
async def test_total_of_a_list_is_the_number_of_its_entries(
    caller: Caller, endpoint: Endpoint
) -> None:
    query, page_type = endpoint.query, endpoint.response
    assert query is not None
    assert page_type is not None
    assert "total" in {*query.__struct_fields__} & {*page_type.__struct_fields__}, (
        f"{endpoint.operation_id}: add `total: Counted = False` to {query.__name__} and "
        f"`total: Total = None` to {page_type.__name__} in schemas.py, or the operation to "
        "WITHOUT_TOTAL with the reason"
    )
    for _ in range(2):
        await caller.id()
        await caller.secret()
        caller.core()
        caller.delivery()
    counted, cursor = 0, ""
    while cursor is not None:
        page = (await caller.send(endpoint, f"limit=100&total=true{cursor}")).json()
        counted += len(next(entries for entries in page.values() if isinstance(entries, list)))
        cursor = page["next_cursor"] and f"&cursor={page['next_cursor']}"
    assert counted > 1
    assert page["total"] == min(counted, TOTAL_MAX)
    assert (await caller.send(endpoint, "limit=1")).json()["total"] is None
