"""Requests to Cores: validates paths and queries, and translates the URLs and cookies in header
fields. Pure. Those of responses are translated by platform/envoy/translation.lua.

Ambiguous paths are rejected, so that authorization, routing and Cores agree on a path. The
percent-encoded bytes are forwarded unchanged, so a Core decodes them exactly once. The checks use
the decoded path, with `%2F` as a separator, because some servers treat it as a separator. Sources:
RFC 3986, sections 2.1 (percent-encoding) and 6.2.2.3 (dot segments); WHATWG URL Standard (parsers
convert a backslash to a slash and remove tabs).
"""

import re
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

import msgspec

from gatehouse.core.errors import BadRequest

#: Name of a Core: a DNS label of up to 40 characters, as in the check constraint in the database.
CORE_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
CORE_NAME_FORM = "1 to 40 lowercase letters, digits and inner hyphens, such as docs"
CORES = "/cores/"
#: Matches characters that a path must not contain: all except the path characters of RFC 3986,
#: section 3.3, and `[`, `]` and `|`, which browsers do not encode.
_NOT_IN_PATH = re.compile(rb"[^A-Za-z0-9\-._~!$&'()*+,;=:@/%\[\]|]")
#: Methods that are not forwarded: they are addressed to a proxy itself (RFC 9110, sections 9.3.6
#: and 9.3.8).
PROXY_METHODS = ("CONNECT", "TRACE")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class CorePath(msgspec.Struct, frozen=True, gc=False):
    """Parts of `/cores/{name}{path}` or, with `by_host`, of `//{name}.{domain}{path}`. `name` is
    unvalidated and can be empty. `path` is percent-encoded and includes the leading slash. `full`:
    the path that the client sent, without segments of a single dot."""

    name: str
    path: str
    full: str
    by_host: bool = False

    @property
    def prefix(self) -> str:
        """Beginning of the paths that clients use, without a slash at the end."""
        return "" if self.by_host else f"{CORES}{self.name}"


def core_path(raw: bytes, name: str | None = None) -> CorePath:
    """Parse a percent-encoded path. Raises BadRequest with the reason why the path is invalid.

    name: the Core that the host name specifies. None for a path that starts with /cores/.
    """
    reason = flaw(raw)
    if reason:
        raise BadRequest(f"The path {reason}")
    full = _without_dots(raw).decode("ascii") if b"/." in raw else raw.decode("ascii")
    if name is not None:
        return CorePath(name, full, full, by_host=True)
    name, slash, rest = full[len(CORES) :].partition("/")
    return CorePath(name, slash + rest if slash else "/", full)


def _without_dots(raw: bytes) -> bytes:
    """Removes segments of a single dot (RFC 3986, section 5.2.4)."""
    segments = raw.split(b"/")
    kept = [segment for segment in segments if segment != b"."]
    return b"/".join([*kept, b""] if segments[-1] == b"." else kept)


def flaw(raw: bytes) -> str:
    """Sentence without a subject that explains why a percent-encoded path is ambiguous or unsafe to
    forward. Empty if the path is valid.
    """
    invalid = _NOT_IN_PATH.search(raw)
    if invalid is not None:
        return _character_flaw(invalid.group())
    decoded = _decoded(raw) if b"%" in raw else raw
    if isinstance(decoded, str):
        return decoded
    if b"\\" in decoded:
        return "contains an encoded backslash"
    if _CONTROL.search(decoded):
        return "contains an encoded control character"
    dotted = _dotted(decoded) and _dotted(unquote_to_bytes(_without_dots(raw)))
    return "contains a dot segment" if dotted else ""


def query_flaw(raw: bytes) -> str:
    """Sentence without a subject that explains why a percent-encoded query is ambiguous. Empty if
    the query is valid.
    """
    if b"%" not in raw:
        return "" if raw.isascii() else "contains a non-ASCII byte; percent-encode it as UTF-8"
    decoded = _decoded(raw)
    if isinstance(decoded, str):
        return decoded
    return "contains a NUL character; remove it" if b"\0" in decoded else ""


def _decoded(raw: bytes) -> bytes | str:
    """The decoded text, or a sentence without a subject that explains why the text is not
    percent-encoded UTF-8.
    """
    if _BROKEN_ESCAPE.search(raw):
        return (
            "contains a percent sign without two hexadecimal digits; write %25 for a percent sign"
        )
    decoded = unquote_to_bytes(raw)
    try:
        decoded.decode("utf-8")
    except UnicodeDecodeError:
        return "is not UTF-8 once it is decoded; percent-encode text as UTF-8"
    return decoded


def _character_flaw(character: bytes) -> str:
    if not b"!" <= character <= b"~":
        return "contains a space, control or non-ASCII byte; percent-encode it as UTF-8"
    if character == b"\\":
        return "contains a backslash"
    return f"contains a raw {character.decode('ascii')}; write %{character.hex().upper()}"


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


def cookies_for_core(value: str, *, by_host: bool) -> str:
    """The header Cookie for a Core, without the cookies of the console. If the Core is reached by
    path, its cookies for all paths have another prefix for clients (`cookie` in
    platform/envoy/translation.lua).
    """
    value = _without_console_cookies(value) if CONSOLE_COOKIE in value else value
    return value if by_host else f"; {value}".replace("; __Secure-Host-", "; __Host-")[2:]


def _without_console_cookies(value: str) -> str:
    # Browsers send a cookie without a name as its value, and some with an equals sign before it.
    kept = (
        cookie
        for cookie in value.split(";")
        if CONSOLE_COOKIE not in cookie or not cookie.lstrip("= \t").startswith(CONSOLE_COOKIE)
    )
    return ";".join(kept).strip("; \t")


#: The beginning of a URL with an authority, whose host is the group. Browsers read a backslash as a
#: slash.
_AUTHORITY = re.compile(r"(?:https?:)?[/\\]{2}(?:[^/\\?#]*@)?([^/\\?#@]*)", re.IGNORECASE)


def core_destination(
    reference: str, hosts: Iterable[str], client_prefix: str, core_prefix: str
) -> str:
    """The header Destination of a client (RFC 4918, section 10.3), as a path of the Core. Raises
    BadRequest if it is not a URL of the Core.

    hosts: at which clients reach the Core, with an optional port. client_prefix, core_prefix:
    beginning of the paths that clients use, and of those that the Core receives, without a slash at
    the end.
    """
    authority, path = _AUTHORITY.match(reference), reference
    if authority is not None:
        path = reference[authority.end() :] or "/"
    if (
        (authority and not any(_same_host(authority[1], known) for known in hosts))
        or not path.startswith("/")
        or not _is_below(path, client_prefix)
        or flaw(path.partition("?")[0].encode())
    ):
        raise BadRequest("The header Destination is not a URL of this Core")
    path = core_prefix + path.removeprefix(client_prefix)
    return path if path.startswith("/") else f"/{path}"


def _is_below(path: str, prefix: str) -> bool:
    return path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in ("", "/", "?", "#")


def _same_host(host: str, known: str) -> bool:
    """Compares hosts with an optional port. A host without a port is the known host with any port:
    applications behind a proxy often do not know their port.
    """
    host, known = (name.lower().removesuffix(":80").removesuffix(":443") for name in (host, known))
    return host in (known, re.sub(":[0-9]+$", "", known))
