"""In-memory cache of Core responses, with the conditions for storage and revalidation.

Each request is sent to the Core first (If-None-Match), and the cached body is used only after a 304
response. Changes are therefore visible immediately. If the Core denies the key or is unavailable,
the client receives the same response as without the cache. The cache saves only the transfer of the
body.

All keys share the cache, and every request is authenticated, so only a response that the Core marks
`Cache-Control: public` or `s-maxage` is stored. RFC 9111 also permits `must-revalidate`, but many
frameworks send this directive in responses for one user.
Sources: RFC 9111, sections 3 (storing), 3.2 and 4.3.4 (update by a 304 response), 3.5
    (Authorization), 4.1 (Vary).
"""

import re
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

import msgspec

from gatehouse.platform.http_client.connections import RESPONSE_HEAD_BYTES_MAX, RESPONSE_HEADERS_MAX

Headers: TypeAlias = list[tuple[str, str]]

#: Lease ID and URL of the instance, target URI (scheme and authority as sent by the client; path
#: and query as sent to the Core), Accept-Encoding. A new registration or another URL therefore
#: starts with an empty cache. Source: RFC 9111, section 2.
CacheKey: TypeAlias = tuple[str, str, str, str]

_STRONG_ETAG = re.compile(r'"[!#-~]*"')

#: A client that sends one of these headers has its own cache or requests a part of the resource.
#: Such a request is forwarded unchanged.
_CONDITIONAL = frozenset(
    b"range if-range if-none-match if-modified-since if-match if-unmodified-since pragma".split()
)

#: Headers that a 304 response does not update, because they describe the message.
_NOT_UPDATED = (
    *("content-length", "content-encoding", "content-type", "content-range"),
    *("transfer-encoding", "trailer"),
)

#: Maximum size of one body, which is also at most a quarter of the total size.
BODY_BYTES_MAX = 1_048_576

#: Maximum length of `Vary` and `Cache-Control` of a stored response.
LIST_CHARACTERS_MAX = 1000

#: Approximate size of an entry without its key, body and headers, and of a header without its text.
_ENTRY_BYTES, _HEADER_BYTES = 2048, 170


class CachedResponse(msgspec.Struct, frozen=True):
    etag: str
    headers: Headers
    body: bytes


class ResponseCache:
    """LRU cache. Not thread-safe; use in a single event loop."""

    def __init__(self, bytes_max: int) -> None:
        self._entries: OrderedDict[CacheKey, CachedResponse] = OrderedDict()
        self._bytes_max = bytes_max
        self._entry_bytes_max = min(BODY_BYTES_MAX, bytes_max // 4)
        self.bytes = 0
        #: Total size of the responses that are being received and will be stored.
        self._receiving = 0

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, key: CacheKey) -> CachedResponse | None:
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
        return entry

    def drop(self, key: CacheKey) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.bytes -= _size(key, entry)

    def store(self, key: CacheKey, headers: Headers, body: bytes) -> None:
        """Replaces the stored response, or removes it if the response is not `storable`: a 304 can
        add a cookie, which is only for its client.
        """
        self.drop(key)
        if not self.storable(200, headers):
            return
        entry = CachedResponse(_value(headers, "etag"), headers, body)
        self._entries[key] = entry
        self.bytes += _size(key, entry)
        while self.bytes > self._bytes_max:
            self.bytes -= _size(*self._entries.popitem(last=False))

    @contextmanager
    def receiving(self, size: int) -> Iterator[bool]:
        """Until the end of the block, a response of this size is received and kept. False: too many
        others are, so the response is not stored.
        """
        counted = size if self._receiving + size <= self._bytes_max else 0
        self._receiving += counted
        try:
            yield counted > 0
        finally:
            self._receiving -= counted

    def storable(self, status: int, headers: Sequence[tuple[str, str]]) -> bool:
        """True for a complete, public response with status 200, a known length and one strong
        ETag.
        """
        if status != 200 or _STRONG_ETAG.fullmatch(_value(headers, "etag")) is None:
            return False
        length = _value(headers, "content-length")
        return (
            length.isascii()
            and length.isdigit()
            and int(length[:12]) <= self._entry_bytes_max
            and _is_public(headers)
            and _items(headers, "vary") <= {"accept-encoding"}
            and not any(name in {"set-cookie", "trailer"} for name, _ in headers)
        )


def is_cacheable(method: str, fields: Sequence[tuple[bytes, bytes]]) -> bool:
    """True for an unconditional GET of a whole resource that does not forbid caching."""
    names = dict(fields)
    if method != "GET" or not _CONDITIONAL.isdisjoint(names):
        return False
    return b"cache-control" not in names or not any(
        name == b"cache-control" and b"no-store" in value.lower() for name, value in fields
    )


def updated_headers(
    cached: CachedResponse, not_modified: Sequence[tuple[str, str]]
) -> Headers | None:
    """Headers to serve after a 304 response with the headers `not_modified`.

    None if the 304 response confirms a different version, makes the response private to this
    client, or makes the headers larger than a response can have.
    """
    etag = _value(not_modified, "etag")
    if etag and etag.removeprefix("W/") != cached.etag:
        return None
    updates = [(name, value) for name, value in not_modified if name not in _NOT_UPDATED]
    names = {name for name, _ in updates}
    updated = [(name, value) for name, value in cached.headers if name not in names] + updates
    size = sum(len(name) + len(value) for name, value in updated)
    is_valid = len(updated) <= RESPONSE_HEADERS_MAX and size <= RESPONSE_HEAD_BYTES_MAX
    return updated if is_valid and _is_public(updated) else None


def _is_public(headers: Sequence[tuple[str, str]]) -> bool:
    directives = _items(headers, "cache-control")
    return not directives.isdisjoint({"public", "s-maxage"}) and directives.isdisjoint(
        {"no-store", "private", "*"}
    )


def _items(headers: Sequence[tuple[str, str]], name: str) -> set[str]:
    """Items of a list in lower case, without arguments. `*`: the list is too long."""
    value = _value(headers, name)
    if len(value) > LIST_CHARACTERS_MAX:
        return {"*"}
    return {part.partition("=")[0].strip().lower() for part in value.split(",")} - {""}


def _value(headers: Sequence[tuple[str, str]], name: str) -> str:
    """All values of a header, joined into a comma-separated list (RFC 9110, section 5.3)."""
    return ", ".join([value for field, value in headers if field == name])


def _size(key: CacheKey, entry: CachedResponse) -> int:
    return (
        sum(map(len, key))
        + len(entry.body)
        + sum(len(name) + len(value) + _HEADER_BYTES for name, value in entry.headers)
        + _ENTRY_BYTES
    )
