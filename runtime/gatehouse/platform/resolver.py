"""Resolves host names, and checks every address before a connection (core/http/origin.py)."""

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import TypeAlias

from gatehouse.core.errors import Unavailable
from gatehouse.core.http.addresses import Network, is_address
from gatehouse.core.http.origin import BaseUrl, rejection

RESOLVE_TIMEOUT_S = 3.0

#: Maximum number of lookups in progress of a resolver.
LOOKUPS_MAX = 64

#: Maximum number of addresses of a name. Further ones, of which a response of a name server can
#: contain thousands, are neither checked nor used.
ADDRESSES_MAX = 16

#: Distinct addresses of a host name, or None if they are unknown.
_Lookup: TypeAlias = asyncio.Future[tuple[str, ...] | None]


class SystemResolver:
    """Resolver of the operating system. Each lookup has a thread: a name server that does not
    respond keeps it for longer than RESOLVE_TIMEOUT_S, and the few threads of the event loop also
    resolve the names of PostgreSQL and Redis.
    """

    def __init__(self) -> None:
        #: The lookups in progress.
        self._lookups: dict[tuple[str, int], _Lookup] = {}

    async def addresses(self, host: str, port: int) -> tuple[str, ...] | None:
        """Distinct addresses of a host name, in the resolver's order, at most ADDRESSES_MAX. Empty
        if the name does not exist. None if that is not known within RESOLVE_TIMEOUT_S, or if
        LOOKUPS_MAX lookups of other names are in progress.
        """
        if is_address(host):
            return (host,)
        if (host, port) not in self._lookups:
            if len(self._lookups) >= LOOKUPS_MAX:
                return None
            loop = asyncio.get_running_loop()
            arguments = (loop, host, port)
            threading.Thread(target=self._look_up, args=arguments, daemon=True).start()
            self._lookups[host, port] = loop.create_future()
        lookup = self._lookups[host, port]
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

    def _look_up(self, loop: asyncio.AbstractEventLoop, host: str, port: int) -> None:
        """Runs in a thread."""
        found: tuple[str, ...] | None = ()
        try:
            results = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            # Removes a scope ID (fe80::1%eth0): only the address is checked.
            texts = (str(result[4][0]).partition("%")[0] for result in results)
            found = tuple(dict.fromkeys(texts))[:ADDRESSES_MAX]
        except OSError as exc:
            found = None if exc.errno == socket.EAI_AGAIN else ()
        except UnicodeError:
            pass
        with suppress(RuntimeError):  # the event loop has been closed
            loop.call_soon_threadsafe(self._end, (host, port), found)

    def _end(self, name: tuple[str, int], found: tuple[str, ...] | None) -> None:
        self._lookups.pop(name).set_result(found)
