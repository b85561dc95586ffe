"""Validation of request paths and queries. Ambiguous ones are rejected, so authorization, routing and Cores agree on a path.

The percent-encoded bytes are forwarded unchanged, so a Core decodes them exactly once. The checks use the decoded path, with
`%2F` as a separator, because some servers treat it as one. Sources: RFC 3986, sections 2.1 (percent-encoding) and 6.2.2.3 (dot
segments); WHATWG URL Standard (parsers convert a backslash to a slash and remove tabs)."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

import msgspec

#: Name of a Core: a DNS label of up to 40 characters, as the check constraint in the database.
CORE_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
CORES = "/cores/"
_VISIBLE = re.compile(rb"[!-~]*")
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_PATH_BYTES_MAX = 8192


class CorePath(msgspec.Struct, frozen=True, gc=False):
    """Parts of `/cores/{name}{path}`. `name` is unvalidated and can be empty. `path` is percent-encoded, with its first slash."""

    name: str
    path: str


def core_path(raw: bytes) -> CorePath | str:
    """Parse a percent-encoded path that starts with /cores/. Returns its parts, or the reason why it is invalid."""
    reason = flaw(raw)
    if reason:
        return reason
    name, slash, rest = raw[len(CORES) :].decode("ascii").partition("/")
    return CorePath(name=name, path=slash + rest if slash else "/")


def flaw(raw: bytes) -> str:
    """Reason why a percent-encoded path is ambiguous or unsafe to forward, as a sentence; empty if it is valid."""
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
    """Reason why a percent-encoded query is ambiguous, as a sentence without a subject; empty if it is valid."""
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
