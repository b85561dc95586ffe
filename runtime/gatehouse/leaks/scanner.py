"""Finds API keys in text by the checksum that every token contains. Pure.

One in 2^32 strings of the right format has a valid checksum by chance, so there are practically no false positives.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

import msgspec

from gatehouse.crypto.token import ADMIN_BODY_CHARS, BODY_CHARS, has_checksum, parse

PREFIX_CHARS_MAX = 16
_BODY = re.compile(rb"_(test|live|admin)_([0-9A-Za-z]{%d})" % ADMIN_BODY_CHARS)
_REST = re.compile(rb"[0-9A-Za-z]{%d}" % (BODY_CHARS - ADMIN_BODY_CHARS))
_PREFIX = re.compile(rb"[a-z0-9_]{1,%d}$" % PREFIX_CHARS_MAX)


class Match(msgspec.Struct, frozen=True):
    """A token in scanned data. `text` is secret. The bootstrap token has the environment `admin` and no key ID."""

    position: int  # position of the first byte
    line: int  # from 1
    text: str
    prefix: str
    environment: str
    key_id: str | None

    def __repr__(self) -> str:
        return f"Match({self.redacted})"

    @property
    def redacted(self) -> str:
        """Prefix, environment and ID of the token, which are not secret and are sufficient to revoke the key."""
        return f"{self.prefix}_{self.environment}_{self.key_id or ''}..."


def find(text: bytes, prefixes: Collection[str] = ()) -> Iterator[Match]:
    """Yields the tokens in `text`, in order. `prefixes`: token prefixes to search for. Empty: any prefix."""
    line, counted = 1, 0
    for body in _BODY.finditer(text):
        match = _match(text, body, prefixes)
        if match is not None:
            line, counted = line + text.count(b"\n", counted, match.position), match.position
            yield msgspec.structs.replace(match, line=line)


def redact_keys(text: str) -> str:
    """Returns the text with all tokens redacted."""
    raw = text.encode()
    for match in reversed(list(find(raw))):
        raw = raw[: match.position] + match.redacted.encode() + raw[match.position + len(match.text) :]
    return raw.decode()


def _match(text: bytes, body: re.Match[bytes], prefixes: Collection[str]) -> Match | None:
    """The token with the longest valid prefix. A prefix can follow other text without a gap (`KEY=x_gtk_test_...`)."""
    environment, tail = body.group(1).decode(), body.group().decode()
    if environment != "admin":
        rest = _REST.match(text, body.end())
        if rest is None:
            return None
        tail += rest.group().decode()
    before = _PREFIX.search(text, max(0, body.start() - PREFIX_CHARS_MAX), body.start())
    run = before.group() if before else b""
    for start in range(len(run)):
        prefix = run[start:].decode()
        if prefixes and prefix not in prefixes:
            continue
        token = prefix + tail
        parsed = None if environment == "admin" else parse(token, prefix)
        if parsed is not None or (environment == "admin" and has_checksum(token)):
            return Match(body.start() - len(prefix), 0, token, prefix, environment, parsed.id if parsed else None)
    return None
