"""Search for API keys in text by the checksum that every token contains. Pure.

One in 2^32 strings of the right format has a valid checksum by chance, so there are practically no false positives.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

import msgspec

from gatehouse.crypto.token import BODY_CHARS, ParsedToken, parse

PREFIX_CHARS_MAX = 16
_BODY = re.compile(rb"_(?:test|live)_[0-9A-Za-z]{%d}" % BODY_CHARS)
_PREFIX = re.compile(rb"[a-z0-9_]{1,%d}$" % PREFIX_CHARS_MAX)


class Match(msgspec.Struct, frozen=True):
    """A token in a text."""

    position: int  # of its first byte
    line: int  # from 1
    token: ParsedToken

    @property
    def redacted(self) -> str:
        return redact(self.token)


def redact(token: ParsedToken) -> str:
    """Prefix, environment and id, which are not secret and sufficient to revoke the key."""
    return f"{token.prefix}_{token.environment.value}_{token.id}..."


def find(text: bytes, prefixes: Collection[str] = ()) -> Iterator[Match]:
    """Tokens in the order of the text. `prefixes`: of the tokens to search for; empty: any prefix."""
    line, counted = 1, 0
    for match in _BODY.finditer(text):
        token = _token(text, match, prefixes)
        if token is not None:
            position = match.end() - len(token.text)
            line, counted = line + text.count(b"\n", counted, position), position
            yield Match(position, line, token)


def redact_keys(text: str) -> str:
    """The text with every token redacted."""
    raw = text.encode()
    for match in reversed(list(find(raw))):
        raw = raw[: match.position] + match.redacted.encode() + raw[match.position + len(match.token.text) :]
    return raw.decode()


def _token(text: bytes, match: re.Match[bytes], prefixes: Collection[str]) -> ParsedToken | None:
    """The token with the longest valid prefix. A prefix can follow other text without a gap (`KEY=x_gtk_test_...`)."""
    before = _PREFIX.search(text, max(0, match.start() - PREFIX_CHARS_MAX), match.start())
    run = before.group() if before else b""
    for start in range(len(run)):
        prefix = run[start:].decode("ascii")
        if not prefixes or prefix in prefixes:
            token = parse(prefix + match.group().decode("ascii"), prefix)
            if token is not None:
                return token
    return None
