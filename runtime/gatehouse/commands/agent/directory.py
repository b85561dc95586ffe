"""Reads the served directory and decodes file paths. No path, symbolic link or race condition leads
out of the directory.

Each name is opened relative to its open parent directory with O_NOFOLLOW, so that no path can be
replaced between check and use. Symbolic links are not followed. Only regular files and directories
are served; devices, FIFOs and sockets are not opened. Names that begin with a dot are neither
listed nor served. URL paths are decoded exactly once.
Sources: openat(2), open(2); CWE-22, CWE-59, CWE-367.
"""

import errno
import os
import re
import stat
import unicodedata
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import unquote_to_bytes

from gatehouse.core.errors import BadRequest, Forbidden, NotFound, NotServed, Problem

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_DIRECTORY_FLAGS = _FLAGS | os.O_DIRECTORY
#: Linux allows 255 bytes per name and 4096 per path.
MAX_NAME_BYTES = 255
MAX_LEVELS = 128
_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
#: Maximum number of names that are read, and of levels that are opened, for a listing. This many
#: take about 0.3 s and 5 MB of memory.
STEPS_MAX = 50_000
#: Last time that a listing and the header Last-Modified can contain, whose years have four digits.
_MODIFIED_NS_MAX = 253_402_300_799 * 10**9


@dataclass(frozen=True)
class Entry:
    """A file or directory. `size`: bytes, or 0 for a directory. `modified_ns`: nanoseconds since
    1970-01-01 UTC, at most _MODIFIED_NS_MAX.
    """

    path: str
    type: Literal["file", "directory"]
    size: int
    modified_ns: int


@dataclass(frozen=True)
class Listing:
    """The content of a directory, sorted by path.

    truncated: True if a bound was reached. omitted: number of entries that cannot be served, such
    as symbolic links, devices and names that are not valid UTF-8.
    """

    entries: tuple[Entry, ...]
    truncated: bool
    omitted: int


@dataclass(slots=True)
class OpenFile:
    """An open regular file. The caller closes it. A file that no caller receives closes itself."""

    fd: int
    size: int
    modified_ns: int
    inode: int
    name: str

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __del__(self) -> None:
        self.close()


@dataclass(slots=True)
class _Walk:
    max_entries: int
    steps: int = 0
    entries: list[Entry] = field(default_factory=list)
    truncated: bool = False
    omitted: int = 0

    def advance(self, steps: int) -> bool:
        """Counts steps. Returns True if the listing ends here, because STEPS_MAX is reached."""
        self.steps += steps
        self.truncated = self.truncated or self.steps > STEPS_MAX
        return self.truncated


@dataclass(frozen=True)
class Directory:
    """The served directory. `root` itself may be a symbolic link."""

    root: Path

    def open(self, names: tuple[str, ...]) -> OpenFile | None:
        """Opens a file. Returns None for a directory. Raises NotFound, Forbidden."""
        if not names:
            return None
        with self._directory(names[:-1]) as parent:
            name, entry = _stat(parent, names[-1])
            if stat.S_ISDIR(entry.st_mode):
                return None
            if not stat.S_ISREG(entry.st_mode):
                raise _not_regular(entry.st_mode)
            fd = _open(name, _FLAGS, parent)
        status = os.fstat(fd)
        if (status.st_dev, status.st_ino) != (entry.st_dev, entry.st_ino) or not stat.S_ISREG(
            status.st_mode
        ):
            os.close(fd)
            raise NotFound("The file was replaced while it was opened.")
        return OpenFile(fd, status.st_size, _modified_ns(status), status.st_ino, name)

    def listing(self, names: tuple[str, ...], *, max_entries: int) -> Listing:
        """Lists a directory and its subdirectories level by level, until a bound is reached. Raises
        NotFound, Forbidden.
        """
        walk = _Walk(max_entries)
        queue: deque[tuple[str, ...]] = deque([names])
        while queue and not walk.truncated:
            current = queue.popleft()
            if walk.advance(len(current)):
                break
            try:
                with self._directory(current) as fd:
                    subdirectories = _read(fd, "/".join(current), walk)
            except (NotFound, Forbidden):
                if current == names:
                    raise
                walk.omitted += 1  # removed or made inaccessible after its parent was read
                continue
            if len(current) + 1 < MAX_LEVELS:
                queue.extend((*current, name) for name in subdirectories)
            elif subdirectories:
                walk.truncated = True
        entries = tuple(sorted(walk.entries, key=lambda entry: entry.path))
        return Listing(entries, truncated=walk.truncated, omitted=walk.omitted)

    @contextmanager
    def _directory(self, names: tuple[str, ...]) -> Iterator[int]:
        """Opens a directory name by name and yields its descriptor. Raises NotFound, Forbidden."""
        try:
            fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as exc:
            raise NotFound(
                "The served directory is not available.", detail=type(exc).__name__
            ) from exc
        try:
            for name in names:
                stored_name, entry = _stat(fd, name)
                if stat.S_ISLNK(entry.st_mode):
                    raise _not_regular(entry.st_mode)
                if not stat.S_ISDIR(entry.st_mode):
                    raise NotFound("The file does not exist.")
                child = _open(stored_name, _DIRECTORY_FLAGS, fd)
                os.close(fd)
                fd = child
            yield fd
        finally:
            os.close(fd)


