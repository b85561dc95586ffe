"""Checks of the head of a request that the parser (llhttp) does not make, so that no two servers
interpret or frame a request differently. Pure.

Sources: RFC 9112, sections 3.2 (request target and Host) and 6.1 (framing); RFC 3986, section 3.2.2
    (hosts).
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

import httptools

from gatehouse.core.errors import BadRequest
from gatehouse.platform.http import asgi

#: Maximum number of digits of a Content-Length. Python reads at most 4,300.
LENGTH_DIGITS_MAX = 20

#: Bytes of framing that a sender may add to each chunk of a body.
CHUNK_FRAMING_BYTES = 16

#: A DNS name or IPv4 address, or an IPv6 address in brackets, with an optional port: the hosts of
#: RFC 3986 that a server can have.
_HOST = re.compile(rb"(?:[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{0,5})?")
#: Decoding many of these takes long.
BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
#: The size of the longest host with a port, and one byte.
_HOST_BYTES = 262


def check(
    version: str, url: bytes, fields: Sequence[asgi.Header], values: Mapping[bytes, bytes]
) -> None:
    """Raises BadRequest. url: the request target. values: the last value of each header."""
    host, coding = values.get(b"host"), values.get(b"transfer-encoding")
    # Names of which one is repeated.
    names = [name for name, _ in fields] if len(values) < len(fields) else []
    if (host is None and version == "1.1") or (names and names.count(b"host") > 1):
        raise BadRequest("The request must have exactly one Host header.")
    if host is not None and not _is_host(host[:_HOST_BYTES]):
        raise BadRequest(
            "The Host header must be a DNS name or an IP address, with an optional port."
        )
    if coding is not None and (
        names.count(b"transfer-encoding") > 1 or coding.strip().lower() != b"chunked"
    ):
        raise BadRequest("The only supported transfer coding is chunked.")
    if len(values.get(b"content-length", b"")) > LENGTH_DIGITS_MAX:
        raise BadRequest("The header Content-Length has too many digits.")
    if b"#" in url or not url.isascii():
        raise BadRequest(
            "The request target contains a # or a byte that is not ASCII; percent-encode it."
        )
    if b"%" in url and BROKEN_ESCAPE.search(url.partition(b"?")[0]):
        raise BadRequest(
            "The path contains a percent sign without two hexadecimal digits; write %25."
        )
    if version != "1.1" and (version != "1.0" or coding is not None):
        raise BadRequest("Use HTTP/1.1.")


def names_protocol(data: bytes) -> bool:
    """True if data contains the name of another protocol whose requests llhttp parses."""
    return b"RTSP/" in data or b"ICE/" in data


def check_protocol(data: bytes, method: bytes, url: bytes) -> None:
    """Raises BadRequest for a request of another protocol. data: contains the request line, maybe
    after a part of another request.
    """
    if names_protocol(data):
        for line in data.split(b"\n"):
            words = [b"", b"", *line.split()][-3:]
            if words[0].endswith(method) and words[1] == url and names_protocol(words[2]):
                raise BadRequest("Use HTTP/1.1.")


def target(url: bytes, fields: Sequence[asgi.Header]) -> tuple[bytes, bytes]:
    """Raw path and query of a request target. Raises BadRequest."""
    if url.startswith(b"/"):
        path, _, query = url.partition(b"?")
        return path, query
    parsed = httptools.parse_url(url)
    if not parsed.path or not parsed.path.startswith(b"/"):
        raise BadRequest("The request target has no path.")
    authority = url.partition(b"//")[2].partition(b"/")[0]
    if b"@" in authority or parsed.schema.lower() not in (b"http", b"https"):
        raise BadRequest("The request target is not the URL of an HTTP resource.")
    if asgi.host_of(authority) != asgi.host_name({"headers": fields}):
        raise BadRequest("The request target and the Host header have different hosts.")
    return parsed.path, parsed.query or b""


def is_websocket(fields: Sequence[asgi.Header]) -> bool:
    """True if WebSocket is one of the protocols in the headers Upgrade (RFC 9110, section 7.8)."""
    values = [value for name, value in fields if name == b"upgrade"]
    return b"websocket" in map(bytes.strip, b",".join(values).lower().split(b","))


def is_upgrade(method: bytes, fields: Sequence[asgi.Header]) -> bool:
    """True if the server handles the upgrade that a request asks for. Raises BadRequest for CONNECT
    and for an upgrade with a body, which the parser does not read.
    """
    if method == b"CONNECT":
        raise BadRequest("The method CONNECT is not supported.")
    if not is_websocket(fields):
        return False
    # java.net.http sends the length 0, which is no body (RFC 9110, section 8.6).
    if any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0 \t"))
        for name, value in fields
    ):
        raise BadRequest("A WebSocket handshake has no body.")
    return True


@lru_cache(maxsize=256)
def _is_host(host: bytes) -> bool:
    return _HOST.fullmatch(host) is not None
