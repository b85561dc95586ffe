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

import re
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import unquote_to_bytes, urljoin

import msgspec

from gatehouse.platform.http.header_names import RETURNED_NAMES
from gatehouse.platform.http.request_head import BROKEN_ESCAPE

#: Header fields in order, with names in lowercase.
Fields = Sequence[tuple[bytes, bytes]]

#: Name of a Core: a DNS label of up to 40 characters, as in the check constraint in the database.
CORE_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
CORES = "/cores/"
#: Matches characters that a path must not contain: all except the path characters of RFC 3986,
#: section 3.3, and `[`, `]` and `|`, which browsers do not encode.
_NOT_IN_PATH = re.compile(rb"[^A-Za-z0-9\-._~!$&'()*+,;=:@/%\[\]|]")
#: Methods that are not forwarded: they are addressed to a proxy itself (RFC 9110, sections 9.3.6
#: and 9.3.8).
PROXY_METHODS = ("CONNECT", "TRACE")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")


class CorePath(msgspec.Struct, frozen=True, gc=False):
    """Parts of `/cores/{name}{path}` or, with `by_host`, of `//{name}.{domain}{path}`. `name` is
    unvalidated and can be empty. `path` is percent-encoded and includes the leading slash."""

    name: str
    path: str
    by_host: bool = False

    @property
    def prefix(self) -> str:
        """Beginning of the paths that clients use, without a slash at the end."""
        return "" if self.by_host else f"{CORES}{self.name}"


def core_path(raw: bytes, name: str | None = None) -> CorePath:
    """Parse a percent-encoded path. Raises ValueError with the reason why the path is invalid.

    name: the Core that the host name specifies. None for a path that starts with /cores/.
    """
    reason = flaw(raw)
    if reason:
        raise ValueError(reason)
    if name is not None:
        return CorePath(name, raw.decode("ascii"), by_host=True)
    name, slash, rest = raw[len(CORES) :].decode("ascii").partition("/")
    return CorePath(name, slash + rest if slash else "/")


def flaw(raw: bytes) -> str:
    """Sentence that explains why a percent-encoded path is ambiguous or unsafe to forward. Empty if
    the path is valid.
    """
    invalid = _NOT_IN_PATH.search(raw)
    if invalid is not None:
        return _character_flaw(invalid.group())
    decoded = _decoded(raw) if b"%" in raw else raw
    if isinstance(decoded, str):
        return f"the path {decoded}"
    if b"\\" in decoded:
        return "the path contains an encoded backslash"
    if _CONTROL.search(decoded):
        return "the path contains an encoded control character"
    return "the path contains a dot segment" if _dotted(decoded) else ""


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
    if BROKEN_ESCAPE.search(raw):
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


#: Prefix of cookies for all paths, and the one of those of a Core that is reached by path.
_HOST, _SECURE_HOST = "__Host-", "__Secure-Host-"


def cookies_for_core(value: str) -> str:
    """The header Cookie for a Core that is reached by path, see `CoreUrls.cookie`."""
    return f"; {value}".replace(f"; {_SECURE_HOST}", f"; {_HOST}")[2:]


def invalid_value(fields: Fields) -> bytes | None:
    """Name of a field whose value contains a byte that is not ASCII (RFC 9110, section 5.5), or
    None. The HTTP parser accepts no control characters except tabs.
    """
    if b"".join([value for _, value in fields]).isascii():
        return None
    return next(name for name, value in fields if not value.isascii())


def forwarded(fields: Fields, names: Mapping[bytes, str]) -> list[tuple[str, str]]:
    """Fields of a client request that are forwarded to the Core, without the cookies of the
    console. The values are ASCII, see `invalid_value`.
    """
    headers = [(text, value.decode()) for name, value in fields if (text := names[name])]
    sent = dict(fields)
    if b"connection" in sent:
        listed = _listed(value.decode() for name, value in fields if name == b"connection")
        headers = [field for field in headers if field[0] not in listed]
    if b"cookie" in sent and any(CONSOLE_COOKIE in value for _, value in headers):
        cookies = [_without_console_cookies(value) for name, value in headers if name == "cookie"]
        headers = [field for field in headers if field[0] != "cookie"]
        headers += [("cookie", value) for value in cookies if value]
    return headers


