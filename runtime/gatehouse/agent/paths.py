"""Paths of URLs: decoded exactly once into names that cannot lead out of the directory."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from gatehouse.errors import BadRequest, Problem

#: Linux allows 255 bytes per name and 4096 per path.
MAX_NAME_BYTES = 255
MAX_LEVELS = 128
_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def decode(raw_path: bytes) -> tuple[str, ...]:
    """The names of an encoded path such as `a%20b/c.txt`, without a leading slash. A slash at the end is allowed.

    The path is split before it is decoded: an encoded slash is part of a name, and `%2541` is the name `%41`.
    Raises BadRequest for empty names, `.` and `..` in any encoding, NUL, malformed escapes and invalid UTF-8.
    """
    trimmed = raw_path.removesuffix(b"/")
    if not trimmed:
        return ()
    return _checked([_decoded(part) for part in trimmed.split(b"/")])


def split(path: str) -> tuple[str, ...]:
    """The names of a decoded path, such as the query parameter `path`. Raises BadRequest."""
    trimmed = path.removesuffix("/")
    return _checked(trimmed.split("/")) if trimmed else ()


def _decoded(part: bytes) -> str:
    if _ESCAPE.search(part):
        raise _invalid("contains a % that is not followed by two hexadecimal digits", "write % as %25")
    try:
        return unquote_to_bytes(part).decode("utf-8")
    except UnicodeDecodeError:
        raise _invalid("is not UTF-8", "encode names as UTF-8 before percent-encoding them") from None


def _checked(names: list[str]) -> tuple[str, ...]:
    if len(names) > MAX_LEVELS:
        raise _invalid(f"has more than {MAX_LEVELS} levels", "use a path of the listing at /files")
    for name in names:
        if name in {"", ".", ".."}:
            raise _invalid("contains an empty name, . or ..", "use a path of the listing at /files")
        if "\0" in name or "/" in name:
            raise _invalid("contains NUL or an encoded slash", "use a path of the listing at /files")
        if len(name.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES or not _is_text(name):
            raise _invalid("contains an invalid file name", "use a path of the listing at /files")
    return tuple(names)


def _is_text(name: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in name)


def _invalid(message: str, fix: str) -> BadRequest:
    return BadRequest("The path is invalid", errors=(Problem("path", message, fix),))
