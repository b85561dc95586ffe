"""Registered Cores, and the requests that the gateway sends to them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NewType

import msgspec

from gatehouse.keys.models import KeyEnvironment, KeyId

CoreName = NewType("CoreName", str)  # lower-case DNS label, 1 to 40 characters


class CoreRecord(msgspec.Struct, frozen=True):
    """A registered Core: its URL, the lease, and the key that registered it. The fields are columns of `core`."""

    name: CoreName
    url: str  # origin: http(s)://host[:port]
    environment: KeyEnvironment
    lease_id: str
    registered_by: KeyId
    pepper_generation: int  # generation from which the secret of the Core was derived
    expires_at: float  # end of the lease
    draining: bool
    version: int


class UpstreamRequest(msgspec.Struct, frozen=True):
    """A request to a Core. `target`: raw path and query. `body`: None, bytes, or a stream of bytes."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes | AsyncIterator[bytes] | None
