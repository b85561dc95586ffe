"""From the path of a URL to the names of a path inside the directory: decoded exactly once, and nothing that could lead out."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from gatehouse.errors import BadRequest, Problem

#: Linux takes 255 bytes a name and 4096 a path.
NAME_BYTES_MAX = 255


NAMES_MAX = 128


_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def decode(raw_path: bytes) -> tuple[str, ...]:
    """The names in `a%20b/c.txt` (no leading slash; one at the end is allowed). Raises BadRequest that says what is wrong.

    The path is split before it is decoded, so an encoded slash is part of a name (and no name has one), and `%2541` is the
    name `%41`. Refused: empty names, `.` and `..` in any spelling, NUL, broken escapes, bytes that are no UTF-8.
    """
    trimmed = raw_path.removesuffix(b"/")
    if not trimmed:
        return ()
    return _checked([_decoded(part) for part in trimmed.split(b"/")])


def split(path: str) -> tuple[str, ...]:
    """The names in a path that is decoded already, as the query parameter `path` is. Raises BadRequest."""
    trimmed = path.removesuffix("/")
    return _checked(trimmed.split("/")) if trimmed else ()


def _decoded(part: bytes) -> str:
    if _ESCAPE.search(part):
        raise _refused("holds a % that two hexadecimal digits do not follow", "write % as %25")
    try:
        return unquote_to_bytes(part).decode("utf-8")
    except UnicodeDecodeError:
        raise _refused("is not UTF-8", "encode names as UTF-8 before percent-encoding them") from None


def _checked(names: list[str]) -> tuple[str, ...]:
    if len(names) > NAMES_MAX:
        raise _refused(f"has more than {NAMES_MAX} levels", "ask for a path as /files lists it")
    for name in names:
        if name in {"", ".", ".."}:
            raise _refused("holds an empty name, . or ..", "ask for a path as /files lists it")
        if "\0" in name or "/" in name:
            raise _refused("holds a NUL or an encoded slash", "ask for a path as /files lists it")
        if len(name.encode("utf-8", "surrogatepass")) > NAME_BYTES_MAX or not _is_text(name):
            raise _refused("holds a name that no file can have", "ask for a path as /files lists it")
    return tuple(names)


def _is_text(name: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in name)


def _refused(message: str, fix: str) -> BadRequest:
    return BadRequest("This path is not served", errors=(Problem("path", message, fix),))
