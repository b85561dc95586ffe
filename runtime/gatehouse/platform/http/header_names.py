"""Names of the header fields that the gateway does not forward between clients and Cores. Pure.

All other fields pass in both directions. Sources: RFC 9110, section 7.6.1 (fields for a single
connection); the Fetch, HTML and Service Workers standards (fields that apply to a whole origin).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from fnmatch import translate
from functools import lru_cache

from gatehouse.core.cores import IDENTITY_HEADERS

#: Fields for a single connection.
HOP_BY_HOP = (
    *("connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"),
    *("http2-settings", "proxy-authenticate", "proxy-authentication-info", "proxy-authorization"),
    "proxy-connection",
)

#: Fields of a request whose values the gateway determines.
_OF_THE_GATEWAY = (
    *("authorization", "host", "content-length", "expect", "traceparent", "sec-websocket-*"),
    *("forwarded", "x-forwarded", "x-forwarded-*", "gatehouse-*"),
)

#: Fields of a response that are not returned: fields that the gateway sets, fields that apply to
#: the whole origin, which all Cores share, and instructions to proxies in front of the gateway.
NOT_RETURNED = (
    *HOP_BY_HOP,
    *("date", "x-request-id", "gatehouse-*"),
    *("accept-ch", "alt-svc", "clear-site-data", "critical-ch", "expect-ct", "nel", "report-to"),
    *("origin-agent-cluster", "public-key-pins*", "service-worker-allowed", "set-login"),
    *("strict-transport-security", "use-as-dictionary", "sec-session-*", "secure-session-*"),
    *("x-accel-*", "x-sendfile*", "x-lighttpd-*", "x-litespeed-*", "x-reproxy-*", "x-envoy-*"),
    *("surrogate-*", "*cdn-cache-control"),
)

#: Returns the name of a request field as text, or an empty text if the field is not forwarded.
#: Names are in lowercase.
ForwardedName = Callable[[bytes], str]


@lru_cache(maxsize=256)
def forwarded_name(
    removed: tuple[str, ...] = IDENTITY_HEADERS, key_header: str = "X-API-Key"
) -> ForwardedName:
    """removed: names that are not forwarded to a Core. `*` stands for any characters. key_header:
    name of the field with the API key.
    """
    is_removed = _matches((*HOP_BY_HOP, *_OF_THE_GATEWAY, key_header, *removed))

    @lru_cache(maxsize=1024)
    def name_of(name: bytes) -> str:
        text = name.decode("ascii")
        return "" if is_removed(text) else text

    return name_of


def _matches(names: Iterable[str]) -> Callable[[str], bool]:
    """Servers read all characters other than letters and digits as the same character, so that
    `X_Api.Key` is `X-Api-Key`.
    """
    pattern = re.compile("|".join(translate(name.lower()) for name in names))

    def matches(name: str) -> bool:
        underscores = re.sub("[^a-z0-9-]", "_", name)
        return any(map(pattern.match, (underscores, underscores.replace("_", "-"))))

    return matches


_is_not_returned = _matches(NOT_RETURNED)


@lru_cache(maxsize=1024)
def returned_name(name: str) -> bytes:
    """The name of a response field, or no bytes if the field is not returned. Names are in
    lowercase.
    """
    return b"" if _is_not_returned(name) else name.encode("ascii")
