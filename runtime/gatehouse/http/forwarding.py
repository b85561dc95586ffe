"""Validates paths, queries and header fields, and selects the header fields that the gateway forwards. Pure.

Ambiguous paths are rejected, so that authorization, routing and Cores agree on a path. The percent-encoded bytes are forwarded
unchanged, so a Core decodes them exactly once. The checks use the decoded path, with `%2F` as a separator, because some servers
treat it as a separator. Sources: RFC 3986, sections 2.1 (percent-encoding) and 6.2.2.3 (dot segments); WHATWG URL Standard
(parsers convert a backslash to a slash and remove tabs).

Header fields are (name, value) pairs in bytes. Sources: RFC 9110, section 7.6.1 (Connection and the fields that it lists) and
RFC 9112, section 6.1 (a message with both Transfer-Encoding and Content-Length "ought to be handled as an error"). Duplicate
Content-Length or Host fields are rejected too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from urllib.parse import unquote_to_bytes

import msgspec

Field = tuple[bytes, bytes]

#: Name of a Core: a DNS label of up to 40 characters, as in the check constraint in the database.
CORE_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
CORES = "/cores/"
_VISIBLE = re.compile(rb"[!-~]*")
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_PATH_BYTES_MAX = 8192


class CorePath(msgspec.Struct, frozen=True, gc=False):
    """Parts of `/cores/{name}{path}`. `name` is unvalidated and can be empty. `path` is percent-encoded and includes the leading
    slash."""

    name: str
    path: str


def core_path(raw: bytes) -> CorePath | str:
    """Parse a percent-encoded path that starts with /cores/. Returns the parts, or the reason why the path is invalid."""
    reason = flaw(raw)
    if reason:
        return reason
    name, slash, rest = raw[len(CORES) :].decode("ascii").partition("/")
    return CorePath(name=name, path=slash + rest if slash else "/")


def flaw(raw: bytes) -> str:
    """Sentence that explains why a percent-encoded path is ambiguous or unsafe to forward. Empty if the path is valid."""
    if len(raw) > _PATH_BYTES_MAX:
        return f"the path is longer than {_PATH_BYTES_MAX} bytes"
    if _VISIBLE.fullmatch(raw) is None:
        return "the path contains a space, control or non-ASCII byte; percent-encode it as UTF-8"
    if b"#" in raw:
        return "the path contains a raw #; write %23"
    if b"\\" in raw:
        return "the path contains a backslash"
    if b"%" not in raw:
        return "the path contains a dot segment" if _dotted(raw) else ""
    if _BROKEN_ESCAPE.search(raw):
        return "the path contains a percent sign without two hexadecimal digits; write %25 for a percent sign"
    decoded = unquote_to_bytes(raw)
    if _dotted(decoded):
        return "the path contains a dot segment"
    if b"\\" in decoded:
        return "the path contains an encoded backslash"
    if any(byte < 0x20 or byte == 0x7F for byte in decoded):
        return "the path contains an encoded control character"
    try:
        decoded.decode("utf-8")
    except UnicodeDecodeError:
        return "the path is not UTF-8 once it is decoded"
    return ""


def query_flaw(raw: bytes) -> str:
    """Sentence without a subject that explains why a percent-encoded query is ambiguous. Empty if the query is valid."""
    if b"%" not in raw:
        return "" if raw.isascii() else "contains a non-ASCII byte; percent-encode it as UTF-8"
    if _BROKEN_ESCAPE.search(raw):
        return "contains a percent sign without two hexadecimal digits; write %25 for a percent sign"
    decoded = unquote_to_bytes(raw)
    if b"\0" in decoded:
        return "contains a NUL character; remove it"
    try:
        decoded.decode("utf-8")
    except UnicodeDecodeError:
        return "is not UTF-8 once it is decoded; percent-encode text as UTF-8"
    return ""


def _dotted(path: bytes) -> bool:
    return b"/." in path and any(segment in (b".", b"..") for segment in path.split(b"/"))


HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding upgrade".split()
)

#: Fields that are removed from requests: credentials, message framing, and client information that only the gateway may set.
_NOT_FORWARDED = HOP_BY_HOP | frozenset(
    b"authorization x-api-key host content-length expect forwarded via x-real-ip x-client-ip x-cluster-client-ip true-client-ip"
    b" cf-connecting-ip fastly-client-ip x-original-url x-original-host x-rewrite-url x-host x-request-id x-http-method-override"
    b" x-http-method x-method-override client-ip forwarded-for x-forwarded x-remote-addr x-remote-ip x-originating-ip"
    b" x-envoy-external-address x-azure-clientip x-appengine-user-ip x-remote-user remote-user".split()
)
#: The gateway forwards the headers of a WebSocket handshake separately.
_NOT_FORWARDED_PREFIXES = (b"gatehouse-", b"x-forwarded-", b"sec-websocket-")

#: Response fields that apply to the whole host of the gateway. A Core must not set these fields, because they would affect all
#: Cores.
_NOT_RETURNED = frozenset({b"strict-transport-security", b"alt-svc", b"clear-site-data", b"x-request-id"})

#: Fields that may occur only once. With duplicates, two servers can interpret the request differently (request smuggling).
_ONCE = (b"host", b"authorization", b"x-api-key", b"content-length", b"transfer-encoding")


def ambiguity(fields: Iterable[Field]) -> str:
    """Sentence without field values that explains why header fields are ambiguous or invalid. Empty if the fields are valid."""
    names: set[bytes] = set()
    for name, value in fields:
        if name in names and name in _ONCE:
            return f"the header {name.decode('ascii')} is sent twice"
        names.add(name)
        if not value.isascii() or any(byte < 0x20 and byte != 0x09 for byte in value):
            return f"the header {name.decode('latin-1')[:40]} contains a byte that is not visible ASCII"
    if b"transfer-encoding" in names and b"content-length" in names:
        return "Transfer-Encoding and Content-Length are sent together"
    return ""


def forwarded(fields: Sequence[Field]) -> list[tuple[str, str]]:
    """Fields of a client request that are forwarded to the Core, in the same order and with duplicates.

    Underscores in names are treated as hyphens, because CGI and WSGI servers do not distinguish the two. An application would
    read Gatehouse_Key_Id as Gatehouse-Key-Id.
    """
    listed = _named_by_connection(fields)
    result: list[tuple[str, str]] = []
    for name, value in fields:
        normalized = name.replace(b"_", b"-") if b"_" in name else name
        if normalized in _NOT_FORWARDED or normalized in listed or normalized.startswith(_NOT_FORWARDED_PREFIXES):
            continue
        result.append((name.decode("ascii"), value.decode("ascii")))
    return result


def returned(fields: Sequence[tuple[str, str]], replaced: Iterable[bytes] = ()) -> list[Field]:
    """Fields of a Core response without hop-by-hop fields, fields that apply to the whole host, and fields that the gateway sets
    itself (`replaced`, in lowercase)."""
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]
    dropped = _named_by_connection(encoded) | HOP_BY_HOP | _NOT_RETURNED | set(replaced)
    return [field for field in encoded if field[0] not in dropped and not _is_cookie_of_domain(*field)]


def _is_cookie_of_domain(name: bytes, value: bytes) -> bool:
    """True for a cookie with a Domain attribute, which other hosts of the domain would receive (RFC 6265, section 4.1.2.3)."""
    return name == b"set-cookie" and any(part.strip().lower().startswith(b"domain") for part in value.split(b";")[1:])


def _named_by_connection(fields: Iterable[Field]) -> set[bytes]:
    return {
        part.strip().lower().replace(b"_", b"-")
        for name, value in fields
        if name in (b"connection", b"proxy-connection")
        for part in value.split(b",")
    } - {b"close", b"keep-alive", b""}
