"""Listening sockets. Closing one resets the connections that clients have established and the
server has not accepted.
"""

import asyncio
import contextlib
import ctypes
import socket
import struct
import sys

BACKLOG = 2048

#: Maximum number of bytes of a connection that the kernel keeps in addition to those that it has
#: sent and the peer has not acknowledged. Without a bound, a peer that does not read makes the
#: kernel keep up to 4 MB, which count as memory of the task (net.ipv4.tcp_wmem).
UNSENT_BYTES = 65_536

#: SO_ATTACH_FILTER on x86-64 and ARM (linux/include/uapi/asm-generic/socket.h). Python has no name
#: for it.
_SO_ATTACH_FILTER = 26

#: A classic BPF program (linux/Documentation/networking/filter.rst), with code, jt, jf and k of
#: each instruction. The packet begins with the TCP header, whose byte 13 contains the flags (RFC
#: 9293, section 3.1).
_DISCARD_SYN = (
    (0x30, 0, 0, 13),  # load the flags
    (0x45, 0, 1, 0x02),  # if SYN is not set, skip the next instruction
    (0x06, 0, 0, 0),  # discard the packet
    (0x06, 0, 0, 0xFFFFFFFF),  # accept the packet
)


def bound_socket(bind: str, port: int, *, shared: bool = False) -> socket.socket:
    """Opens a socket on an address, which does not listen. `shared`: several processes listen on
    the port. Raises OSError if the address cannot be used."""
    sock = socket.socket(socket.AF_INET6 if ":" in bind else socket.AF_INET)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if ":" in bind:
            sock.setsockopt(
                socket.IPPROTO_IPV6,
                socket.IPV6_V6ONLY,
                bind != "::" or not socket.has_dualstack_ipv6(),
            )
        # Accepted connections inherit the option. asyncio does not set it for the connections of
        # this socket, and a body that is written after its head would wait for the delayed
        # acknowledgement of the client (40 ms on Linux).
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        limit_unsent(sock)
        sock.bind((bind, port))
    except BaseException:
        sock.close()
        raise
    return sock


def limit_unsent(sock: socket.socket) -> None:
    """Sets the maximum UNSENT_BYTES, which the connections of a listening socket inherit."""
    option = getattr(socket, "TCP_NOTSENT_LOWAT", 0)
    if option and sock.fileno() >= 0:  # not closed
        sock.setsockopt(socket.IPPROTO_TCP, option, UNSENT_BYTES)


def reset_at_close(transport: asyncio.BaseTransport) -> None:
    """Otherwise the local port waits for a minute when the connection is closed (RFC 9293, section
    3.6.1), and 470 connections to a peer in a second would use all 28,000 ports.
    """
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:  # not closed
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def listen(bind: str, port: int, *, shared: bool = False) -> socket.socket:
    """Opens a listening socket. `shared`: several processes listen on the port. Raises OSError if
    the address cannot be used.
    """
    sock = bound_socket(bind, port, shared=shared)
    try:
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def reject_handshakes(sock: socket.socket) -> None:
    """Discards the first packet of every further TCP handshake, so that the server can accept all
    established connections and close the socket. Without the filter, a client could connect after
    the last `accept`, and its connection would be reset after it has sent a request (measured with
    four clients that connect repeatedly: 4 of 2,200 stops).

    The client sends the packet again after a second, and is then refused. Only effective on Linux.
    """
    if sys.platform != "linux":
        return
    program = b"".join(struct.pack("HBBI", *instruction) for instruction in _DISCARD_SYN)
    buffer = ctypes.create_string_buffer(program, len(program))
    # A kernel without socket filters behaves as without this function.
    with contextlib.suppress(OSError):
        sock.setsockopt(
            socket.SOL_SOCKET,
            _SO_ATTACH_FILTER,
            struct.pack("HP", len(_DISCARD_SYN), ctypes.addressof(buffer)),
        )
