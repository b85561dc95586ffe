"""The CPU time of the console with the largest requests."""

import base64
import ipaddress
import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import pytest
from gatehouse.core.clock import rfc3339
from gatehouse.features.cores.reports import INSTANCES_MAX
from gatehouse.features.cores.schemas import LeaseRequest
from gatehouse.features.keys.schemas import CreateKey
from gatehouse.features.sharing.models import FILES_BYTES_MAX, RECIPIENTS_MAX
from gatehouse.features.sharing.schemas import FILES_MAX, CreateSecret, SecretContent
from gatehouse.features.usage.repository import POINTS_MAX
from gatehouse.features.usage.schemas import BUCKETS_MAX
from gatehouse.platform.http.endpoint import Endpoint
from gatehouse.platform.http.fields import PAGE_SIZE_MAX
from gatehouse.platform.http.forwarding import CONSOLE_COOKIE
from gatehouse.services.console.asgi import ENDPOINTS

from tests.runtime.conftest import Database
from tests.runtime.console_client import BOOTSTRAP, Console, open_console
from tests.runtime.features.sharing.members import URL
from tests.runtime.features.sharing.services import Sharing
from tests.runtime.largest_values import largest
from tests.runtime.services.costs import ADDRESS, Reply, cheapest, send, slow_heads
from tools.fuzz.cpu_time import BUDGET_S

#: Rows of a table, of which a page contains the maximum.
ROWS = PAGE_SIZE_MAX + 5
#: Gateway workers that report about instances.
WORKERS = 32
#: The clients of the tests, whose X-Forwarded-For is read.
PROXIES = (ipaddress.ip_network(f"{ADDRESS}/32"),)
_numbers = itertools.count(1)


