"""The connections of a worker, and their limits."""

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
#: BODIES: in total. Beyond it, the oldest request of the owner or network with the most bytes is
#: rejected. If none can be, owners and networks below an equal share exceed the total.
#: OWNER_BODIES: for an owner, for a network, and for all clients without authorization.
#: NETWORK_BODIES: for the clients without authorization of a network.
BODIES_BYTES_MAX = 32 * 1024 * 1024
OWNER_BODIES_BYTES_MAX = BODIES_BYTES_MAX // 2
NETWORK_BODIES_BYTES_MAX = 8 * 1024 * 1024

_FULL = "The server is receiving too many bytes of requests at the same time."

#: Maximum number of bytes of responses that wait for clients to read, in all workers of a service.
#: Beyond it, the client that has waited for the longest time is disconnected, of the owner or
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

#: For which bytes and turns count: an owner and, of it, a link. The memory of clients that are not
#: authorized has one subject, so that those with many addresses take it only from each other.
Subject: TypeAlias = tuple[str, str]
ANYONE: Subject = ("", "")

#: See `KeptBytes`.
Names: TypeAlias = tuple[tuple[str, str, str], ...]


class KeptBytes(asgi.Uses):
    """Bytes that requests or connections keep in memory, by ("owner", name) and ("network", name).
    Whoever has many keys takes memory from clients of the same network, and whoever has many
    addresses from clients of the same owner.
    """

    def __init__(self) -> None:
        self.total = 0
        #: Names with their parts, and size. Beginning with the oldest.
        self.holders: dict[Any, tuple[Names, int]] = {}
        #: By link for each owner, by network for clients without authorization, and by owner for
        #: each network.
        self.parts: dict[tuple[str, str], asgi.Uses] = {}

    def count(self, holder: Any, names: Names, size: int) -> None:
        """Adds bytes, or removes them if `size` is negative. A holder has the same names until it
        has no bytes.
        """
        before = self.holders.get(holder, (names, 0))[1]
        now = max(before + size, 0)
        self.holders[holder] = names, now
        self._add(names, now - before)
        if not now:
            del self.holders[holder]

    def end(self, holder: Any) -> None:
        names, size = self.holders.pop(holder, ((), 0))
        self._add(names, -size)

    def _add(self, names: Names, size: int) -> None:
        for kind, name, part in names:
            self.remove((kind, name), -size)
            parts = self.parts.setdefault((kind, name), asgi.Uses())
            parts.remove(part, -size)
            if not parts:
                del self.parts[kind, name]
        self.total += size

    def share(self, kind: str, name: str) -> int:
        """Number of bytes in total if all names of a kind had as many as this one."""
        number: int = sum(each == kind for each, _ in self)
        return self[kind, name] * number

    def of(self, *name: str) -> Iterator[Any]:
        return (holder for holder, (names, _) in self.holders.items() if name in names)

    def of_most(self, *name: str) -> Iterator[Any]:
        """The holders of the parts with at least an equal share of the bytes of an owner or
        network, the oldest first. No name: of the one with the most.
        """
        most: Any = name or max(self, key=self.__getitem__)
        parts, share = self.parts[most], self[most] / len(self.parts[most])
        for holder, (names, _) in self.holders.items():
            if any(each[:2] == most and parts[each[2]] >= share for each in names):
                yield holder


