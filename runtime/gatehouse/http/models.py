"""The values that every layer of the runtime speaks in; no behaviour beyond construction, no I/O.

Times are Unix seconds (float, UTC) inside the runtime and RFC 3339 text at its edges. Limits and windows carry their
unit in the name. `KeyRecord` is a `msgspec.Struct` outside the garbage collector's sight: a worker holds many of them, and
a full collection over a million tracked objects stops the event loop for 0.3 s (measured; see bench/).

What the flows need from the outside world, as small protocols; adapters live in sibling files, one a technology.

Adapters translate foreign exceptions: nothing above this line sees the name of a driver. A method that cannot reach its
technology raises `errors.Unavailable`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NewType, Protocol

RequestId = NewType("RequestId", str)


class Probe(Protocol):
    """Readiness check of a dependency, for /readyz."""

    name: str

    async def check(self) -> None:
        """Returns when the dependency answers; raises Unavailable otherwise."""
        ...


Probes = Sequence[Probe]
