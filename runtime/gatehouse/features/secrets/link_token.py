"""Creates and parses links.

    https://sharing.example.com/s/5tRw0aB9xK2m7HqYc1dZ8eUfGh#<43 base62 characters>
                                  |                     |    |
                                  |                     |    `- link secret, 256 bits
                                  |                     `------ link ID, 6 characters
                                  `---------------------------- secret ID, 22 characters

The path contains only the IDs, so access logs, traces and referrers never contain a link secret
(docs/decisions/0020). A submission link has the same format: /r/<request ID, 22 characters>#<link
secret> (docs/decisions/0023).
"""

import hashlib
import re
import secrets
from typing import Literal, Self

import msgspec

from gatehouse.core.tokens.token import SECRET_CHARS, base62
from gatehouse.features.secrets.models import ID_CHARS, LINK_CHARS

PATH_CHARS = ID_CHARS + LINK_CHARS
FINGERPRINT_CHARS = 12
#: Location, message and fix of the error for text that is not a link.
INCOMPLETE = (
    "body.link",
    "is not a complete link",
    "send the whole link, including the part after #",
)


def _pattern(kind: str, path_chars: int, end: str = "") -> re.Pattern[str]:
    path, secret = f"([0-9A-Za-z]{{{path_chars}}})", f"([0-9A-Za-z]{{{SECRET_CHARS}}})"
    return re.compile(rf"(?:https?://[^\s#]{{1,200}}/{kind}/)?{path}#{secret}{end}", re.ASCII)


#: Links by kind. The content key of an end-to-end link, which follows a dot, is ignored.
_PATTERNS = {"s": _pattern("s", PATH_CHARS, r"(?:\.[\w-]{1,100})?"), "r": _pattern("r", ID_CHARS)}


class LinkToken(msgspec.Struct, frozen=True):
    """A well-formed link or submission link.

    path: the public part: secret ID and link ID, or request ID.
    secret: the link secret, exists only during the request and is never logged.
    """

    path: str
    secret: str

    def __repr__(self) -> str:
        return f"LinkToken({self.path}#...)"

    @property
    def secret_id(self) -> str:
        return self.path[:ID_CHARS]

    @property
    def link_id(self) -> str:
        return self.path[ID_CHARS:]

    def url(self, base: str) -> str:
        kind = "s" if self.link_id else "r"
        return f"{base.rstrip('/')}/{kind}/{self.path}#{self.secret}"

    @classmethod
    def create(cls, path: str) -> Self:
        return cls(path, base62(secrets.randbits(256), SECRET_CHARS))


def new_id(chars: int = ID_CHARS) -> str:
    return base62(secrets.randbelow(62**chars), chars)


def parse(text: str, kind: Literal["s", "r"] = "s") -> LinkToken | None:
    """Parse a complete link (`s`) or submission link (`r`), with or without its URL. Returns None
    for any other text. Surrounding whitespace is ignored.
    """
    match = _PATTERNS[kind].fullmatch(text.strip())
    return None if match is None else LinkToken(match[1], match[2])


def fingerprint(identifier: str) -> str:
    """Return the first 12 hexadecimal characters of an ID's SHA-256 hash, for logs and encryption
    contexts.
    """
    return hashlib.sha256(identifier.encode("ascii")).hexdigest()[:FINGERPRINT_CHARS]
