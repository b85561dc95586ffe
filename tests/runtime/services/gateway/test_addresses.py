"""Addresses of instances: changes, names that resolve to another address, and TLS."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import server_context
from tests.runtime.services.gateway.conftest import SERVE, Core, Gateway, Key, running_gateway
from tests.runtime.services.gateway.test_key_lifecycle import key_with_credits, remaining_credits
from tests.runtime.waiting import PAUSE_S, until

#: Names are resolved from a file, and again after a short time.
NAMES = f"""import json, os, socket
from gatehouse.services.gateway import clusters
clusters.PIN_S, real = 0.1, socket.getaddrinfo
def getaddrinfo(host, *args, **options):
    with open(os.environ["NAMES"]) as file:
        return real(json.load(file).get(host, host), *args, **options)
socket.getaddrinfo = getaddrinfo
real_cluster = clusters.ClusterFile._cluster
def cluster(self, name, settings, instances):
    made = real_cluster(self, name, settings, instances)
    return made | ({{"lb_policy": "CLUSTER_PROVIDED"}} if name == "broken" else {{}})
clusters.ClusterFile._cluster = cluster
{SERVE}"""


@dataclass
class Named:
    gateway: Gateway
    agent: Key
    key: Key
    folder: Path

    def resolve(self, **names: str) -> None:
        file = self.folder / "names.new"
        file.write_text(json.dumps({f"{name}.test": address for name, address in names.items()}))
        file.rename(self.folder / "names.json")

    @property
    def clusters(self) -> str:
        (file,) = self.folder.glob("gatehouse-*/clusters/clusters.json")
        return file.read_text()

    async def register(self, name: str, url: str, instance_id: str = "default") -> int:
        members = {"url": url, "instance_id": instance_id, "ttl_s": 300}
        return (await self.gateway.put_core(self.agent, name, members)).status

    async def get(self, name: str) -> tuple[int, bytes]:
        reply = await self.gateway.get(f"/cores/{name}/x", self.key.header)
        return reply.status, reply.body

    async def code_of(self, name: str) -> int:
        return (await self.get(name))[0]

    async def code(self, name: str) -> tuple[int, str]:
        return (await self.gateway.get(f"/cores/{name}/x", self.key.header)).outcome


@pytest.fixture
async def named(
    gateway: Gateway, database: Any, redis_url: str, socket_folder: Path
) -> AsyncIterator[Named]:
    settings = {
        "NAMES": str(socket_folder / "names.json"),
        "TMPDIR": str(socket_folder),
        "SSL_CERT_FILE": str(socket_folder / "ca.pem"),
    }
    for name in ("first", "second"):
        (socket_folder / name).mkdir()
        server_context(socket_folder / name, f"{name}.test")
    trusted = [
        (socket_folder / name / "certificate.pem").read_text() for name in ("first", "second")
    ]
    (socket_folder / "ca.pem").write_text("".join(trusted))
    (socket_folder / "names.json").write_text("{}")
    with running_gateway(database, redis_url, socket_folder, NAMES, **settings) as (
        port,
        pid,
        log,
        _,
    ):
        client = replace(gateway, port=port, pid=pid, log=log)
        agent = await client.create_key(scopes=["cores:register"])
        yield Named(client, agent, await client.create_key(), socket_folder)
        await client.pool.execute("UPDATE core SET draining = true, expires_at = now()")


async def test_changed_address_takes_effect_and_streams_survive(named: Named) -> None:
    first, second = Core(), Core()
    server = await asyncio.start_server(first.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    other = await asyncio.start_server(second.serve, "127.0.0.2", port)
    named.resolve(core="127.0.0.1")
    assert await named.register("docs", f"http://core.test:{port}") == 200
    gateway, header = named.gateway, named.key.header
    streams = [
        asyncio.create_task(gateway.get("/cores/docs/slow", header, *more))
        for more in ((), ("Accept: text/event-stream",))  # the second one is relayed
    ]
    await until(lambda: len(first.requests) == 2)
    named.resolve(core="127.0.0.2")
    async with asyncio.timeout(60):
        while not second.requests:
            assert await named.get("docs") == (200, b"hello")
    assert '"127.0.0.1"' not in named.clusters
    first.resume.set()
    assert [reply.body for reply in await asyncio.gather(*streams)] == [b"firstsecond"] * 2
    # DNS rebinding: an address that is not permitted is never used.
    named.resolve(core="10.0.0.9")
    async with asyncio.timeout(60):
        while await named.code_of("docs") == 200:
            await asyncio.sleep(PAUSE_S)
    assert await named.code("docs") == (502, "core_unreachable")
    assert "10.0.0.9" not in named.clusters
    key = await key_with_credits(gateway, 10)
    assert (await gateway.get("/cores/docs/x", key.header)).outcome == (502, "core_unreachable")
    async with asyncio.timeout(60):
        while await remaining_credits(gateway, key) != 10:
            await asyncio.sleep(PAUSE_S)
    server.close()
    other.close()


async def test_certificates_of_instances_must_have_their_names(named: Named) -> None:
    named.resolve(first="127.0.0.1", second="127.0.0.2", wrong="127.0.0.1")
    names, cores = list[str | None](), [Core(), Core()]
    ports = []
    for name, core, address in zip(
        ("first", "second"), cores, ("127.0.0.1", "127.0.0.2"), strict=True
    ):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(
            named.folder / name / "certificate.pem", named.folder / name / "key.pem"
        )
        context.sni_callback = lambda _, sni, __: names.append(sni)
        server = await asyncio.start_server(core.serve, address, 0, ssl=context)
        ports.append(server.sockets[0].getsockname()[1])
    for name, port in zip(("first", "second"), ports, strict=True):
        assert await named.register("docs", f"https://{name}.test:{port}", name) == 200
    async with asyncio.timeout(60):
        while not all(core.requests for core in cores):
            assert await named.get("docs") == (200, b"hello")
    assert set(names) == {"first.test", "second.test"}
    assert await named.register("wrong", f"https://wrong.test:{ports[0]}") == 200
    assert await named.code("wrong") == (502, "core_unreachable")
    assert names[-1] == "wrong.test"


async def test_broken_cluster_is_rejected_alone(named: Named, core: Core) -> None:
    assert await named.register("broken", core.url) == 200
    assert await named.register("docs", core.url) == 200
    assert await named.get("docs") == (200, b"hello")
    assert await named.code("broken") == (503, "core_not_registered")
    (line, *_) = await named.gateway.lines_with(event="clusters were not written")
    assert line["reason"] == "Envoy has rejected a cluster, and uses the others"