def names_of(subject: Subject, network: str) -> Names:
    owner, link = subject
    return ("owner", owner, link if owner else network), ("network", network, owner)


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
        #: Bytes of unfinished requests, and of responses that wait for clients.
        self.unfinished, self.unsent = KeptBytes(), KeptBytes()
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

    async def turn(self, scope: asgi.Scope, subject: Subject) -> None:
        """Waits for the next turn of a request that has waited for its task, its body or a Core, or
        that is costly: many can continue at the same time. Subjects take turns, because a client
        with a credential can have many addresses, and for ANYONE networks do.
        """
        if self._continuing.is_busy or self._continuing.check():
            by_network = subject is ANYONE
            await self._continuing.take(self.network_of(scope) if by_network else subject)

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
        most. Those whose client still reads a response count as the newest. If there are few,
        closes those of the networks with the most requests in progress, if they have more than an
        equal share. Returns False if there are none.
        """
        number = self.settings.connections_max // 16 or 1  # many, because sorting takes 10 ms
        waiting = [each for each in self.protocols if each.is_waiting]
        closed = [] if len(waiting) > number else self._largest(number, {*waiting})
        if not closed:
            waiting.sort(key=lambda each: (each.transport.unsent_bytes() > 0, each.waits_since))
            networks = Counter(
                each.network
                for each in waiting
                # A trusted proxy limits its own connections.
                if each.network != each.transport.network
                or not self.addresses.trusts(each.transport.peer)
            )
            oldest = waiting[: (len(waiting) + 1) // 2]
            closed = heapq.nsmallest(number, oldest, key=lambda each: -networks[each.network])
        for each in closed:
            self.protocols.remove(each)
            self.on_reject(error, each.transport.network)
            each.transport.transport.abort()
        return bool(closed)

    def _largest(self, number: int, waiting: set[Any]) -> list[Any]:
        """At most this number of connections of the networks with more than that, and with more
        than an equal share of the requests in progress: of those with the most, the oldest."""
        clients = {each: each.client for each in self.protocols - waiting}
        networks = Counter(filter(None, clients.values()))
        size = max(networks.total() / len(networks), number) if networks else number
        large = [each for each, client in clients.items() if networks[client] > size]
        large.sort(key=lambda each: (-networks[clients[each]], each.waits_since))
        return large[:number]

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
        kept, owner, workers = self.unfinished, subject[0], self._workers
        kept.count(request, names_of(subject, network), size)
        if size <= 0:
            return
        text = "This address is sending too many bytes of requests at the same time."
        while kept.parts["network", network][""] * workers > NETWORK_BODIES_BYTES_MAX:
            self._make_room(request, kept.of("network", network, ""), TooManyRequests(text))
        while kept["network", network] * workers > OWNER_BODIES_BYTES_MAX:
            self._make_room(request, kept.of_most("network", network), TooManyRequests(text))
        while kept["owner", owner] * workers > OWNER_BODIES_BYTES_MAX:
            own = TooManyRequests("You are sending too many bytes of requests at the same time.")
            error = own if owner else Unavailable(_FULL)
            self._make_room(request, kept.of_most("owner", owner), error)
        while kept.total * workers > BODIES_BYTES_MAX:
            try:
                self._make_room(request, kept.of_most(), Unavailable(_FULL))
            except Unavailable:
                # Requests of others that have been received wait, such as for a Core.
                share = min(kept.share("owner", owner), kept.share("network", network))
                if share * workers > BODIES_BYTES_MAX:
                    raise
                break

    def _make_room(self, request: Any, oldest: Iterable[Any], error: GatehouseError) -> None:
        """Rejects the oldest unfinished request of these, or raises the error for the current."""
        for each in oldest:
            if each is request:
                break
            if each is not None and each.reject_unfinished(error):
                self.unfinished.end(each)
                return
        raise error

    def count_unsent(self, transport: Any, size: int) -> None:
        """Counts the bytes that wait for a client. 0: the client has read enough. Until then, the
        number does not decrease, because a part of a response takes memory until it is sent.
        """
        if not size:
            self.unsent.end(transport)
            return
        names, counted = self.unsent.holders.get(transport, ((), 0))
        if not names:
            forwarded_for = [transport.forwarded_for]
            names = names_of(transport.subject, self.network(transport.peer, forwarded_for))
        self.unsent.count(transport, names, max(size - counted, 0))
        while self.unsent.total * self._workers > UNSENT_BYTES_MAX:
            oldest = next(self.unsent.of_most())
            self.unsent.end(oldest)
            oldest.transport.abort()
