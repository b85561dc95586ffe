"""Deadlines and bounds of connections. Apart from the server, so that the settings do not import it."""

from __future__ import annotations

import msgspec


class ConnectionLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Deadlines and bounds of the connections of one worker. Times in seconds."""

    #: From the connection, or from the first byte of a later request, to the end of the head. Applies again to the body, plus the
    #: time that the body takes at `bytes_per_s_min`. Time during which the server does not read is not counted.
    request_s: float = 10.0
    #: For a client that does not read the response at `bytes_per_s_min`.
    response_s: float = 30.0
    bytes_per_s_min: int = 1024
    #: Between two requests of a connection. Longer than the idle timeout of the load balancer (60 s), which could otherwise use a
    #: connection that the server is closing.
    idle_s: int = 75
    target_bytes_max: int = 16_384
    #: Names and values of all headers.
    head_bytes_max: int = 65_536
    headers_max: int = 100
    connections_max: int = 4096
    #: Connections of one address. Does not apply to trusted proxies.
    address_connections_max: int = 1024
    #: Request bodies that one client address is sending at the same time.
    address_bodies_max: int = 64
