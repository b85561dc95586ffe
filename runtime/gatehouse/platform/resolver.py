"""Resolves host names, and checks every address before a connection (core/http/origin.py)."""

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from gatehouse.core.errors import Unavailable
from gatehouse.core.http.addresses import Network, is_address
from gatehouse.core.http.origin import BaseUrl, rejection

RESOLVE_TIMEOUT_S = 3.0

#: Maximum number of lookups in progress of a resolver.
LOOKUPS_MAX = 64

#: Maximum number of addresses of a name. Further ones, of which a response of a name server can
#: contain thousands, are neither checked nor used.
ADDRESSES_MAX = 16


class SystemResolver:
    """Resolver of the operating system, with threads of its own: a name server that does not
    respond keeps one for longer than RESOLVE_TIMEOUT_S, and the few threads of the event loop also
    resolve the names of PostgreSQL and Redis.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(LOOKUPS_MAX, "resolver")
        #: The lookups in progress.
        self._lookups: dict[tuple[str, int], asyncio.Future[tuple[str, ...] | None]] = {}

    async def addresses(self, host: str, port: int) -> tuple[str, ...] | None:
        """Distinct addresses of a host name, in the resolver's order, at most ADDRESSES_MAX. Empty
        if the name does not exist. None if that is not known within RESOLVE_TIMEOUT_S.
        """
        if is_address(host):
            return (host,)
        name = host, port
        if name not in self._lookups:
            loop = asyncio.get_running_loop()
            self._lookups[name] = loop.run_in_executor(self._threads, _look_up, host, port)
            self._lookups[name].add_done_callback(lambda _: self._lookups.pop(name))
        lookup = self._lookups[name]
        await asyncio.wait((lookup,), timeout=RESOLVE_TIMEOUT_S)
        return lookup.result() if lookup.done() else None

    async def checked_addresses(self, url: BaseUrl, networks: Sequence[Network]) -> tuple[str, ...]:
        """Addresses of the host of a URL. A client must connect to one of them, because the name
        can have another address a moment later (DNS rebinding).

        Raises Unavailable if they are unknown, and ValueError with the rest of a sentence, such as
        `has a host name that does not resolve`, unless all are public or in the networks.
        """
        addresses = await self.addresses(url.host, url.port)
        if addresses is None:
            raise Unavailable("The host name cannot be looked up. Try again later.")
        if error := rejection(map(ipaddress.ip_address, addresses), networks):
            raise ValueError(error)
        return addresses


def _look_up(host: str, port: int) -> tuple[str, ...] | None:
    try:
        results = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as exc:
        return None if exc.errno == socket.EAI_AGAIN else ()
    except UnicodeError:
        return ()
    # Removes a scope ID (fe80::1%eth0): only the address is checked.
    texts = (str(result[4][0]).partition("%")[0] for result in results)
    return tuple(dict.fromkeys(texts))[:ADDRESSES_MAX]
