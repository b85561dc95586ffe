"""Host names, and the check of their addresses."""

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Iterator, Sequence

import pytest
from gatehouse.core.errors import Unavailable
from gatehouse.core.http.origin import parse_base_url
from gatehouse.platform import resolver as resolvers
from gatehouse.platform.resolver import SystemResolver

from tests.runtime.waiting import until

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
PATIENCE_S = 60


class NameServer:
    """Stands for getaddrinfo. Names that begin with `silent` get no response until `release`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        self.error: OSError | None = None
        self.release = threading.Event()
        monkeypatch.setattr(socket, "getaddrinfo", self.look_up)
        monkeypatch.setattr(resolvers, "RESOLVE_TIMEOUT_S", 0.1)

    def look_up(
        self, host: str, port: int, *_: object, **__: object
    ) -> Sequence[tuple[object, ...]]:
        self.names.append(host)
        if host.startswith("silent"):
            self.release.wait()
        if self.error is not None:
            raise self.error
        hosts = [f"127.0.0.{number + 1}" for number in range(100 if host == "many.test" else 1)]
        kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*kind, (each, port)) for each in [*hosts, *hosts]]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    server = NameServer(monkeypatch)
    yield server
    server.release.set()


async def test_name_that_does_not_resolve_in_time_is_unavailable(names: NameServer) -> None:
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(Unavailable):
            await SystemResolver().checked_addresses(parse_base_url("http://silent.test"), LOOPBACK)


@pytest.mark.parametrize(
    ("errno", "addresses"),
    [(socket.EAI_AGAIN, None), (socket.EAI_NONAME, ()), (None, ("127.0.0.1",))],
)
async def test_failure_of_the_name_server_is_no_missing_name(
    names: NameServer, monkeypatch: pytest.MonkeyPatch, errno: int | None, addresses: object
) -> None:
    monkeypatch.setattr(resolvers, "RESOLVE_TIMEOUT_S", PATIENCE_S)
    names.error = None if errno is None else socket.gaierror(errno, "x")
    assert await SystemResolver().addresses("core.test", 80) == addresses


async def test_every_address_of_a_name_is_checked(names: NameServer) -> None:
    resolver, url = SystemResolver(), parse_base_url("http://many.test:8080/path")
    assert len(await resolver.checked_addresses(url, LOOPBACK)) == resolvers.ADDRESSES_MAX
    for network in ("127.0.0.0/29", "10.0.0.0/8"):
        with pytest.raises(ValueError, match="not public"):
            await resolver.checked_addresses(url, (ipaddress.ip_network(network),))
    names.error = socket.gaierror(socket.EAI_NONAME, "not known")
    with pytest.raises(ValueError, match="does not resolve"):
        await resolver.checked_addresses(url, LOOPBACK)


async def test_addresses_of_a_name_are_bounded(names: NameServer) -> None:
    found = await SystemResolver().addresses("many.test", 80)
    assert found == tuple(f"127.0.0.{number + 1}" for number in range(resolvers.ADDRESSES_MAX))


async def test_lookups_in_progress_are_bounded(
    names: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolvers, "LOOKUPS_MAX", 20)
    resolver = SystemResolver()
    silent = [f"silent-{number % 19}.test" for number in range(100)]
    found = await asyncio.gather(*(resolver.addresses(name, 80) for name in silent))
    assert {*found} == {None}
    assert len(names.names) == 19
    monkeypatch.setattr(resolvers, "RESOLVE_TIMEOUT_S", PATIENCE_S)
    assert await resolver.addresses("core.test", 80) == ("127.0.0.1",)
    last = asyncio.create_task(resolver.addresses("silent-last.test", 80))
    await until(lambda: len(names.names) == 21)
    waiting = asyncio.create_task(resolver.addresses("core.test", 80))
    assert await resolver.addresses("127.0.0.1", 80) == ("127.0.0.1",)
    assert not waiting.done()
    names.release.set()
    assert await last == await waiting == ("127.0.0.1",)
