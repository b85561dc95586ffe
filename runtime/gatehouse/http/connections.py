"""The connections of a worker, and their limits."""

from __future__ import annotations

from collections.abc import Callable

from gatehouse.batched_writes import BatchedWrites
from gatehouse.errors import GatehouseError, TooManyRequests, Unavailable
from gatehouse.http import asgi
from gatehouse.http.client_address import ClientAddresses
from gatehouse.settings import ConnectionSettings


class Connections:
    """The connections of one worker, and the number of connections and unfinished bodies per IP address."""

    def __init__(
        self,
        settings: ConnectionSettings,
        addresses: ClientAddresses,
        on_reject: Callable[[GatehouseError, str], None] = lambda error, address: None,
    ) -> None:
        """on_reject: called with the error and the address of a client whose request never reached the application."""
        self.settings = settings
        self.addresses = addresses
        self.on_reject = on_reject
        self.writes = BatchedWrites()
        #: Open connections.
        self.total = 0
        #: True when the server is stopping. The server is then not ready, and closes each connection after the response.
        self.draining = False
        self._by_address = asgi.Uses()
        #: Unfinished bodies by client address.
        self.bodies = asgi.Uses()
        #: The headers that uvicorn adds to every response, and their header lines.
        self.default_headers: list[asgi.Header] = []
        self.default_lines = b""

    def open(self, address: str) -> None:
        """Counts a connection. Raises Unavailable or TooManyRequests if a limit is exceeded. `close` must be called even in this
        case."""
        self.total += 1
        connections = self._by_address.add(address)
        if self.total > self.settings.connections_max:
            raise Unavailable("The server has reached its connection limit.")
        if connections > self.settings.address_connections_max and not self.addresses.trusts(address):
            raise TooManyRequests("This address has reached its connection limit.")

    def close(self, address: str) -> None:
        self.total -= 1
        self._by_address.remove(address)

    def set_default_headers(self, headers: list[asgi.Header]) -> None:
        """Called when uvicorn has created a new list, which it does every second."""
        self.default_headers, self.default_lines = headers, asgi.encode_headers(headers)

    def open_body(self, address: str) -> None:
        """Counts an unfinished body. Raises TooManyRequests if the limit is exceeded. The body must be removed even then."""
        if self.bodies.add(address) > self.settings.address_bodies_max:
            raise TooManyRequests("This address is sending too many request bodies at the same time.")