def removed(fields: Fields, headers: Iterable[tuple[str, str]]) -> list[bytes]:
    """Names of the fields of a client request that are not among the forwarded headers."""
    kept = {name for name, _ in headers}
    return [name for name in dict(fields) if name.decode("ascii") not in kept]


def returned(
    headers: Sequence[tuple[str, str]],
    urls: "CoreUrls",
    target: str,
    replaced: Iterable[bytes] = (),
) -> list[tuple[bytes, bytes]]:
    """Fields of a Core response that are returned to the client, with the URLs that clients use.

    target: path and query of the request, below the path of the URL of the Core. replaced: names
        of fields that the gateway sets itself, in lowercase.
    """
    listed = _listed([value for name, value in headers if name == "connection"])
    dropped = {b"", *replaced, *(name.encode("latin-1") for name in listed)}
    result = []
    for name, value in headers:
        encoded = RETURNED_NAMES[name]
        if encoded in dropped:
            continue
        if name == "set-cookie":
            value = urls.cookie(value, target)
        elif name in _LOCATIONS:
            value = urls.location(value, target)
            dropped.add(encoded)  # one value is valid, and each takes the time of a long target
        if value or name != "set-cookie":
            result.append((encoded, value.encode("latin-1")))
    return result


#: Response fields with a URL of the Core.
_LOCATIONS = ("location", "content-location")


def _without_console_cookies(value: str) -> str:
    # Browsers send a cookie without a name as its value, and some with an equals sign before it.
    kept = (
        cookie
        for cookie in value.split(";")
        if CONSOLE_COOKIE not in cookie or not cookie.lstrip("= \t").startswith(CONSOLE_COOKIE)
    )
    return ";".join(kept).strip("; \t")


def _listed(connection: Iterable[str]) -> set[str]:
    names = {part.strip().lower() for value in connection for part in value.split(",")}
    return names - {"close", "keep-alive", ""}


#: The beginning of a URL with an authority, whose host is the group. Browsers read a backslash as a
#: slash.
_AUTHORITY = re.compile(r"(?:https?:)?[/\\]{2}(?:[^/\\?#]*@)?([^/\\?#@]*)", re.IGNORECASE)


#: The attributes of a cookie that are changed. The group is the path.
_COOKIE_PATH = re.compile(r";[ \t]*path[ \t]*(?:=([^;]*)|(?=;|$))", re.IGNORECASE)
_COOKIE_DOMAIN = re.compile(r";[ \t]*domain[ \t]*(?:=[^;]*|(?=;|$))", re.IGNORECASE)


