"""Creates and parses links. The functions are pure.

    https://share.example.com/s/5tRw0aB9xK2m7HqYc1dZ8eUfGh#<43 base62 characters>
                                |                     |    |
                                |                     |    `- link secret, 256 bits; browsers do not send it to the server
                                |                     `------ link ID, 6 characters
                                `---------------------------- secret ID, 22 characters

The path contains only the IDs, so access logs, traces and referrers never contain a link secret
(docs/decisions/0020). A submission link has the same format: /r/<request ID, 22 characters>#<link
secret> (docs/decisions/0023).
"""  # noqa: E501

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Self

import msgspec

from gatehouse.core.token import SECRET_CHARS, base62
from gatehouse.features.sharing.models import BASE62, ID_CHARS, LINK_CHARS

PATH_CHARS = ID_CHARS + LINK_CHARS
_TOKEN = re.compile(
    rf"(?:https?://[^\s#]{{1,200}}/s/)?([0-9A-Za-z]{{{PATH_CHARS}}})#([0-9A-Za-z]{{{SECRET_CHARS}}})(?:\.[\w-]{{1,100}})?",
    re.ASCII,
)
_SUBMISSION_TOKEN = re.compile(
    rf"(?:https?://[^\s#]{{1,200}}/r/)?([0-9A-Za-z]{{{ID_CHARS}}})#([0-9A-Za-z]{{{SECRET_CHARS}}})",
    re.ASCII,
)
FINGERPRINT_CHARS = 12
#: Location, message and fix of the error for text that is not a link.
INCOMPLETE = (
    "body.link",
    "is not a complete link",
    "send the whole link, including the part after #",
)


class LinkToken(msgspec.Struct, frozen=True):
    """A well-formed link. `secret`: the link secret as text, kept only during the request and never
    logged.
    """

    secret_id: str
    link_id: str
    secret: str

    def __repr__(self) -> str:
        return f"LinkToken({self.secret_id}{self.link_id}#...)"

    @property
    def path(self) -> str:
        """The public part of the link."""
        return self.secret_id + self.link_id

    def url(self, base: str) -> str:
        return f"{base.rstrip('/')}/s/{self.path}#{self.secret}"

    @classmethod
    def create(cls, secret_id: str, link_id: str, random_bytes: Callable[[int], bytes]) -> Self:
        return cls(secret_id, link_id, _link_secret(random_bytes))


class SubmissionToken(msgspec.Struct, frozen=True):
    """A well-formed submission link. `path`: the public part (the request ID). `secret`: the link
    secret.
    """

    path: str
    secret: str

    def __repr__(self) -> str:
        return f"SubmissionToken({self.path}#...)"

    def url(self, base: str) -> str:
        return f"{base.rstrip('/')}/r/{self.path}#{self.secret}"

    @classmethod
    def create(cls, request_id: str, random_bytes: Callable[[int], bytes]) -> Self:
        return cls(request_id, _link_secret(random_bytes))


def new_id(chars: int, random_bytes: Callable[[int], bytes]) -> str:
    return base62(int.from_bytes(random_bytes(chars), "big") % 62**chars, chars)


def is_id(text: str) -> bool:
    """Return True if the string has the format of a secret ID."""
    return len(text) == ID_CHARS and BASE62.issuperset(text)


def parse_path(text: str) -> tuple[str, str] | None:
    """Return the secret ID and the link ID from the public part of a link, or None if the text is
    malformed.
    """
    if len(text) != PATH_CHARS or not BASE62.issuperset(text):
        return None
    return text[:ID_CHARS], text[ID_CHARS:]


def parse(text: str) -> LinkToken | None:
    """Parse a complete link, with or without its URL. Returns None for any other text. Surrounding
    whitespace is ignored.

    The content key of an end-to-end link, which follows a dot, is ignored.
    """
    match = _TOKEN.fullmatch(text.strip())
    if match is None:
        return None
    return LinkToken(match[1][:ID_CHARS], match[1][ID_CHARS:], match[2])


def parse_submission(text: str) -> SubmissionToken | None:
    """Parse a complete submission link, with or without its URL. Returns None for any other text.

    Surrounding whitespace is ignored.
    """
    match = _SUBMISSION_TOKEN.fullmatch(text.strip())
    return None if match is None else SubmissionToken(match[1], match[2])


def fingerprint(identifier: str) -> str:
    """Return the first 12 hexadecimal characters of an ID's SHA-256 hash, for logs and encryption
    contexts.
    """
    return hashlib.sha256(identifier.encode("ascii")).hexdigest()[:FINGERPRINT_CHARS]


def _link_secret(random_bytes: Callable[[int], bytes]) -> str:
    return base62(int.from_bytes(random_bytes(32), "big"), SECRET_CHARS)
