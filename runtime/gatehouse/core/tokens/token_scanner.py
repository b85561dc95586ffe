"""Finds Gatehouse tokens and secrets in text by their format. Pure.

API keys and bootstrap tokens contain a checksum: one in 2^32 strings of the right format has a
valid checksum by chance, so there are practically no false positives. The other kinds have a fixed
beginning or, in links, a fixed structure. Tokens of imported keys have arbitrary formats, so only a
lookup can recognize them.
"""

import base64
import binascii
import operator
import re
import string
import zlib
from collections.abc import Collection, Iterator
from enum import StrEnum

import msgspec

from gatehouse.core.tokens.token import (
    ADMIN_BODY_CHARS,
    BODY_CHARS,
    CHECKSUM_CHARS,
    checksum_value,
    parse,
)

PREFIX_CHARS_MAX = 16

#: 32 random bytes in base64url without padding.
RANDOM_CHARS = 43

#: Follows the key prefix in the code of a sign-in link.
SIGN_IN = "_signin_"

#: Beginnings of the tokens that do not begin with the key prefix of the deployment.
SESSION_PREFIX = "gatehouse_session_"
CORE_PREFIX = "gatehouse_core_"
WEBHOOK_PREFIX = "whsec_"

_BODY = re.compile(rb"_(test|live|admin)_([0-9A-Za-z]{%d})" % ADMIN_BODY_CHARS)
_REST = re.compile(rb"[0-9A-Za-z]{%d}" % (BODY_CHARS - ADMIN_BODY_CHARS))
_PREFIX = re.compile(rb"[a-z0-9_]{1,%d}\Z" % PREFIX_CHARS_MAX)


class Kind(StrEnum):
    """Kind of a token, as in messages and in the output of `gatehouse scan`."""

    API_KEY = "API key"
    BOOTSTRAP_TOKEN = "bootstrap token"  # noqa: S105 - a kind
    SIGN_IN_CODE = "sign-in code"
    SESSION = "session cookie"
    CORE_SECRET = "Core secret"  # noqa: S105 - a kind
    WEBHOOK_SECRET = "webhook secret"  # noqa: S105 - a kind
    LINK = "secret link"
    JSON_WEB_TOKEN = "JSON Web Token"  # noqa: S105 - a kind


#: Pattern of each kind without a checksum: the part that is not secret, then the secret part. The
#: pattern for JSON Web Tokens begins after the header, so that its time is linear.
_PATTERNS = {
    Kind.SIGN_IN_CODE: rb"([a-z][a-z0-9_]{0,%d}%b)([\w-]{%d})"
    % (PREFIX_CHARS_MAX - 1, SIGN_IN.encode(), RANDOM_CHARS),
    Kind.SESSION: rb"(%b)([\w-]{%d})" % (SESSION_PREFIX.encode(), RANDOM_CHARS),
    Kind.CORE_SECRET: rb"(%b)([\w-]{%d})" % (CORE_PREFIX.encode(), RANDOM_CHARS),
    Kind.WEBHOOK_SECRET: rb"(%b)([0-9A-Za-z+/]{32,86}={0,2})" % WEBHOOK_PREFIX.encode(),
    Kind.LINK: rb"([0-9A-Za-z]{22}(?:#|%23))([0-9A-Za-z]{43})",
    Kind.JSON_WEB_TOKEN: rb"()(\.eyJ[\w-]{8,}+\.[\w-]{8,})",
}
#: The header of a JSON Web Token, at the end of the text before the payload (RFC 7519, section 5).
_HEADER_CHARS, _HEADER_BYTES_MAX = (string.ascii_letters + string.digits + "_-").encode(), 512

_COMPILED = {kind: re.compile(pattern) for kind, pattern in _PATTERNS.items()}

#: Every token contains one of these.
_MARKER = re.compile(r"_(?:test|live|admin|signin|session|core)_|whsec_|eyJ|#|%23")

ALL_KINDS = frozenset(Kind)

#: Kinds that only Gatehouse issues.
OWN_KINDS = ALL_KINDS - {Kind.JSON_WEB_TOKEN}