def _stat(fd: int, name: str) -> tuple[str, os.stat_result]:
    """Stored name and status of an entry. Does not follow symbolic links. Raises NotFound,
    Forbidden.

    The name can be stored unchanged, in NFC or in NFD. A search for other forms would read the
    whole directory for each request.
    """
    if not name.startswith("."):
        forms = (unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name))
        for stored_name in dict.fromkeys((name, *forms)):
            try:
                return stored_name, os.stat(stored_name, dir_fd=fd, follow_symlinks=False)
            except OSError as exc:
                if exc.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
                    raise _inaccessible(exc) from exc
    raise NotFound("The file does not exist.")


def _open(name: str, flags: int, fd: int) -> int:
    try:
        return os.open(name, flags, dir_fd=fd)
    except FileNotFoundError as exc:
        raise NotFound("The file does not exist.") from exc
    except OSError as exc:
        raise _inaccessible(exc) from exc


def _read(fd: int, prefix: str, walk: _Walk) -> list[str]:
    """Adds the entries of a directory to the walk and returns the names of its subdirectories."""
    subdirectories: list[str] = []
    names: list[str] = []
    with os.scandir(fd) as entries:
        for entry in entries:
            # Limit the number of entries before sorting, because a directory with millions of
            # entries must not exhaust the memory.
            if walk.advance(1):
                break
            names.append(entry.name)
    for name in sorted(names):
        if name.startswith("."):
            continue
        if not _is_text(name):
            walk.omitted += 1
            continue
        try:
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except OSError:
            walk.omitted += 1
            continue
        directory = stat.S_ISDIR(status.st_mode)
        if not directory and not stat.S_ISREG(status.st_mode):
            walk.omitted += 1
            continue
        if len(walk.entries) >= walk.max_entries:
            walk.truncated = True
            break
        path = f"{prefix}/{name}" if prefix else name
        size = 0 if directory else status.st_size
        walk.entries.append(
            Entry(path, "directory" if directory else "file", size, _modified_ns(status))
        )
        if directory:
            subdirectories.append(name)
    return subdirectories


def _modified_ns(status: os.stat_result) -> int:
    """Some file systems store any number of 64 bits."""
    return min(max(status.st_mtime_ns, 0), _MODIFIED_NS_MAX)


def _is_text(name: str) -> bool:
    """False for a name with invalid UTF-8. Python represents such names with lone surrogates (PEP
    383), which a URL cannot contain."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def _not_regular(mode: int) -> NotServed:
    kind = "a symbolic link" if stat.S_ISLNK(mode) else "a device, FIFO or socket"
    return NotServed(f"This is {kind}. Only regular files are served.")


def _inaccessible(exc: OSError) -> NotServed:
    return NotServed("The file cannot be read.", detail=type(exc).__name__)


def decode_path(raw_path: bytes) -> tuple[str, ...]:
    """Names in a percent-encoded path such as `a%20b/c.txt`, without a leading slash. A trailing
    slash is allowed.

    The path is split before it is decoded, so an encoded slash is part of a name, and `%2541` is
    the name `%41`. Raises BadRequest for empty names, `.` and `..` in any encoding, NUL, malformed
    escapes and invalid UTF-8.
    """
    trimmed = raw_path.removesuffix(b"/")
    if not trimmed:
        return ()
    names = [_decoded(part) for part in trimmed.split(b"/")]
    fix = "use a path from the listing at /files"
    if len(names) > MAX_LEVELS:
        raise _invalid(f"has more than {MAX_LEVELS} levels", fix)
    for name in names:
        if name in {"", ".", ".."}:
            raise _invalid("contains an empty name, . or ..", fix)
        if "\0" in name or "/" in name:
            raise _invalid("contains NUL or an encoded slash", fix)
        if len(name.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES or not _is_text(name):
            raise _invalid("contains an invalid file name", fix)
    return tuple(names)


def _decoded(part: bytes) -> str:
    if _ESCAPE.search(part):
        raise _invalid(
            "contains a % that is not followed by two hexadecimal digits", "write % as %25"
        )
    try:
        return unquote_to_bytes(part).decode("utf-8")
    except UnicodeDecodeError:
        raise _invalid(
            "is not UTF-8", "encode names as UTF-8 before percent-encoding them"
        ) from None


def _invalid(message: str, fix: str) -> BadRequest:
    return BadRequest("The path is invalid.", errors=(Problem("path", message, fix),))
