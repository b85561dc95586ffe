"""Answers of Cores in the memory of one worker: what may be kept, and what is served after the Core has said that it still holds.

Nothing is ever served from here alone: each request asks the Core first (If-None-Match), and the bytes are used only when it
answers 304. So a change is seen at once, a Core that refuses this key refuses it here too, and one that is down is down. What is
saved is the transfer. Sources: RFC 9111, sections 3 (what may be stored), 3.2 and 4.3.4 (what a 304 updates), 4.1 (Vary)."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import msgspec

Headers: TypeAlias = list[tuple[str, str]]


#: Core, lease (a new registration begins with nothing), raw path and query, Accept-Encoding.
Place: TypeAlias = tuple[str, str, str, str]


_STRONG = re.compile(r'"[!#-~]*"')


#: A client that asks like this keeps its own copy or wants a part: its question goes to the Core as it is.
_OWN_QUESTION = frozenset(
    {b"range", b"if-range", b"if-none-match", b"if-modified-since", b"if-match", b"if-unmodified-since", b"pragma"}
)


#: What a 304 does not replace: it describes the message and not the file.
_KEPT_ON_304 = frozenset({"content-length", "content-encoding", "content-type", "content-range", "transfer-encoding", "trailer"})


#: What an entry takes besides its body, roughly: its place, headers and their objects.
_ENTRY_BYTES = 2048


class CachedResponse(msgspec.Struct, frozen=True):
    etag: str
    headers: Headers
    body: bytes


class ResponseCache:
    """Least recently used out first. For one event loop, not for threads."""

    def __init__(self, bytes_max: int, *, entry_bytes_max: int = 1_048_576) -> None:
        """bytes_max: of all entries with what they take besides. entry_bytes_max: of one body."""
        self._entries: OrderedDict[Place, CachedResponse] = OrderedDict()
        self._bytes_max = bytes_max
        self._entry_bytes_max = min(entry_bytes_max, bytes_max // 4)
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, place: Place) -> CachedResponse | None:
        kept = self._entries.get(place)
        if kept is not None:
            self._entries.move_to_end(place)
        return kept

    def drop(self, place: Place) -> None:
        kept = self._entries.pop(place, None)
        if kept is not None:
            self.bytes -= _size(kept)

    def keep(self, place: Place, headers: Headers, body: bytes) -> None:
        """Only what `may_keep` lets through."""
        self.drop(place)
        kept = CachedResponse(_value(headers, "etag"), headers, body)
        self._entries[place] = kept
        self.bytes += _size(kept)
        while self.bytes > self._bytes_max:
            _, oldest = self._entries.popitem(last=False)
            self.bytes -= _size(oldest)

    def may_keep(self, status: int, headers: Sequence[tuple[str, str]]) -> bool:
        """A whole 200 of a known length with one strong validator, for everybody who is let through to it."""
        control = {part.strip().lower().partition("=")[0] for part in _value(headers, "cache-control").split(",")}
        vary = {part.strip().lower() for part in _value(headers, "vary").split(",")} - {""}
        length = _value(headers, "content-length")
        return (
            status == 200
            and _STRONG.fullmatch(_value(headers, "etag")) is not None
            and length.isascii()
            and length.isdigit()
            and int(length[:12]) <= self._entry_bytes_max
            and control.isdisjoint({"no-store", "private"})
            and vary <= {"accept-encoding"}
            and not any(name in {"set-cookie", "trailer"} for name, _ in headers)
        )


def asks_plainly(method: str, fields: Iterable[tuple[bytes, bytes]]) -> bool:
    """A GET of the whole file by a client that says nothing of a copy of its own and does not forbid ours."""
    if method != "GET":
        return False
    return not any(name in _OWN_QUESTION or (name == b"cache-control" and b"no-store" in value.lower()) for name, value in fields)


def confirmed(kept: CachedResponse, said: Sequence[tuple[str, str]]) -> Headers | None:
    """The headers to serve after a 304 that says `said`; None when it confirms another version than ours."""
    etag = _value(said, "etag")
    if etag and etag.removeprefix("W/") != kept.etag:
        return None
    news = [(name, value) for name, value in said if name not in _KEPT_ON_304]
    names = {name for name, _ in news}
    return [(name, value) for name, value in kept.headers if name not in names] + news


def _value(headers: Sequence[tuple[str, str]], name: str) -> str:
    """All values of a field as one list, as RFC 9110, section 5.3 joins them."""
    return ", ".join(value for field, value in headers if field == name)


def _size(kept: CachedResponse) -> int:
    return len(kept.body) + sum(len(name) + len(value) for name, value in kept.headers) + _ENTRY_BYTES
