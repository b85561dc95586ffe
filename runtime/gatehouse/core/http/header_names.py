"""Who sets a header field or trailer: the gateway, the client or the Core. Pure.

`OWNED` is the only declaration. All other fields pass in both directions. Sources: RFC 9110,
sections 7.6.1 (fields for a single connection) and 6.5.1 (trailers); the Fetch, HTML and Service
Workers standards (fields that apply to a whole origin).
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

from gatehouse.core.cores import DEFAULT_SETTINGS, CoreSettings


@dataclass(frozen=True, slots=True)
class Owned:
    """Fields that do not pass. `*` is the first or the last character of a name.

    reason: for the documentation. requests: the value of a client reaches no Core.
    responses: the value of a Core reaches no client, in headers and in trailers.
    """

    reason: str
    names: tuple[str, ...]
    requests: bool = True
    responses: bool = True


_OF_GATEWAY = ("gatehouse-*", "x-gh-*", "x-envoy-*")
_OF_GATEWAY_IN_RESPONSES = ("ratelimit*",)

OWNED = (
    Owned(
        "Apply to a single connection",
        (
            *("connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"),
            *("http2-settings", "proxy-authenticate", "proxy-authentication-info"),
            *("proxy-authorization", "proxy-connection"),
        ),
    ),
    Owned("Set by the gateway or Envoy", _OF_GATEWAY),
    Owned(
        "Set by the gateway in requests",
        (
            *("host", "content-length", "expect", "traceparent", "sec-websocket-*"),
            *("forwarded", "x-forwarded", "x-forwarded-*"),
        ),
        responses=False,
    ),
    Owned("Set by the gateway in responses", _OF_GATEWAY_IN_RESPONSES, requests=False),
    Owned(
        "Apply to the whole origin, which all Cores share",
        (
            *("accept-ch", "alt-svc", "clear-site-data", "critical-ch", "expect-ct", "nel"),
            *("report-to", "origin-agent-cluster", "public-key-pins*", "service-worker-allowed"),
            *("set-login", "strict-transport-security", "use-as-dictionary", "sec-session-*"),
            "secure-session-*",
        ),
        requests=False,
    ),
    Owned(
        "Instruct a proxy in front of the gateway",
        (
            *("x-accel-*", "x-sendfile*", "x-lighttpd-*", "x-litespeed-*", "x-reproxy-*"),
            *("surrogate-*", "*cdn-cache-control"),
        ),
        requests=False,
    ),
)

#: Fields of a response that are not returned.
NOT_RETURNED = tuple(name for row in OWNED if row.responses for name in row.names)
#: Fields of a response to which the gateway can add values of its own.
SET_IN_RESPONSES = (
    *(*_OF_GATEWAY, *_OF_GATEWAY_IN_RESPONSES),
    *("access-control-*", "vary", "x-request-id"),
)
#: Trailers of a response that are not returned. The gateway translates these fields in headers.
NOT_RETURNED_TRAILERS = (*NOT_RETURNED, "location", "content-location", "set-cookie")

#: Maximum number of names that are kept, of characters of a name that is kept, and of characters of
#: a name that is forwarded.
_NAMES_MAX = 128
_NAME_CHARS_MAX, _FORWARDED_CHARS_MAX = 64, 128


class Names(dict[bytes, bool]):
    """Names of fields, in lowercase, and whether the field is forwarded."""

    def __init__(self, is_forwarded: Callable[[str], bool]) -> None:
        self._is_forwarded: Callable[[str], bool] = is_forwarded

    def __missing__(self, name: bytes) -> bool:
        result = self._is_forwarded(name.decode("latin-1"))
        if len(name) <= _NAME_CHARS_MAX:
            if len(self) >= _NAMES_MAX:
                self.clear()
            self[name] = result
        return result


@lru_cache(maxsize=256)
def forwarded_names(settings: CoreSettings = DEFAULT_SETTINGS) -> Names:
    """Names of request fields that a Core receives with the values of the client."""
    own = (settings.key_header, settings.credential_header, settings.identity_header)
    removed = [name for name in own if name is not None]
    if not settings.forward_authorization:
        removed.append("authorization")
    is_removed = _matches((*removed, *settings.remove_headers))

    def is_forwarded(name: str) -> bool:
        is_long = len(name) > _FORWARDED_CHARS_MAX
        return not (is_long or is_set_by_gateway(name) or is_removed(name))

    return Names(is_forwarded)


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
is_set_by_gateway = _matches(name for row in OWNED if row.requests for name in row.names)
