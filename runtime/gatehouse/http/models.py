"""Request ids, and readiness checks of dependencies."""

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
