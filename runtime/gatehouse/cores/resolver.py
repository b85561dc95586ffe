"""Looks up the addresses behind a host name with the system's resolver."""

from __future__ import annotations

import asyncio
import socket

RESOLVE_TIMEOUT_S = 3.0


class SystemResolver:
    """The Resolver port."""

    async def addresses(self, host: str, port: int) -> tuple[str, ...]:
        """In the system's order, each once. A name that does not resolve in RESOLVE_TIMEOUT_S has no address."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(RESOLVE_TIMEOUT_S):
                found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, TimeoutError, UnicodeError):
            return ()
        # A scope id (fe80::1%eth0) is cut off: the address itself is what is judged.
        return tuple(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))
