"""URLs, cookies and header fields in responses of Cores, as clients receive them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.cases import cases
from tests.runtime.services.gateway.conftest import Core, Gateway, Reply, serving

_CASES = cases(__file__)


class EchoCore(Core):
    """Responds with the field that the header X-Response of the request contains."""

    async def _respond(
        self, path: str, head: bool, writer: asyncio.StreamWriter, reader: asyncio.StreamReader
    ) -> None:
        fields = [value for name, value in self.requests[-1][1] if name == "x-response"]
        lines = "".join(f"{line}\r\n" for line in fields)
        writer.write(f"HTTP/1.1 200 OK\r\n{lines}Content-Length: 0\r\n\r\n".encode("latin-1"))
        await writer.drain()


@dataclass
class Place:
    """How clients reach a Core. base: the path of its URL. host: of the client."""

    base: str = ""
    host: str = "gateway.test"
    settings: dict[str, Any] = field(default_factory=dict)


CORE_HOST = "docs.cores.test"
KEEPS = {"strip_prefix": False}
PLACES = {
    "stripped": Place(),
    "kept": Place(settings=KEEPS),
    "base": Place("/app"),
    "kept-base": Place("/app", settings=KEEPS),
    "host": Place(host=CORE_HOST),
    "host-base": Place("/app", host=CORE_HOST),
}


@dataclass
class Client:
    gateway: Gateway
    place: Place
    core: Core
    key: Any

    async def get(self, *fields: str, path: str = "/a/b?c=d") -> Reply:
        prefix = "" if self.place.host == CORE_HOST else "/cores/docs"
        headers = [f"X-Response: {text.replace('CORE', self.address)}" for text in fields]
        return await self.gateway.get(
            f"{prefix}{path}", self.key.header, *headers, host=self.place.host
        )

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.core.port}"


@asynccontextmanager
async def client(gateway: Gateway, name: str) -> AsyncIterator[Client]:
    place, core = PLACES[name], EchoCore()
    async with (
        serving(core.serve) as core.port,
        gateway.core(f"{core.url}{place.base}", **place.settings) as key,
    ):
        yield Client(gateway, place, core, key)


LOCATIONS: dict[str, Any] = _CASES["locations"]


@pytest.mark.parametrize("place", LOCATIONS)
async def test_location_is_a_url_of_clients(gateway: Gateway, place: str) -> None:
    async with client(gateway, place) as core:
        for name, number in (("Location", 1), ("Content-Location", 2)):  # one value is valid
            for reference, expected in LOCATIONS[place]:
                reply = await core.get(*[f"{name}: {reference}"] * number)
                found = reply.all(name.lower())
                assert found == [expected.replace("CORE", core.address)], reference


COOKIES: dict[str, Any] = {
    **_CASES["cookies"],
    "stripped": [
        ("a=1; Path=/; HttpOnly", "a=1; HttpOnly; Path=/cores/docs"),
        ("a=1;path = /x/y", "a=1; Path=/cores/docs/x/y"),
        ("a=1; Path=/cores/docs/", "a=1; Path=/cores/docs"),
        ("a=1; Path=/cores/other", "a=1; Path=/cores/docs/cores/other"),
        ("a=1; Secure; DOMAIN = example.com", "a=1; Secure"),
        ("domain=1; Domain=core.internal", "domain=1"),
        ("__host-A=1; Secure; Path=/", "__Secure-Host-A=1; Secure; Path=/cores/docs"),
        ("=__Host-a=1", "__Secure-Host-a=1"),
        ("a=1; Path=", "a=1"),
        ("a=1; Path=/a; path; Path=/b", "a=1; Path=/cores/docs/b"),
        ("a=1; Path=/a; Path=b", "a=1"),
        ("__Host-gatehouse=fixed; Path=/; Secure", None),
        ("__host-Gatehouse-sign-in=fixed", None),
        ("= __Host-gatehouse=fixed", None),
    ],
}


@pytest.mark.parametrize("place", COOKIES)
async def test_cookie_has_the_path_of_clients_and_no_domain(gateway: Gateway, place: str) -> None:
    async with client(gateway, place) as core:
        for value, expected in COOKIES[place]:
            reply = await core.get(f"Set-Cookie: {value}", "Set-Cookie: last=1")
            kept = [] if expected is None else [expected]
            assert reply.all("set-cookie") == [*kept, "last=1"], value


@pytest.mark.parametrize(
    ("place", "path", "value", "expected"),
    [
        ("stripped", "/", "a=1", "a=1; Path=/cores/docs"),
        ("kept", "?b", "a=1; Secure; Path=b", "a=1; Secure; Path=/cores/docs"),
        ("stripped", "/", "a=1; Path=/x", "a=1; Path=/cores/docs/x"),
        ("stripped", "/x", "a=1", "a=1"),
        ("host", "/", "a=1", "a=1; Path=/"),
    ],
)
async def test_cookie_without_a_path_is_not_sent_to_other_cores(
    gateway: Gateway, place: str, path: str, value: str, expected: str
) -> None:
    """The default path of a cookie from `/cores/docs` is `/cores` (RFC 6265, section 5.1.4)."""
    async with client(gateway, place) as core:
        reply = await core.get(f"Set-Cookie: {value}", path=path)
        assert reply.all("set-cookie") == [expected]


NOT_RETURNED = (
    *("strict-transport-security", "alt-svc", "clear-site-data", "service-worker-allowed"),
    *("use-as-dictionary", "accept-ch", "origin-agent-cluster", "nel", "report-to"),
    *("public-key-pins", "x-accel-redirect", "x-sendfile", "surrogate-control"),
    *("cdn-cache-control", "proxy-authenticate", "x-envoy-upstream-service-time"),
    *("gatehouse-key-id", "x-gh-urls", "x-gh-instance", "ratelimit-policy", "proxy-connection"),
)
RETURNED = (
    *("content-type", "vary", "www-authenticate", "server", "via", "access-control-allow-origin"),
    *("etag", "content-security-policy", "retry-after", "x-ratelimit-remaining"),
    *("x-frame-options", "request-id", "x-request-id", "x_custom"),
)


async def test_response_header_for_proxies_or_the_whole_host_is_not_returned(
    gateway: Gateway,
) -> None:
    async with client(gateway, "stripped") as core:
        for name in NOT_RETURNED:
            reply = await core.get(f"{name}: of the Core", "x-kept: 1")
            assert "of the Core" not in reply.all(name), name
            assert reply.all("x-kept") == ["1"]
        for name in RETURNED:
            reply = await core.get(f"{name}: caf\xe9")
            assert reply.all(name) == ["caf\xc3\xa9"], name


async def test_header_named_by_connection_is_for_one_connection(gateway: Gateway) -> None:
    async with client(gateway, "stripped") as core:
        reply = await core.get("Connection: close, X-Hop", "X-Hop: 1", "X-Kept: 1")
        assert (reply.all("x-hop"), reply.all("x-kept")) == ([], ["1"])


@pytest.mark.parametrize(
    "lines",
    [
        ["Set-Cookie: a=b; Path=/" + 90_000 * " " + "x"],
        ["Set-Cookie: a=b; Path=/" + 450 * " " + "x"] * 180,
        ["Location: https://" + 45_000 * "@/"],
        ["Connection: " + 15_000 * "x-hop,"],
        [f"Connection: x-{number}" + 200 * " ," for number in range(180)],
    ],
    ids=["one-cookie", "cookies", "location", "nominated", "nominations"],
)
async def test_value_of_a_core_does_not_delay_other_clients(
    gateway: Gateway, lines: list[str]
) -> None:
    """Twenty responses, of which one alone took 20 s of CPU time in quadratic time."""
    head = "\r\n".join(["HTTP/1.1 200 OK", "Content-Length: 2", *lines, "", ""])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(f"{head}ok".encode())

    async def get() -> bytes:
        request = (
            f"GET /cores/docs/x HTTP/1.1\r\nHost: g\r\n{key.header}\r\nConnection: close\r\n\r\n"
        )
        async with gateway.connection(request.encode()) as (reader, _):
            return await reader.read()

    async with serving(serve) as port, gateway.core(f"http://127.0.0.1:{port}") as key:
        async with asyncio.timeout(60):
            replies, health = await asyncio.gather(
                asyncio.gather(*(get() for _ in range(20))), gateway.get("/healthz")
            )
    assert {(reply[:13], reply[-2:]) for reply in replies} == {(b"HTTP/1.1 200 ", b"ok")}
    assert health.status == 200
