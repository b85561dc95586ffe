"""DNS lookups with the resolver of the system."""

from __future__ import annotations

import asyncio
import socket

RESOLVE_TIMEOUT_S = 3.0


class SystemResolver:
    async def addresses(self, host: str, port: int) -> tuple[str, ...]:
        """Distinct addresses of a host name, in the resolver's order. Empty if it does not resolve within RESOLVE_TIMEOUT_S."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(RESOLVE_TIMEOUT_S):
                results = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, TimeoutError, UnicodeError):
            return ()
        # Removes a scope id (fe80::1%eth0): only the address is checked.
        return tuple(dict.fromkeys(str(result[4][0]).partition("%")[0] for result in results))
