"""Registered Cores."""

from __future__ import annotations

from typing import NewType

import msgspec

from gatehouse.core.keys import KeyEnvironment, KeyId

CoreName = NewType("CoreName", str)  # lowercase DNS label, 1 to 40 characters


#: ID of an instance whose registration specifies no ID.
DEFAULT_INSTANCE = "default"


#: ID of an instance that was imported. The first registration of the Core replaces it.
IMPORTED_INSTANCE = "imported"


#: Maximum number of live instances of a Core.
INSTANCES_MAX = 64


class CoreRecord(msgspec.Struct, frozen=True):
    """A registered instance of a Core: its URL, the lease, and the key that registered it. The
    fields are columns of `core`.
    """

    name: CoreName
    instance_id: str  # unique among the instances of the Core
    url: str  # origin: http(s)://host[:port]
    environment: KeyEnvironment
    lease_id: str
    registered_by: KeyId
    pepper_generation: int  # pepper generation from which the secret of the Core was derived
    # end of the lease or, while the instance is draining, the time at which its WebSockets are
    # closed
    expires_at: float
    draining: bool  # the instance receives no new requests
    health_path: str  # path of the health checks; empty: none
    healthy: bool  # False after failed health checks
    version: int

    def is_live(self, now: float) -> bool:
        """True if the instance can receive new requests."""
        return not self.draining and self.expires_at > now

    def has_ended(self, now: float) -> bool:
        """True if the instance was drained and the drain time has ended."""
        return self.draining and self.expires_at <= now