class Match(msgspec.Struct, frozen=True):
    """A token in scanned data. `text` is secret. Only API keys have an ID."""

    position: int  # position of the first byte
    line: int  # from 1
    kind: Kind
    text: str
    redacted: str
    key_id: str | None = None

    def __repr__(self) -> str:
        return f"Match({self.redacted})"


_position = operator.attrgetter("position")


def find(text: bytes, kinds: Collection[Kind] = OWN_KINDS) -> Iterator[Match]:
    """Yields the tokens in `text`, in order. API keys and bootstrap tokens are always found."""
    line, counted = 1, 0
    for match in sorted(_matches(text, kinds), key=_position):
        line, counted = line + text.count(b"\n", counted, match.position), match.position
        yield msgspec.structs.replace(match, line=line)


def redacted(text: str) -> str:
    """Returns the text without the secret parts of tokens of any kind."""
    if _MARKER.search(text) is None:
        return text
    raw, end, parts = text.encode("utf-8", "surrogatepass"), 0, list[bytes]()
    for match in sorted(_matches(raw, ALL_KINDS), key=_position):
        if match.position >= end:
            parts += (raw[end : match.position], match.redacted.encode())
        end = max(end, match.position + len(match.text))  # matches can overlap
    return b"".join((*parts, raw[end:])).decode("utf-8", "surrogatepass")


def has_token(text: str) -> bool:
    """True if the text contains a token of any kind. Fast for text without one of the markers of
    tokens.
    """
    if _MARKER.search(text) is None:
        return False
    return next(_matches(text.encode("utf-8", "surrogatepass"), ALL_KINDS), None) is not None


def _matches(text: bytes, kinds: Collection[Kind]) -> Iterator[Match]:
    for body in _BODY.finditer(text):
        match = _key(text, body)
        if match is not None:
            yield match
    for kind in _COMPILED:
        if kind in kinds:
            yield from _others(text, kind)


def _key(text: bytes, body: re.Match[bytes]) -> Match | None:
    """The token with the longest valid prefix. A prefix can follow other text without a gap
    (`KEY=x_gtk_test_...`).
    """
    environment, tail = body.group(1).decode(), body.group().decode()
    if environment != "admin":
        rest = _REST.match(text, body.end())
        if rest is None:
            return None
        tail += rest.group().decode()
    before = _PREFIX.search(text, max(0, body.start() - PREFIX_CHARS_MAX), body.start())
    expected = checksum_value(tail[-CHECKSUM_CHARS:])
    end = body.start() + len(tail) - CHECKSUM_CHARS
    for position in range(before.start() if before else end, body.start()):
        if zlib.crc32(text[position:end]) != expected:
            continue
        prefix = text[position : body.start()].decode()
        token = prefix + tail
        if environment == "admin":
            return Match(position, 0, Kind.BOOTSTRAP_TOKEN, token, f"{prefix}_admin_...")
        parsed = parse(token, prefix)
        if parsed is not None:
            shown = f"{prefix}_{environment}_{parsed.id}..."
            return Match(position, 0, Kind.API_KEY, token, shown, parsed.id)
    return None


def _others(text: bytes, kind: Kind) -> Iterator[Match]:
    for found in _COMPILED[kind].finditer(text):
        public, secret, position = *found.groups(), found.start()
        if kind is Kind.JSON_WEB_TOKEN:
            before = text[max(position - _HEADER_BYTES_MAX, 0) : position]
            begin = position - len(before) + len(before.rstrip(_HEADER_CHARS))
            start = text.find(b"eyJ", begin, position)
            if start < 0:
                continue
            public, secret = b"eyJ", text[start + 3 : position] + secret
            position = start
        elif _is_example(secret):
            continue
        yield Match(
            position, 0, kind, (public + secret).decode("ascii"), public.decode("ascii") + "..."
        )


def _is_example(secret: bytes) -> bool:
    """True for values that are used in examples: consecutive bytes in base64, or one repeated
    character.
    """
    if len(set(secret)) == 1:
        return True
    try:
        raw = base64.b64decode(secret, validate=True)
    except binascii.Error:
        return False
    return raw == bytes(number % 256 for number in range(raw[0], raw[0] + len(raw)))
