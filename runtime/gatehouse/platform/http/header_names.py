"""Names of the header fields that the gateway does not forward between clients and Cores. Pure.

All other fields pass in both directions. Sources: RFC 9110, section 7.6.1 (fields for a single
connection); the Fetch, HTML and Service Workers standards (fields that apply to a whole origin).
"""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TypeVar

from gatehouse.core.cores import DEFAULT_SETTINGS, CoreSettings

#: Fields for a single connection.
HOP_BY_HOP = (
    *("connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"),
    *("http2-settings", "proxy-authenticate", "proxy-authentication-info", "proxy-authorization"),
    "proxy-connection",
)

#: Fields of a request whose values the gateway determines.
_OF_THE_GATEWAY = (
    *("host", "content-length", "expect", "traceparent", "sec-websocket-*"),
    *("forwarded", "x-forwarded", "x-forwarded-*", "gatehouse-*"),
)

#: Fields of a response that are not returned: fields that the gateway sets, fields that apply to
#: the whole origin, which all Cores share, and instructions to proxies in front of the gateway.
NOT_RETURNED = (
    *HOP_BY_HOP,
    *("date", "gatehouse-*"),
    *("accept-ch", "alt-svc", "clear-site-data", "critical-ch", "expect-ct", "nel", "report-to"),
    *("origin-agent-cluster", "public-key-pins*", "service-worker-allowed", "set-login"),
    *("strict-transport-security", "use-as-dictionary", "sec-session-*", "secure-session-*"),
    *("x-accel-*", "x-sendfile*", "x-lighttpd-*", "x-litespeed-*", "x-reproxy-*", "x-envoy-*"),
    *("surrogate-*", "*cdn-cache-control"),
)

_Name = TypeVar("_Name", bytes, str)
_Encoded = TypeVar("_Encoded", bytes, str)

#: Maximum number of names that are kept, of characters of a name that is kept, and of characters of
#: a name that is forwarded.
_NAMES_MAX = 128
_NAME_CHARS_MAX, _FORWARDED_CHARS_MAX = 64, 128


class Names(dict[_Name, _Encoded]):
    """Names of fields, as bytes or text, with the other form of the name. It is empty if the field
    is not forwarded. Names are in lowercase.
    """

    def __init__(self, encode: Callable[[_Name], _Encoded]) -> None:
        self._encode: Callable[[_Name], _Encoded] = encode

    def __missing__(self, name: _Name) -> _Encoded:
        encoded = self._encode(name)
        if len(name) <= _NAME_CHARS_MAX:
            if len(self) >= _NAMES_MAX:
                self.clear()
            self[name] = encoded
        return encoded


@lru_cache(maxsize=256)
def forwarded_names(
    removed: tuple[str, ...] = DEFAULT_SETTINGS.remove_headers,
    key_header: str = DEFAULT_SETTINGS.key_header,
    authorization: bool = DEFAULT_SETTINGS.forward_authorization,
) -> Names[bytes, str]:
    """Names of request fields. removed: names that are not forwarded to a Core (`_matches`).
    key_header: name of the field with the API key. authorization: `Authorization` is
    forwarded.
    """
    credentials = (key_header,) if authorization else (key_header, "authorization")
    is_removed = _matches((*credentials, *removed))

    def text_of(name: bytes) -> str:
        text = name.decode("ascii")
        is_long = len(text) > _FORWARDED_CHARS_MAX
        return "" if is_long or is_set_by_gateway(text) or is_removed(text) else text

    return Names(text_of)


def names_for(settings: CoreSettings) -> Names[bytes, str]:
    removed = settings.remove_headers
    if settings.credential_header is not None:
        removed = (*removed, settings.credential_header)
    return forwarded_names(removed, settings.key_header, settings.forward_authorization)


#: Servers read all characters other than letters and digits as the same character, so that
#: `X_Api.Key` is `X-Api-Key`. A hyphen is read as itself and as the others.
_UNDERSCORES = {
    code: "_" for code in range(128) if not (chr(code).islower() or chr(code) in "0123456789-")
}


def _matches(names: Iterable[str]) -> Callable[[str], bool]:
    """A function that compares a name with these names, of which `*` can be the first and the last
    character. Takes a time in proportion to the length of the name: `re` searches for a text in
    linear time, but the operator `in` does not.
    """
    equal, starts, ends, parts = set[str](), list[str](), list[str](), list[re.Pattern[str]]()
    for name in map(str.lower, names):
        text = name.strip("*")
        if name.startswith("*"):
            parts.append(re.compile(re.escape(text))) if name.endswith("*") else ends.append(text)
        else:
            starts.append(text) if name.endswith("*") else equal.add(text)
    first, last = tuple(starts), tuple(ends)

    def matches(name: str) -> bool:
        underscores = name.translate(_UNDERSCORES)
        return any(
            form in equal
            or form.startswith(first)
            or form.endswith(last)
            or any(part.search(form) for part in parts)
            for form in {underscores, underscores.replace("_", "-")}
        )

    return matches


#: True for the name of a request field that is never forwarded, in lowercase.
is_set_by_gateway = _matches((*HOP_BY_HOP, *_OF_THE_GATEWAY))

_is_not_returned = _matches(NOT_RETURNED)

#: Names of response fields.
RETURNED_NAMES: Names[str, bytes] = Names(
    lambda name: b"" if _is_not_returned(name) else name.encode("ascii")
)
