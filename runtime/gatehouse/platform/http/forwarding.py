"""Requests to Cores and their responses: validates paths, queries and header fields, selects the
fields that the gateway forwards, and translates URLs. Pure.

Ambiguous paths are rejected, so that authorization, routing and Cores agree on a path. The
percent-encoded bytes are forwarded unchanged, so a Core decodes them exactly once. The checks use
the decoded path, with `%2F` as a separator, because some servers treat it as a separator. Sources:
RFC 3986, sections 2.1 (percent-encoding) and 6.2.2.3 (dot segments); WHATWG URL Standard (parsers
convert a backslash to a slash and remove tabs).

Header fields are forwarded unless header_names.py lists them or Connection names them (RFC 9110,
section 7.6.1). The protocol class has already rejected ambiguous fields.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import unquote_to_bytes, urljoin

import msgspec

from gatehouse.platform.http.header_names import RETURNED_NAMES

#: Values of header fields, by name in lowercase.
Fields = Mapping[bytes, Sequence[str]]

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
    return CorePath(name, slash + rest if slash else "/")


def flaw(raw: bytes) -> str:
    """Sentence that explains why a percent-encoded path is ambiguous or unsafe to forward. Empty if
    the path is valid.
    """
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


def invalid_value(fields: Fields) -> bytes | None:
    """Name of a field whose value contains a byte that is not ASCII (RFC 9110, section 5.5), or
    None. The HTTP parser accepts no control characters except tabs.
    """
    if "".join(["".join(values) for values in fields.values()]).isascii():
        return None
    return next(name for name, values in fields.items() if not "".join(values).isascii())


def forwarded(fields: Fields, names: Mapping[bytes, str], urls: CoreUrls) -> list[tuple[str, str]]:
    """Fields of a client request that are forwarded to the Core, with the URLs of the Core and
    without the cookies of the console. Fields with the same name keep their order.
    """
    listed = _listed(fields.get(b"connection", ()))
    headers = [
        (text, value)
        for name, values in fields.items()
        if (text := names[name]) and text not in listed
        for value in values
    ]
    if any(CONSOLE_COOKIE in value for value in fields.get(b"cookie", ())):
        cookies = [_without_console_cookies(value) for name, value in headers if name == "cookie"]
        headers = [field for field in headers if field[0] != "cookie"]
        headers += [("cookie", value) for value in cookies if value]
    if b"destination" in fields:
        host = "".join(fields.get(b"host", ()))
        headers = [
            (name, urls.destination(value, host) if name == "destination" else value)
            for name, value in headers
        ]
    return headers


def removed(fields: Fields, headers: Iterable[tuple[str, str]]) -> list[bytes]:
    """Names of the fields of a client request that are not among the forwarded headers."""
    kept = {name for name, _ in headers}
    return [name for name in fields if name.decode("ascii") not in kept]


def returned(
    headers: Sequence[tuple[str, str]],
    urls: CoreUrls,
    target: str,
    core_url: str,
    replaced: Iterable[bytes] = (),
) -> list[tuple[bytes, bytes]]:
    """Fields of a Core response that are returned to the client, with the URLs that clients use.

    target: path and query that the Core received. core_url: URL of the Core. replaced: names of
        fields that the gateway sets itself, in lowercase.
    """
    listed = _listed([value for name, value in headers if name == "connection"])
    dropped = {b"", *replaced, *(name.encode("latin-1") for name in listed)}
    result = []
    for name, value in headers:
        encoded = RETURNED_NAMES[name]
        if encoded in dropped:
            continue
        if name == "set-cookie":
            value = urls.cookie(value)
        elif name in _LOCATIONS:
            value = urls.location(value, target, core_url)
        if value or name != "set-cookie":
            result.append((encoded, value.encode("latin-1")))
    return result


#: Response fields with a URL of the Core.
_LOCATIONS = frozenset({"location", "content-location"})


def _without_console_cookies(value: str) -> str:
    cookies = [cookie.strip() for cookie in value.split(";")]
    return "; ".join(cookie for cookie in cookies if not cookie.startswith(CONSOLE_COOKIE))


def _listed(connection: Iterable[str]) -> set[str]:
    """Names in the values of the field Connection."""
    names = {part.strip().lower() for value in connection for part in value.split(",")}
    return names - {"close", "keep-alive", ""}


_AUTHORITY = re.compile(r"(?:https?:)?//([^/?#]*)", re.IGNORECASE)


class CoreUrls(msgspec.Struct, frozen=True, gc=False):
    """URLs of a Core.

    client_prefix: beginning of the paths that clients use, without a slash at the end.
    core_prefix: what the Core receives instead.
    public_host: host of the gateway, with an optional port. Empty if it is not configured.
    """

    client_prefix: str
    core_prefix: str
    public_host: str

    def location(self, reference: str, target: str, core_url: str) -> str:
        """A URL reference in a response of the Core, as clients have to use it. URLs of other hosts
        are not changed.

        target: path and query that the Core received. core_url: URL of the Core.
        """
        if reference.startswith("/") and not reference.startswith("//"):
            return self._client_path(reference)
        core_host = core_url.partition("://")[2].partition("/")[0]
        if _AUTHORITY.match(reference) is None:
            try:
                reference = urljoin(f"http://{core_host}{target}", reference)
            except ValueError:  # not a URL reference
                return reference
        authority = _AUTHORITY.match(reference)
        if authority is None:
            return reference
        host, path = authority[1], reference[authority.end() :]
        if _same_host(host, self.public_host) and path.startswith(CORES):
            return reference
        if not (_same_host(host, core_host) or _same_host(host, self.public_host)):
            return reference
        return self._client_path(path if path.startswith("/") else f"/{path}")

    def destination(self, reference: str, host: str) -> str:
        """The header Destination of a client, as a path of the Core. URLs of other hosts and other
        Cores are not changed.

        host: header Host of the client.
        """
        authority, path = _AUTHORITY.match(reference), reference
        if authority is not None:
            hosts = (host, self.public_host)
            if not any(_same_host(authority[1], known) for known in hosts):
                return reference
            path = reference[authority.end() :]
        if not _is_below(path, self.client_prefix):
            return reference
        path = self.core_prefix + path.removeprefix(self.client_prefix)
        return path if path.startswith("/") else f"/{path}"

    def cookie(self, value: str) -> str:
        """The value of Set-Cookie for clients: without Domain, so that no other host receives the
        cookie, and with the path that clients use. Empty for a cookie of the console.
        """
        pair, *attributes = value.split(";")
        name = pair.strip().lower()
        if name.startswith(CONSOLE_COOKIE.lower()):
            return ""
        kept = [pair]
        for attribute in attributes:
            key, _, path = (part.strip() for part in attribute.partition("="))
            # A cookie with this prefix is valid only with `Path=/`.
            if key.lower() == "path" and path.startswith("/") and not name.startswith("__host-"):
                attribute = f" Path={self._client_path(path).removesuffix('/') or '/'}"
            if key.lower() != "domain":
                kept.append(attribute)
        return ";".join(kept)

    def _client_path(self, path: str) -> str:
        """A Core that knows the prefix, for example from X-Forwarded-Prefix, uses the path of
        clients.
        """
        if _is_below(path, self.client_prefix) or not _is_below(path, self.core_prefix):
            return path
        return self.client_prefix + path.removeprefix(self.core_prefix)


def _is_below(path: str, prefix: str) -> bool:
    return path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in ("", "/", "?", "#")


def _same_host(first: str, second: str) -> bool:
    """Compares hosts with an optional port. The default ports are the same as no port."""
    hosts = {host.lower().removesuffix(":80").removesuffix(":443") for host in (first, second)}
    return len(hosts) == 1
