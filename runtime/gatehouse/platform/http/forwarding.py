"""Validates paths, queries and header fields, and selects the header fields that the gateway
forwards. Pure.

Ambiguous paths are rejected, so that authorization, routing and Cores agree on a path. The
percent-encoded bytes are forwarded unchanged, so a Core decodes them exactly once. The checks use
the decoded path, with `%2F` as a separator, because some servers treat it as a separator. Sources:
RFC 3986, sections 2.1 (percent-encoding) and 6.2.2.3 (dot segments); WHATWG URL Standard (parsers
convert a backslash to a slash and remove tabs).

Header fields are (name, value) pairs in bytes. Sources: RFC 9110, section 7.6.1 (Connection and the
fields that it lists) and RFC 9112, section 6.1 (a message with both Transfer-Encoding and
Content-Length "ought to be handled as an error"). Duplicate Content-Length or Host fields are
rejected too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from urllib.parse import unquote_to_bytes

import msgspec

from gatehouse.platform.http.header_names import HANDSHAKE_FIELDS, is_forwarded, is_returned

Field = tuple[bytes, bytes]

#: Name of a Core: a DNS label of up to 40 characters, as in the check constraint in the database.
CORE_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
CORES = "/cores/"
#: Matches characters that a path must not contain: all except the path characters of RFC 3986,
#: section 3.3, and `[`, `]` and `|`, which browsers do not encode.
_NOT_IN_PATH = re.compile(rb"[^A-Za-z0-9\-._~!$&'()*+,;=:@/%\[\]|]")
#: Methods of requests to Cores: the registered methods that the HTTP parser supports, except
#: CONNECT and TRACE. Methods that caches and proxies handle themselves, such as PURGE, are not
#: registered. Source: IANA HTTP Method Registry.
METHODS = frozenset(
    method.decode("ascii")
    for method in b"ACL BIND CHECKOUT COPY DELETE GET HEAD LINK LOCK MERGE MKACTIVITY "
    b"MKCALENDAR MKCOL MOVE OPTIONS PATCH POST"
    b" PROPFIND PROPPATCH PUT QUERY REBIND REPORT SEARCH UNBIND UNLINK UNLOCK".split()
)
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_PATH_BYTES_MAX = 8192


class CorePath(msgspec.Struct, frozen=True, gc=False):
    """Parts of `/cores/{name}{path}`. `name` is unvalidated and can be empty. `path` is
    percent-encoded and includes the leading slash."""

    name: str
    path: str


def core_path(raw: bytes) -> CorePath:
    """Parse a percent-encoded path that starts with /cores/. Raises ValueError with the reason why
    the path is invalid.
    """
    reason = flaw(raw)
    if reason:
        raise ValueError(reason)
    name, slash, rest = raw[len(CORES) :].decode("ascii").partition("/")
    return CorePath(name=name, path=slash + rest if slash else "/")


def flaw(raw: bytes) -> str:
    """Sentence that explains why a percent-encoded path is ambiguous or unsafe to forward. Empty if
    the path is valid.
    """
    if len(raw) > _PATH_BYTES_MAX:
        return f"the path is longer than {_PATH_BYTES_MAX} bytes"
    invalid = _NOT_IN_PATH.search(raw)
    if invalid is not None:
        return _character_flaw(invalid.group())
    if b"%" not in raw:
        return "the path contains a dot segment" if _dotted(raw) else ""
    if _BROKEN_ESCAPE.search(raw):
        return (
            "the path contains a percent sign without two hexadecimal digits; write %25 for "
            "a percent sign"
        )
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
    """Sentence without a subject that explains why a percent-encoded query is ambiguous. Empty if
    the query is valid.
    """
    if b"%" not in raw:
        return "" if raw.isascii() else "contains a non-ASCII byte; percent-encode it as UTF-8"
    if _BROKEN_ESCAPE.search(raw):
        return (
            "contains a percent sign without two hexadecimal digits; write %25 for a percent sign"
        )
    decoded = unquote_to_bytes(raw)
    if b"\0" in decoded:
        return "contains a NUL character; remove it"
    try:
        decoded.decode("utf-8")
    except UnicodeDecodeError:
        return "is not UTF-8 once it is decoded; percent-encode text as UTF-8"
    return ""


def _character_flaw(character: bytes) -> str:
    if not b"!" <= character <= b"~":
        return "the path contains a space, control or non-ASCII byte; percent-encode it as UTF-8"
    if character == b"\\":
        return "the path contains a backslash"
    return f"the path contains a raw {character.decode('ascii')}; write %{character.hex().upper()}"


def _dotted(path: bytes) -> bool:
    """True if a segment is a dot segment, also with parameters (`..;a=1`), which some servers
    remove first.
    """
    return b"/." in path and any(
        segment.partition(b";")[0] in (b".", b"..") for segment in path.split(b"/")
    )


#: Beginning of the names of console cookies. A browser sends console cookies to the gateway if both
#: services have the same host.
CONSOLE_COOKIE = "__Host-gatehouse"
_CONSOLE_COOKIE = CONSOLE_COOKIE.encode("ascii")

#: A field value: visible ASCII characters, spaces and tabs (RFC 9110, section 5.5, without
#: obs-text).
_VALUE = re.compile(rb"[\t -~]*")

#: Fields that may occur only once. With duplicates, two servers can interpret the request
#: differently (request smuggling).
_ONCE = (b"host", b"authorization", b"x-api-key", b"content-length", b"transfer-encoding")


def ambiguity(fields: Iterable[Field]) -> str:
    """Sentence without field values that explains why header fields are ambiguous or invalid. Empty
    if the fields are valid.
    """
    names: set[bytes] = set()
    for name, value in fields:
        if name in names and name in _ONCE:
            return f"the header {name.decode('ascii')} is sent twice"
        names.add(name)
        if _VALUE.fullmatch(value) is None:
            return (
                f"the header {name.decode('latin-1')[:40]} contains a byte that is not "
                f"visible ASCII"
            )
    if b"transfer-encoding" in names and b"content-length" in names:
        return "Transfer-Encoding and Content-Length are sent together"
    return ""


def forwarded(fields: Sequence[Field]) -> list[tuple[str, str]]:
    """Fields of a client request that are forwarded to the Core, in the same order and with
    duplicates: fields with an allowed name (http/header_names.py), without the cookies of the
    console."""
    listed = _named_by_connection(fields)
    result: list[tuple[str, str]] = []
    for name, value in fields:
        if name in listed or not is_forwarded(name):
            continue
        cookies = (
            _without_console_cookies(value)
            if name == b"cookie" and _CONSOLE_COOKIE in value
            else value
        )
        if cookies or not value:
            result.append((name.decode("ascii"), cookies.decode("ascii")))
    return result


def returned(
    fields: Sequence[tuple[str, str]], replaced: Iterable[bytes] = (), *, handshake: bool = False
) -> list[Field]:
    """Fields of a Core response that are returned to the client: fields with an allowed name
    (http/header_names.py), without fields that the gateway sets itself (`replaced`, in lowercase)
    and cookies for other hosts or for the console.

    handshake: True for a 101 response that accepts a WebSocket handshake.
    """
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]
    dropped = _named_by_connection(encoded) | set(replaced)
    return [
        (name, value)
        for name, value in encoded
        if (is_returned(name) or (handshake and name in HANDSHAKE_FIELDS))
        and name not in dropped
        and _VALUE.fullmatch(value) is not None
        and not (
            name == b"set-cookie"
            and (_is_cookie_of_domain(value) or value.lstrip().startswith(_CONSOLE_COOKIE))
        )
    ]


def _without_console_cookies(value: bytes) -> bytes:
    cookies = [cookie.strip() for cookie in value.split(b";")]
    return b"; ".join(cookie for cookie in cookies if not cookie.startswith(_CONSOLE_COOKIE))


def _is_cookie_of_domain(value: bytes) -> bool:
    """True for a cookie with a Domain attribute, which other hosts of the domain would receive (RFC
    6265, section 4.1.2.3).
    """
    return any(part.strip().lower().startswith(b"domain") for part in value.split(b";")[1:])


def _named_by_connection(fields: Iterable[Field]) -> set[bytes]:
    return {
        part.strip().lower().replace(b"_", b"-")
        for name, value in fields
        if name in (b"connection", b"proxy-connection")
        for part in value.split(b",")
    } - {b"close", b"keep-alive", b""}