def _content(value: dict[str, Any]) -> dict[str, Any]:
    for file in value["files"]:
        file["content_base64"] = base64.b64encode(bytes(FILES_BYTES_MAX // FILES_MAX)).decode()
    return {name: item for name, item in value.items() if name != "ciphertext_base64"}


#: Changes of the largest value of a type, so that its fields do not exclude each other.
CHANGES: dict[Any, Callable[[dict[str, Any]], dict[str, Any]]] = {
    CreateKey: lambda value: {**value, "ttl_s": None},
    CreateSecret: lambda value: {**_content(value), "passphrase": None},
    SecretContent: _content,
}


@dataclass
class Caller:
    """Sends requests to a console with the bootstrap token, and creates what they concern."""

    console: Console
    database: Database
    app: Any
    created: dict[str, Any] = field(default_factory=dict)

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        return [
            (b"content-type", b"application/json"),
            (b"authorization", f"Bearer {BOOTSTRAP}".encode()),
            (b"if-match", b"*"),
            (b"idempotency-key", b"%d" % next(_numbers)),
        ]

    async def send(self, endpoint: Endpoint, *, query: str = "") -> Reply:
        path = endpoint.path
        for name in ("id", "secret", "link", "webhook", "session"):
            if f"{{{name}}}" in path:
                path = path.replace(f"{{{name}}}", await getattr(self, name)())
        if "{name}" in path:
            path = path.format(name=(core := self.core()), instance=core)
        if "{notification}" in path:
            path = path.format(notification=self.delivery(), destination="topic")
        body = await self._body(endpoint, path)
        headers = self.headers
        if endpoint.operation_id == "show_session":
            headers[1] = (b"cookie", f"{CONSOLE_COOKIE}={await self.cookie()}".encode())
        return await send(self.app, endpoint.method, f"{path}?{query}", headers, body)

    async def change(self, method: str, path: str, value: Any) -> Reply:
        reply = await send(self.app, method, path, self.headers, msgspec.json.encode(value))
        assert reply.status < 300, reply.body
        return reply

    async def _body(self, endpoint: Endpoint, path: str) -> bytes:
        if endpoint.body is None:
            return b""
        value = CHANGES.get(endpoint.body, dict)(largest(endpoint.body))
        match endpoint.operation_id:
            case "restore_key":
                await self.change("DELETE", path.removesuffix("/restore"), {})
            case "purge_key":
                await self.change("POST", path.replace("/purge", "/revoke"), {})
                value["confirm"] = path.split("/")[3]
            case "update_secret":
                value["expires_at"] = rfc3339(self.console.clock.now() + 86_400)
            case "restore_secret_version":
                content = {"text": "a"}
                await self.change("PUT", path.replace("/restore-version", "/content"), content)
                value["version"] = 1
            case "create_webhook":
                value["url"] = "https://hooks.example.com/".ljust(len(value["url"]), "a")
        return msgspec.json.encode(value)

    async def id(self) -> str:
        value = CHANGES[CreateKey](largest(CreateKey))
        return str((await self.change("POST", "/v1/keys", value)).json["key"]["id"])

    async def secret(self) -> str:
        value = {"text": "a", "recipients": [f"recipient {n}" for n in range(RECIPIENTS_MAX)]}
        self.created = (await self.change("POST", "/v1/secrets", value)).json
        return str(self.created["secret"]["id"])

    async def link(self) -> str:
        return str(self.created["links"][0]["id"])

    async def webhook(self) -> str:
        value = {"url": f"https://hooks.example.com/{next(_numbers)}"}
        return str((await self.change("POST", "/v1/webhooks", value)).json["webhook"]["id"])

    async def session(self) -> str:
        reply = await self.change("POST", "/v1/sessions", {})
        return str(reply.json["session"]["id"])

    async def cookie(self) -> str:
        reply = await self.change("POST", "/v1/sessions", {})
        return reply.headers["set-cookie"].partition("=")[2].partition(";")[0]

    def core(self) -> str:
        name = f"one-{next(_numbers)}"
        self.database.sql(_CORES.format(name=f"'{name}'", instance=f"'{name}'", rows=1))
        return name

    def delivery(self) -> str:
        name = f"one-{next(_numbers)}"
        self.database.sql(_DELIVERIES.format(name=f"'{name}'", rows=1))
        return name


_SETTINGS = largest(LeaseRequest)["settings"]
for name in ("basic_auth", "forward_authorization", "credential_header"):
    del _SETTINGS[name]
_CORES = (
    "INSERT INTO core (name, instance_id, url, environment, lease_id, registered_by, "
    "pepper_generation, expires_at, settings) SELECT {{name}}, {{instance}}, 'http://127.0.0.1/' "
    "|| repeat('a', 250), 'test', 'lease ' || n, (SELECT id FROM api_key LIMIT 1), 1, "
    "'3000-01-01', jsonb_set('{settings}', '{{{{health_path}}}}', to_jsonb('/' || n)) "
    "FROM generate_series(1, {{rows}}) AS n"
)
_SETTINGS_JSON = msgspec.json.encode(_SETTINGS).decode().replace("'", "''")
_CORES = _CORES.format(settings=_SETTINGS_JSON.translate({123: "{{", 125: "}}"}))
_DELIVERIES = (
    "INSERT INTO delivery (notification_id, target, event, body, state, next_at, created_at, "
    "problem) SELECT {name}, 'topic', 'key.revoked', repeat('a', 10000), 'dead', now(), now(), "
    "repeat('a', 500) FROM generate_series(1, {rows}) AS n"
)
#: Copies of the key and the events of the first request.
_COPIES = """
INSERT INTO api_key SELECT copy.* FROM api_key, generate_series(1, {rows}) AS n,
    jsonb_populate_record(api_key, jsonb_build_object('id', lpad(n::text, 12, 'k'))) AS copy;
INSERT INTO audit_event SELECT event.* FROM audit_event AS event, generate_series(1, {rows})
    WHERE action = 'key.create';
"""
_USAGE = (
    "INSERT INTO usage_count SELECT 60, lpad((n % 20)::text, 12, 'k'), to_timestamp({until}) - "
    "make_interval(mins => 1 + n / 20), 'core-' || n % 7, 'VALID', 1000000 FROM "
    "generate_series(1, {rows}) AS n"
)
_REPORTS = (
    "INSERT INTO gateway_worker (id, confirmed_seq, seen_at, core_reports, core_reports_at) "
    "SELECT worker, 0, now(), (SELECT jsonb_agg(jsonb_build_array('core-' || n / 64, 'i-' || n, "
    "'lease ' || n, 'closed', 100000, 10, 1000000, (SELECT jsonb_object_agg(bucket::text, 1000) "
    "FROM generate_series(1, 80) AS bucket))) FROM generate_series(1, {reports}) AS n), now() "
    "FROM generate_series(1, {workers}) AS worker"
)


@pytest.fixture(scope="module")
async def caller(database: Database, module_services: Sharing) -> AsyncIterator[Caller]:
    backend = replace(module_services.backend, creates_per_minute=10_000)
    changes = {**module_services.console(URL), "sharing": backend, "trusted_proxies": PROXIES}
    async with open_console(database, **changes) as console:
        caller = Caller(console, database, console.application())
        await caller.id()
        for statement in (
            _COPIES.format(rows=ROWS),
            _USAGE.format(until=console.clock.now(), rows=POINTS_MAX),
            _CORES.format(name="'core-' || n / 64", instance="'i-' || n", rows=ROWS),
            _REPORTS.format(reports=INSTANCES_MAX, workers=WORKERS),
            _DELIVERIES.format(name="'msg_' || n", rows=ROWS),
        ):
            database.sql(statement)
        yield caller


#: The query with the largest response. Other lists have no parameters.
QUERIES = {
    "list_keys": f"limit={PAGE_SIZE_MAX}&sort=name&total=true",
    "read_usage": "width=minute&by=key,core,code&since={since}&until={until}",
    "list_key_usage": "limit=100&since={since}&until={until}",
    "end_sessions": "everybody=true",
    **dict.fromkeys(
        ("list_audit", "list_deliveries", "list_cores", "list_secrets"), f"limit={PAGE_SIZE_MAX}"
    ),
}


def operation(endpoint: Endpoint) -> str:
    return endpoint.operation_id


def test_every_list_has_its_largest_page() -> None:
    with_query = {operation(endpoint) for endpoint in ENDPOINTS if endpoint.query is not None}
    # `end_core` returns nothing, and the filters of `export_audit` reduce the response.
    assert with_query - QUERIES.keys() == {"end_core", "export_audit"}


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=operation)
async def test_largest_request_takes_at_most_20_ms(caller: Caller, endpoint: Endpoint) -> None:
    now = caller.console.clock.now()
    times = {"since": rfc3339(now - 60 * BUCKETS_MAX + 60), "until": rfc3339(now)}
    query = QUERIES.get(operation(endpoint), "").format(**times)
    reply = await cheapest(lambda: caller.send(endpoint, query=query))
    assert (reply.status, reply.cpu_s <= BUDGET_S) == (endpoint.status, True), reply.cpu_s


def same_readers(endpoint: Endpoint) -> object:
    parts = endpoint.method, "{" in endpoint.path, endpoint.body is None, endpoint.query is None
    return *parts, *(header.name for header in endpoint.headers), endpoint.security


REPRESENTATIVES = {same_readers(endpoint): endpoint for endpoint in ENDPOINTS}.values()


@pytest.mark.parametrize("endpoint", REPRESENTATIVES, ids=operation)
async def test_any_head_takes_at_most_20_ms(caller: Caller, endpoint: Endpoint) -> None:
    assert await slow_heads(caller.app, endpoint.method, endpoint.path, *caller.headers) == []