class CoreUrls(msgspec.Struct, frozen=True, gc=False):
    """URLs of an instance of a Core.

    client_prefix: beginning of the paths that clients use, without a slash at the end. Empty if
        the Core has a host name.
    kept_prefix: the part of it that the Core receives.
    public_host: host that clients use, with an optional port. Empty if it is not known.
    core_url: URL of the instance, to whose path the paths of requests are appended.
    """

    client_prefix: str
    kept_prefix: str
    public_host: str
    core_url: str

    def location(self, reference: str, target: str) -> str:
        """A URL reference in a response of the Core, as clients have to use it. URLs of other hosts
        are not changed.

        target: path and query of the request, below the path of the URL of the Core.
        """
        core_host = self.core_url.partition("://")[2].partition("/")[0]
        if _AUTHORITY.match(reference) is None:
            if reference.startswith("/"):
                return self._client_path(reference)
            try:
                reference = urljoin(f"http://{core_host}{self._base_path}{target}", reference)
            except ValueError:  # not a URL reference
                return reference
        authority = _AUTHORITY.match(reference)
        if authority is None:
            return reference
        host, path = authority[1], reference[authority.end() :]
        is_public = _same_host(host, self.public_host)
        if not (is_public or _same_host(host, core_host)):
            return reference
        if is_public and self.client_prefix and path.startswith(CORES):
            return reference
        path = self._client_path(path if path.startswith("/") else f"/{path}")
        return f"//{self.public_host}{path}" if _AUTHORITY.match(path) else path

    def destination(self, reference: str, host: str) -> str:
        """The header Destination of a client (RFC 4918, section 10.3), as a path of the Core.
        Raises ValueError if it is not a URL of the Core.

        host: header Host of the client.
        """
        authority, path, hosts = _AUTHORITY.match(reference), reference, (host, self.public_host)
        if authority is not None:
            path = reference[authority.end() :] or "/"
        if (
            (authority and not any(_same_host(authority[1], known) for known in hosts))
            or not path.startswith("/")
            or not _is_below(path, self.client_prefix)
            or flaw(path.partition("?")[0].encode())
        ):
            raise ValueError("the header Destination is not a URL of this Core")
        path = self._core_prefix + path.removeprefix(self.client_prefix)
        return path if path.startswith("/") else f"/{path}"

    def cookie(self, value: str, target: str) -> str:
        """The value of Set-Cookie for clients: without Domain, so that no other host receives the
        cookie, and with the path that clients use. A path outside of the Core becomes the prefix,
        and so does the default path of a cookie from `/cores/{name}`, which is `/cores` (RFC 6265,
        section 5.1.4). Only the last path is valid (section 5.3). Empty for a console cookie.
        """
        pair, separator, attributes = value.partition(";")
        # Some browsers send the value of a cookie without a name (`=a`) like a name.
        name = pair.strip("= \t").lower()
        if name.startswith(CONSOLE_COOKIE.lower()):
            return ""
        if self.client_prefix and name.startswith(_HOST.lower()):
            # All Cores would receive it, because a cookie with this prefix is valid only with
            # `Path=/`.
            name = pair = _SECURE_HOST + pair.strip("= \t")[len(_HOST) :]
        rest = _COOKIE_DOMAIN.sub("", separator + attributes)
        path = (_COOKIE_PATH.findall(rest) or [""])[-1].strip()
        result = pair + _COOKIE_PATH.sub("", rest)
        if path.startswith("/"):
            if not name.startswith(_HOST.lower()):
                path = self._client_path(path)
                if not _is_below(path, self.client_prefix):
                    path = self.client_prefix
                path = path.removesuffix("/") or "/"
        elif target.partition("?")[0].removeprefix(self.kept_prefix) in ("", "/"):
            path = self.client_prefix or "/"
        else:
            return result
        return f"{result}; Path={path}"

    @property
    def _base_path(self) -> str:
        _, slash, path = self.core_url.partition("://")[2].partition("/")
        return slash + path

    @property
    def _core_prefix(self) -> str:
        """Beginning of the paths that the Core receives."""
        return self._base_path + self.kept_prefix

    def _client_path(self, path: str) -> str:
        """A Core that knows the prefix, for example from X-Forwarded-Prefix, uses the path of
        clients.
        """
        if self.client_prefix and _is_below(path, self.client_prefix):
            return path
        if not _is_below(path, self._core_prefix):
            return path
        path = self.client_prefix + path.removeprefix(self._core_prefix)
        return path if path.startswith("/") else f"/{path}"


def _is_below(path: str, prefix: str) -> bool:
    return path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in ("", "/", "?", "#")


def _same_host(host: str, known: str) -> bool:
    """Compares hosts with an optional port. A host without a port is the known host with any port:
    applications behind a proxy often do not know their port.
    """
    host, known = (name.lower().removesuffix(":80").removesuffix(":443") for name in (host, known))
    return host in (known, re.sub(":[0-9]+$", "", known))
