"""The connections of a worker, and their limits."""

import asyncio
import heapq
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from typing import Any, TypeAlias

from gatehouse.core.addresses import ClientAddresses, network_of
from gatehouse.core.errors import GatehouseError, TooManyRequests, Unavailable
from gatehouse.platform.batched_writes import BatchedWrites
from gatehouse.platform.executions import Cancellable
from gatehouse.platform.http import asgi
from gatehouse.platform.settings import ConnectionSettings
from gatehouse.platform.turns import Reads, Turns

#: Maximum number of bytes of unfinished heads, and of bodies that do not arrive with the head, that
#: the workers of a service keep in memory. Each worker has an equal share. Streamed bodies, such as
#: those of requests to Cores and of files, do not count.
#:
#: BODIES: in total. Beyond it, the oldest request of the largest subject is rejected. If none can
#: be, subjects below an equal share exceed the total. OWNER_BODIES: for an owner, and for all
#: clients without authorization. NETWORK_BODIES: for those of a network.
BODIES_BYTES_MAX = 32 * 1024 * 1024
OWNER_BODIES_BYTES_MAX = BODIES_BYTES_MAX // 2
NETWORK_BODIES_BYTES_MAX = 8 * 1024 * 1024

_FULL = "The server is receiving too many bytes of requests at the same time."

#: Maximum number of bytes of responses that wait for clients to read, in all workers of a service.
#: Beyond it, the client that has waited for the longest time is disconnected, of the subject or
#: network for which most bytes wait.
UNSENT_BYTES_MAX = 128 * 1024 * 1024

#: Maximum size of a read. If the workers of a service receive many bodies, each read of a body has
#: an equal share of BODY_PARTS_BYTES_MAX, but at least PART_BYTES.
_READ_BYTES = 131_072
BODY_PARTS_BYTES_MAX = 32 * 1024 * 1024
PART_BYTES = 16_384

#: Time in seconds for which requests that waited begin in an iteration of the event loop, and for
#: which further requests begin, and others continue.
TURN_S = 0.003

#: Counts bytes of a body that are kept in memory. Raises TooManyRequests or Unavailable if a limit
#: is exceeded; the bytes count even then.
KeepBytes = Callable[[int], None]

#: For which bytes count: an owner and, of it, a link. Clients that are not authorized share one
#: subject, so that those with many addresses take memory only from each other.
Subject: TypeAlias = tuple[str, str]
ANYONE: Subject = ("", "")


class KeptBytes:
    """Bytes that requests or connections keep in memory, by subject."""

    def __init__(self) -> None:
        self.total = 0
        #: Beginning with the oldest.
        self._kept: dict[Any, tuple[Subject, int]] = {}
        self._sizes: dict[str, asgi.Uses] = {}

    def get(self, holder: Any) -> tuple[Subject, int]:
        return self._kept.get(holder, (ANYONE, 0))

    def size(self, name: str) -> int:
        """Number of bytes of the subjects that begin with a name."""
        return sum(self._sizes.get(name, {}).values())

    def share(self, name: str) -> int:
        """Number of bytes in total if all names had as many as this one."""
        return self.size(name) * len(self._sizes)

    def count(self, holder: Any, subject: Subject, size: int) -> None:
        """Adds bytes, or removes them if `size` is negative. A holder has one subject at a time."""
        before, (name, part) = self.get(holder)[1], subject
        now = max(before + size, 0)
        if now:
            self._kept[holder] = subject, now
        else:
            self._kept.pop(holder, None)
        self.total += now - before
        sizes = self._sizes.setdefault(name, asgi.Uses())
        sizes.remove(part, before - now)
        if not sizes:
            del self._sizes[name]

    def remove(self, holder: Any) -> None:
        subject, size = self.get(holder)
        self.count(holder, subject, -size)

    def of(self, subject: Subject) -> Iterator[Any]:
        """The holders of a subject, the oldest first."""
        return (holder for holder, (each, _) in self._kept.items() if each == subject)

    def of_most(self, name: str | None = None) -> Iterator[Any]:
        """The holders of the largest subject of a name. None: of the name with the most bytes."""
        name = max(self._sizes, key=self.size) if name is None else name
        sizes = self._sizes[name]
        return self.of((name, max(sizes, key=sizes.__getitem__)))


