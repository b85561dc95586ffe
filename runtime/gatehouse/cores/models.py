"""The values that every layer of the runtime speaks in; no behaviour beyond construction, no I/O.

Times are Unix seconds (float, UTC) inside the runtime and RFC 3339 text at its edges. Limits and windows carry their
unit in the name. `KeyRecord` is a `msgspec.Struct` outside the garbage collector's sight: a worker holds many of them, and
a full collection over a million tracked objects stops the event loop for 0.3 s (measured; see bench/).

What the flows need from the outside world, as small protocols; adapters live in sibling files, one a technology.

Adapters translate foreign exceptions: nothing above this line sees the name of a driver. A method that cannot reach its
technology raises `errors.Unavailable`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import NewType, Protocol

import msgspec

from gatehouse.audit.models import AuditEvent
from gatehouse.keys.models import KeyEnvironment, KeyId

CoreName = NewType("CoreName", str)  # lower-case DNS label, 1 to 40 characters


class CoreRecord(msgspec.Struct, frozen=True):
    """A registered Core: where it is now, until when it says so, and who registered it."""

    name: CoreName
    url: str  # origin only: http(s)://host[:port]
    environment: KeyEnvironment
    lease_id: str
    registered_by: KeyId
    pepper_generation: int  # under which the Core's own secret was derived
    expires_at: float
    draining: bool
    version: int


class Cores(Protocol):
    """The gateway's view of the registered Cores."""

    def find(self, name: str) -> CoreRecord | None:
        """From memory, which follows the database as the keys do. Leases that have run out are found too."""
        ...

    async def register(self, record: CoreRecord, *, now: float, event: AuditEvent) -> CoreRecord:
        """Takes the name under a new lease, in one transaction with its audit event.

        Raises Conflict while another key's lease on the name is live at `now`, Unavailable without a database.
        """
        ...

    async def renew(self, record: CoreRecord, *, event: AuditEvent | None) -> CoreRecord | None:
        """Sets url and expiry of the lease `record.lease_id` held by `record.registered_by`; None when they do not hold the name.

        An empty `record.url` keeps the one that is stored.
        `event` is written in the same transaction (None for a heartbeat that changes nothing but the time).
        """
        ...

    async def drain(self, name: str, lease_id: str, *, registered_by: KeyId, event: AuditEvent) -> bool:
        """Marks as draining; False when another lease or another key holds the name."""
        ...


class Resolver(Protocol):
    async def addresses(self, host: str, port: int) -> tuple[str, ...]:
        """Every address behind a host name (or the address itself); empty when there is none."""
        ...


class UpstreamReply(Protocol):
    """The head of a Core's answer, and its body piece by piece. Header names are lower case."""

    status: int
    headers: list[tuple[str, str]]

    async def read_all(self) -> bytes:
        """The whole body. Raises CoreUnreachable or CoreTimeout when it breaks off."""
        ...

    async def read(self) -> bytes | None:
        """The next piece, None at the end. Raises CoreUnreachable or CoreTimeout when it breaks off."""
        ...


class UpstreamRequest(msgspec.Struct, frozen=True):
    """What is sent to a Core. `target` is the raw path and query; `body` is None, bytes, or a stream of them."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes | AsyncIterator[bytes] | None


class Upstream(Protocol):
    def exchange(self, core: CoreRecord, request: UpstreamRequest) -> AbstractAsyncContextManager[UpstreamReply]:
        """Sends a request to a Core; leaving the block ends it.

        Raises CoreUnreachable, CoreTimeout, and BadRequest for a request that cannot be sent at all.
        """
        ...


class CoreListing(Protocol):
    """Management's view of the registered Cores."""

    async def page(self, *, after: CoreName | None, size: int) -> tuple[tuple[CoreRecord, ...], CoreName | None]:
        """Cores by name, and the position behind the last one, None on the last page."""
        ...
