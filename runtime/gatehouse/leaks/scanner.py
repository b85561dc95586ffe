"""Finding our keys in text, exactly: by the checksum that every key carries, not by how random something looks; pure.

One in 2^32 strings of the right form has the right checksum by chance, so a find is a key and silence is trustworthy."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

import msgspec

from gatehouse.crypto.token import BODY_CHARS, ParsedToken, parse

PREFIX_CHARS_MAX = 16


_TAIL = re.compile(rb"_(?:test|live)_[0-9A-Za-z]{%d}" % BODY_CHARS)


_BRAND = re.compile(rb"[a-z0-9_]{1,%d}$" % PREFIX_CHARS_MAX)


class Match(msgspec.Struct, frozen=True):
    """A key in a text. `at`: the byte that it begins at; `line`: 1 for the first."""

    at: int
    line: int
    token: ParsedToken

    @property
    def redacted(self) -> str:
        """Prefix, environment and id, which are no secret: enough to revoke it by."""
        return redact(self.token)


def redact(token: ParsedToken) -> str:
    return f"{token.prefix}_{token.environment.value}_{token.id}..."


def find(text: bytes, prefixes: Collection[str] = ()) -> Iterator[Match]:
    """Every key in the text, in order. prefixes: the brands that are looked for; none: every brand."""
    line, counted = 1, 0
    for match in _TAIL.finditer(text):
        token = _token(text, match, prefixes)
        if token is not None:
            at = match.end() - len(token.text)
            line, counted = line + text.count(b"\n", counted, at), at
            yield Match(at, line, token)


def without_keys(text: str) -> str:
    """The text with every key in it redacted."""
    raw = text.encode()
    for found in reversed(list(find(raw))):
        raw = raw[: found.at] + found.redacted.encode() + raw[found.at + len(found.token.text) :]
    return raw.decode()


def _token(text: bytes, match: re.Match[bytes], prefixes: Collection[str]) -> ParsedToken | None:
    """The brand may follow other text without a gap (`KEY=x_gtk_test_...`): each beginning is tried, the longest first."""
    before = _BRAND.search(text, max(0, match.start() - PREFIX_CHARS_MAX), match.start())
    run = before.group() if before else b""
    for start in range(len(run)):
        brand = run[start:].decode("ascii")
        if not prefixes or brand in prefixes:
            token = parse(brand + match.group().decode("ascii"), brand)
            if token is not None:
                return token
    return None