class Connections:
    """The connections of one worker, and the number of connections and unfinished bodies per
    network.

    A network is an IPv4 address or an IPv6 /64, because a client usually controls all addresses of
    a /64.
    """

    def __init__(
        self,
        settings: ConnectionSettings,
        addresses: ClientAddresses,
        on_reject: Callable[[GatehouseError, str], None] = lambda error, address: None,
        workers: int = 1,
    ) -> None:
        """on_reject: called with the error and the address of a client whose request never reached
        the application. workers: number of workers of the service.
        """
        self.settings = settings
        self.addresses = addresses
        self.on_reject = on_reject
        self._workers = workers
        self.writes = BatchedWrites()
        self.reads = Reads(_READ_BYTES)
        #: The server is stopping: it is not ready, and closes each connection after the response.
        self.draining = False
        self._by_network = asgi.Uses()
        #: Unfinished bodies by network.
        self.bodies = asgi.Uses()
        self.bodies_total = 0
        #: Bytes of unfinished requests, and those of ANYONE by network.
        self.unfinished, self.anonymous = KeptBytes(), KeptBytes()
        #: Bytes of responses that wait for clients.
        self.unsent = KeptBytes()
        #: The server waits for these connections and requests.
        self.protocols: set[Any] = set()
        self.running: set[Cancellable] = set()
        self._date_s = 0
        self._date_line = b""
        self._beginning, self._continuing = Turns(TURN_S), Turns(TURN_S)

    def start(self, scope: asgi.Scope, begin: Callable[[], None]) -> None:
        """Begins a request. If many arrive at the same time, the networks of their clients take
        turns.
        """
        if self._beginning.waiting or self._beginning.check():
            self._beginning.wait(self.network_of(scope), begin)
        else:
            begin()

    async def turn(self, scope: asgi.Scope) -> None:
        """Waits for the next turn of a request that has waited for its task, its body or a Core:
        many can end their wait at the same time.
        """
        network = ""
        while self._continuing.check():
            network, turn = network or self.network_of(scope), asyncio.Event()
            self._continuing.wait(network, turn.set)
            await turn.wait()

    def open(self, address: str) -> None:
        """Counts a connection, and closes others if there are too many. Raises Unavailable or
        TooManyRequests if a limit is exceeded. `close` must be called even in this case."""
        connections = self._by_network.add(network_of(address))
        if self.exceeds_limit(address, connections):
            raise TooManyRequests("This address has reached its connection limit.")
        if len(self.protocols) >= self.settings.connections_max:
            error = Unavailable("The server has reached its connection limit.")
            if not self._close_waiting(error):
                raise error

    def _close_waiting(self, error: GatehouseError) -> bool:
        """Closes connections without a complete request: of the half that has waited for the
        longest time, so that new ones have time for a request, first those of the networks with the
        most. Those whose client still reads a response count as the newest. Returns False if there
        are none.
        """
        waiting = [each for each in self.protocols if each.is_waiting]
        waiting.sort(key=lambda each: (each.transport.unsent_bytes() > 0, each.waits_since))
        networks = Counter(
            each.network
            for each in waiting
            # A trusted proxy limits its own connections.
            if each.network != each.transport.network
            or not self.addresses.trusts(each.transport.peer)
        )
        closed = heapq.nsmallest(
            self.settings.connections_max // 64 or 1,  # several, because sorting takes 2 ms
            waiting[: (len(waiting) + 1) // 2],
            key=lambda each: -networks[each.network],
        )
        for each in closed:
            self.protocols.remove(each)
            self.on_reject(error, each.transport.network)
            each.transport.transport.abort()
        return bool(closed)

    def exceeds_limit(self, address: str, connections: int) -> bool:
        """True if the network of an address has too many connections."""
        limit = self.settings.address_connections_max
        return connections > limit and not self.addresses.trusts(address)

    def close(self, address: str) -> None:
        self._by_network.remove(network_of(address))

    def date_line(self) -> bytes:
        """The header Date of a response (RFC 9110, section 6.6.1) as a line."""
        now = int(time.time())
        if now != self._date_s:
            self._date_s = now
            self._date_line = f"date: {formatdate(now, usegmt=True)}\r\n".encode("ascii")
        return self._date_line

    def network(self, peer: str, forwarded_for: Iterable[bytes]) -> str:
        """The network of the client of a request with these values of X-Forwarded-For."""
        values = [value.decode("latin-1") for value in forwarded_for]
        return network_of(self.addresses.client(peer, values))

    def network_of(self, scope: asgi.Scope) -> str:
        """The network of the client of a request. Empty if it is not known."""
        if not scope["client"]:
            return ""
        values = (value for name, value in scope["headers"] if name == b"x-forwarded-for")
        return self.network(scope["client"][0], values)

    @property
    def part_bytes(self) -> int:
        """Maximum size of a part of a body that is read."""
        share = BODY_PARTS_BYTES_MAX // self._workers // max(self.bodies_total, 1)
        return max(min(share, _READ_BYTES), PART_BYTES)

    def open_body(self, network: str) -> None:
        """Counts an unfinished body. Raises TooManyRequests if the limit is exceeded. The body must
        be removed even then.
        """
        self.bodies_total += 1
        if self.bodies.add(network) > self.settings.address_bodies_max:
            raise TooManyRequests(
                "This address is sending too many request bodies at the same time."
            )

    def close_body(self, network: str) -> None:
        self.bodies_total -= 1
        self.bodies.remove(network)

    @contextmanager
    def of_body(self, scope: asgi.Scope, exchange: Any = None) -> Iterator[KeepBytes]:
        """The memory of the body of a request. At the end of the block, its bytes no longer
        count. exchange: see `count_bytes`.
        """
        network, kept, subject = self.network_of(scope), 0, ANYONE

        def keep(size: int) -> None:
            nonlocal kept, subject
            kept += size
            if exchange is not None and exchange.subject != subject:  # authorized now
                self.count_bytes(exchange, network, size - kept, subject)
                size, subject = kept, exchange.subject
            self.count_bytes(exchange, network, size, subject)

        try:
            yield keep
        finally:
            self.count_bytes(exchange, network, -kept, subject)

    def count_bytes(self, request: Any, network: str, size: int, subject: Subject = ANYONE) -> None:
        """Counts bytes of unfinished requests, or removes them if `size` is negative. Raises
        TooManyRequests and Unavailable if a limit is exceeded; the bytes count even then.

        request: connection or exchange, has `reject_unfinished`. None: its requests are never
            rejected for others.
        """
        self.unfinished.count(request, subject, size)
        if subject is ANYONE:
            self.anonymous.count(request, (network, ""), size)
        if size <= 0:
            return
        while self.anonymous.size(network) * self._workers > NETWORK_BODIES_BYTES_MAX:
            text = "This address is sending too many bytes of requests at the same time."
            self._make_room(request, self.anonymous.of((network, "")), TooManyRequests(text))
        name = subject[0]
        while self.unfinished.size(name) * self._workers > OWNER_BODIES_BYTES_MAX:
            own = TooManyRequests("You are sending too many bytes of requests at the same time.")
            error = own if name else Unavailable(_FULL)
            self._make_room(request, self.unfinished.of_most(name), error)
        while self.unfinished.total * self._workers > BODIES_BYTES_MAX:
            try:
                self._make_room(request, self.unfinished.of_most(), Unavailable(_FULL))
            except Unavailable:
                # Requests of others that have been received wait, such as for a Core.
                if self.unfinished.share(name) * self._workers > BODIES_BYTES_MAX:
                    raise
                break

    def _make_room(self, request: Any, oldest: Iterable[Any], error: GatehouseError) -> None:
        """Rejects the oldest unfinished request of these, or raises the error for the current."""
        for each in oldest:
            if each is request:
                break
            if each is not None and each.reject_unfinished(error):
                self.anonymous.remove(each)
                self.unfinished.remove(each)
                return
        raise error

    def count_unsent(self, transport: Any, size: int) -> None:
        """Counts the bytes that wait for a client. 0: the client has read enough. Until then, the
        number does not decrease, because a part of a response takes memory until it is sent.
        """
        subject, counted = self.unsent.get(transport)
        if not size:
            self.unsent.remove(transport)
            return
        if not counted:
            subject = transport.subject
            if subject is ANYONE:
                subject = "", self.network(transport.peer, [transport.forwarded_for])
        self.unsent.count(transport, subject, max(size - counted, 0))
        while self.unsent.total * self._workers > UNSENT_BYTES_MAX:
            oldest = next(self.unsent.of_most())
            self.unsent.remove(oldest)
            oldest.transport.abort()
