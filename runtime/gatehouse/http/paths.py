"""One reading of a request path, for authorisation, routing and forwarding alike; what is ambiguous is refused, never repaired.

The raw (still percent-encoded) bytes are what is forwarded, so a Core decodes them exactly once. The checks look at the path
as that Core will see it, with `%2F` read as a separator, because some servers do. Source of the danger: RFC 3986, section 6.2.2.3
(dot segments) and section 2.1 (percent-encoding); the WHATWG URL parser turns a backslash into a slash and drops tabs."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

import msgspec

#: A Core's name is a DNS label of up to 40 characters (the same rule as the check in the database).
CORE_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")


CORES = "/cores/"


_VISIBLE = re.compile(rb"[!-~]*")


_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


_PATH_BYTES_MAX = 8192


class CorePath(msgspec.Struct, frozen=True, gc=False):
    """`/cores/{name}{path}`: the name as it was sent (perhaps no name at all), and the raw rest with its first slash."""

    name: str
    path: str


def core_path(raw: bytes) -> CorePath | str:
    """Takes a raw path that begins with /cores/ apart. Returns the parts, or one sentence that says what is wrong with it."""
    wrong = flaw(raw)
    if wrong:
        return wrong
    name, slash, rest = raw[len(CORES) :].decode("ascii").partition("/")
    return CorePath(name=name, path=slash + rest if slash else "/")


def flaw(raw: bytes) -> str:
    """What makes a raw path ambiguous or unsafe to forward, as a sentence; empty when nothing does."""
    if len(raw) > _PATH_BYTES_MAX:
        return f"the path is longer than {_PATH_BYTES_MAX} bytes"
    if _VISIBLE.fullmatch(raw) is None:
        return "the path holds a space, control or non-ASCII byte; percent-encode it as UTF-8"
    if b"#" in raw:
        return "the path holds a raw #; write %23"
    if b"\\" in raw:
        return "the path holds a backslash"
    if b"%" not in raw:
        return "the path holds a dot segment" if _dotted(raw) else ""
    if _BROKEN_ESCAPE.search(raw):
        return "the path holds a percent sign that two hexadecimal digits do not follow; write %25 for the sign itself"
    decoded = unquote_to_bytes(raw)
    if _dotted(decoded):
        return "the path holds a dot segment"
    if b"\\" in decoded:
        return "the path holds an encoded backslash"
    if any(byte < 0x20 or byte == 0x7F for byte in decoded):
        return "the path holds an encoded control character"
    try:
        decoded.decode("utf-8")
    except UnicodeDecodeError:
        return "the path is not UTF-8 once it is decoded"
    return ""


def query_flaw(raw: bytes) -> str:
    """What keeps a raw query from having one meaning, as a sentence without a subject; empty when nothing does."""
    if b"%" not in raw:
        return "" if raw.isascii() else "holds a non-ASCII byte; percent-encode it as UTF-8"
    if _BROKEN_ESCAPE.search(raw):
        return "holds a percent sign that two hexadecimal digits do not follow; write %25 for the sign itself"
    decoded = unquote_to_bytes(raw)
    if b"\0" in decoded:
        return "holds a NUL character; remove it"
    try:
        decoded.decode("utf-8")
    except UnicodeDecodeError:
        return "is not UTF-8 once it is decoded; percent-encode text as UTF-8"
    return ""


def _dotted(path: bytes) -> bool:
    return b"/." in path and any(segment in (b".", b"..") for segment in path.split(b"/"))
