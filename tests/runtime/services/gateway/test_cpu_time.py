"""The CPU time of the gateway with the largest requests."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from gatehouse.client.signing import sign
from gatehouse.features.cores.schemas import LeaseRequest
from gatehouse.features.keys.schemas import CreateKey
from gatehouse.features.verification.schemas import (
    HEADERS_CHARS_MAX,
    HEADERS_MAX,
    URL_CHARS_MAX,
    SelfRevocationRequest,
    VerifyRequest,
)
from gatehouse.platform.http.asgi import Header
from gatehouse.platform.http.endpoint import Endpoint
from gatehouse.platform.http.server import _Lifespan
from gatehouse.platform.settings import load
from gatehouse.services.gateway import app as gateway
from gatehouse.services.gateway.routes import ENDPOINTS

from tests.runtime.conftest import Database
from tests.runtime.largest_values import largest
from tests.runtime.services.costs import ADDRESS, Reply, cheapest, send, slow_heads
from tests.runtime.services.gateway.conftest import Gateway, Key, gateway_environment
from tests.runtime.services.gateway.test_signatures import PRIVATE_KEY, signing_key
from tools.fuzz.cpu_time import BUDGET_S, TARGET_BYTES

_LARGEST = largest(LeaseRequest)["settings"]
#: The largest settings of a Core, with names that are expensive to compare.
SETTINGS = {
    **_LARGEST,
    "cors_origins": _LARGEST["cors_origins"][:2],
    "remove_headers": ["*" + "a" * 57 + "baa*"] * 55,
    "key_header": "X-API-Key",
    "basic_auth": False,
    "forward_authorization": True,
    "credential_header": None,
    "forward_host": True,
    "health_path": None,
}


@contextmanager
def core_in_a_thread() -> Iterator[int]:
    """The port of a Core, whose CPU time does not count. Its responses have large heads."""
    loop, started = asyncio.new_event_loop(), threading.Event()
    ports = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fields = [b"Set-Cookie: a=1; Path=/; Domain=a" + b";b" * 100] * 90
        head = b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nETag: "a"\r\nCache-Control: public\r\n'
        head += b"\r\n".join(fields) + b"\r\nLocation: /" + b"a" * 8_000 + b"\r\n\r\n"
        try:
            while True:
                start = (await reader.readuntil(b"\r\n\r\n")).lower()
                _, found, length = start.partition(b"\r\ncontent-length: ")
                if found:
                    await reader.readexactly(int(length.partition(b"\r\n")[0]))
                writer.write(head + (b"" if start.startswith(b"head") else b"ok"))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def start() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 20)
        ports.append(server.sockets[0].getsockname()[1])
        started.set()

    def run() -> None:
        loop.create_task(start())
        loop.run_forever()

    thread = threading.Thread(target=run)
    thread.start()
    started.wait()
    yield ports[0]
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


@dataclass
class Caller:
    """A gateway in this process, with the largest keys and a Core with the largest settings."""

    app: Any
    client: Gateway
    key: Key
    signing: Key
    agent: Key
    port: int

    def credential(self, key: Key) -> list[Header]:
        token = key.token.encode()
        return [(b"authorization", b"Bearer " + token), (b"x-api-key", token)]

    async def verify(self) -> Reply:
        value = {**largest(VerifyRequest), "token": self.key.token, "request": None}
        value |= {"scopes": VALUES["scopes"], "core": VALUES["cores"][0], "method": "GET"}
        value |= {"address": ADDRESS, "cost": 1}
        return await self.post("/v1/keys/verify", value)

    async def verify_signed(self) -> Reply:
        url = "https://api.example.com/".ljust(URL_CHARS_MAX - 1, "a")
        headers = sign("GET", url, token=self.signing.token, private_key=PRIVATE_KEY)
        rest = HEADERS_CHARS_MAX - sum(len(name) + len(value) for name, value in headers.items())
        others = HEADERS_MAX - len(headers)
        fields = [*headers.items(), *[("x", "a" * (rest // others - 1))] * others]
        signed = {"method": "GET", "url": url, "headers": fields}
        return await self.post("/v1/keys/verify", {"token": self.signing.token, "request": signed})

    async def verify_header(self) -> Reply:
        query = "&".join(f"scope={scope.replace('*', '%2A')}" for scope in VALUES["scopes"])
        target = f"/v1/keys/verify?{query}&core={VALUES['cores'][0]}&method=GET"
        return await send(self.app, "GET", target, self.credential(self.key))

    async def revoke(self) -> Reply:
        key = await self.client.create_key(**COLUMNS)
        value = {**largest(SelfRevocationRequest), "token": key.token}
        return await self.post("/v1/keys/revoke-self", value)

    async def register(self) -> Reply:
        value = {**largest(LeaseRequest), "url": f"http://127.0.0.1:{self.port}", "ttl_s": 300}
        del value["lease_id"]
        value |= {"instance_id": "one", "settings": SETTINGS}
        body = msgspec.json.encode(value)
        return await send(self.app, "PUT", "/v1/cores/docs", self.credential(self.agent), body)

    async def drain(self) -> Reply:
        lease = (await self.register()).json["lease_id"]
        target = f"/v1/cores/docs?lease_id={lease}&drain_s=3600"
        reply = await send(self.app, "DELETE", target, self.credential(self.agent))
        await self.register()
        return reply

    async def forward(self, *, method: str) -> Reply:
        names = [b"a_" * 60 + b"%d" % number for number in range(90)]
        cookies = b"__Host-gatehouse=a; " * 200
        headers = [
            (b"x-api-key", self.key.token.encode()),
            (b"cookie", cookies),
            (b"connection", b"a, " * 500),
            (b"origin", SETTINGS["cors_origins"][0].encode()),
            (b"authorization", b"Basic " + b"YTph" * 500),
            *((name, b"a") for name in names),
        ]
        target = "/cores/docs/" + "%C3%A9" * ((TARGET_BYTES - 100) // 12)
        target += "?" + "%C3%A9" * ((TARGET_BYTES - 100) // 12)
        body = bytes(65_536) if method in ("POST", "PUT", "PATCH") else b""
        return await send(self.app, method, target, headers, body)

    async def get(self, path: str) -> Reply:
        return await send(self.app, "GET", path, [])

    async def post(self, path: str, value: Any) -> Reply:
        return await send(self.app, "POST", path, [], msgspec.json.encode(value))


VALUES = largest(CreateKey)
#: The columns of the largest key.
COLUMNS = {
    "name": VALUES["name"],
    "owner": VALUES["owner"],
    "scopes": [*VALUES["scopes"][1:], "cores:read"],
    "cores": [*VALUES["cores"][1:], "docs"],
    "addresses": [*VALUES["addresses"][1:], f"{ADDRESS}/32"],
    "methods": VALUES["methods"],
    "limits": [
        {**limit, "quota": 1_000_000, "burst": 1_000_000, "window_s": 1, "cost": 1}
        for limit in VALUES["limits"]
    ],
}
VALUES["scopes"], VALUES["cores"] = COLUMNS["scopes"], COLUMNS["cores"][::-1]


@pytest.fixture(scope="module")
async def caller(
    database: Database, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Caller]:
    environment = gateway_environment(
        database.app_url,
        redis_url,
        1,
        GATEHOUSE_TRUSTED_PROXIES=f"{ADDRESS}/32",
        GATEHOUSE_LOG_LEVEL="debug",
        GATEHOUSE_MAX_STALENESS_MS="60000",  # the requests leave no time for the change feed
    )
    settings = {name: value for name, value in environment.items() if name[:10] == "GATEHOUSE_"}
    app = gateway.build(load(settings))
    lifespan = _Lifespan(app)
    assert await lifespan.send("startup")
    async with asyncpg.create_pool(database.app_url, min_size=1, max_size=2) as pool:
        client = Gateway(0, 0, pool, Path())
        key = await client.create_key(**COLUMNS)
        signing = await signing_key(client, **{**COLUMNS, "addresses": [], "cores": []})
        agent = await client.create_key(scopes=["cores:register"])
        with core_in_a_thread() as port:
            caller = Caller(app, client, key, signing, agent, port)
            assert (await caller.register()).status == 200
            yield caller
    assert await lifespan.send("shutdown")


#: A request for each operation.
REQUESTS: dict[str, list[Callable[[Caller], Awaitable[Reply]]]] = {
    "verify_key": [Caller.verify, Caller.verify_signed],
    "verify_key_header": [Caller.verify_header],
    "revoke_self": [Caller.revoke],
    "register_core": [Caller.register],
    "drain_core": [Caller.drain],
    **{
        f"{method.lower()}_core": [partial(Caller.forward, method=method)]
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
    },
    "health": [lambda caller: caller.get("/healthz")],
    "readiness": [lambda caller: caller.get("/readyz")],
    "metrics": [lambda caller: caller.get("/metrics")],
}


def test_every_operation_has_a_request() -> None:
    assert {endpoint.operation_id for endpoint in ENDPOINTS} == REQUESTS.keys()


@pytest.mark.parametrize("operation", REQUESTS)
async def test_largest_request_takes_at_most_20_ms(caller: Caller, operation: str) -> None:
    for call in REQUESTS[operation]:
        reply = await cheapest(partial(call, caller))
        assert (reply.status < 300, reply.cpu_s <= BUDGET_S) == (True, True), reply.cpu_s


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.operation_id)
async def test_any_head_takes_at_most_20_ms(caller: Caller, endpoint: Endpoint) -> None:
    path = endpoint.path.replace("{name}", "docs")
    credential = caller.credential(caller.key)
    assert await slow_heads(caller.app, endpoint.method, path, *credential) == []
