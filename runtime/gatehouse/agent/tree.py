"""Opening and listing files below one directory, so that no name, link or race leads out of it.

Every step opens one name relative to the directory opened before it, with O_NOFOLLOW: there is no path that could be swapped
between a check and its use. No symbolic link is followed, not even one that stays inside. Only regular files and directories
are served; a device, FIFO or socket is not even opened. Names that begin with a dot are hidden: neither listed nor served.
Sources: openat(2), open(2); CWE-22, CWE-59, CWE-367."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from gatehouse.errors import Forbidden, NotFound, NotServed

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


_DIRECTORY_FLAGS = _FLAGS | os.O_DIRECTORY


#: Names that a directory may hold before the search for another Unicode spelling is given up.
_SPELLINGS_MAX = 10_000


#: Names of one directory that are read at all, some 10 MB of them.
_NAMES_MAX = 100_000


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or directory. `size` in bytes, 0 for directories; `modified_ns` since 1970."""

    path: str
    type: Literal["file", "directory"]
    size: int
    modified_ns: int


@dataclass(frozen=True, slots=True)
class Listing:
    """What lies below a directory, by path. `truncated`: a bound cut it; `omitted`: links, devices and names that are no text."""

    entries: tuple[Entry, ...]
    truncated: bool
    omitted: int


@dataclass(slots=True)
class OpenFile:
    """An open regular file. Whoever gets it closes it."""

    fd: int
    size: int
    modified_ns: int
    inode: int
    name: str

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


@dataclass(slots=True)
class _Walk:
    entries_max: int
    entries: list[Entry] = field(default_factory=list)
    truncated: bool = False
    omitted: int = 0


@dataclass(frozen=True, slots=True)
class Tree:
    """The directory that is served. `root` itself may be a symbolic link: whoever starts the agent chose it."""

    root: Path

    def open(self, names: tuple[str, ...]) -> OpenFile | None:
        """The file, or None when the names lead to a directory. Raises NotFound, Forbidden."""
        if not names:
            return None
        with self._directory(names[:-1]) as parent:
            name, found = _look(parent, names[-1])
            if stat.S_ISDIR(found.st_mode):
                return None
            if not stat.S_ISREG(found.st_mode):
                raise _special(found.st_mode)
            fd = _open(name, _FLAGS, parent)
        status = os.fstat(fd)
        if (status.st_dev, status.st_ino) != (found.st_dev, found.st_ino) or not stat.S_ISREG(status.st_mode):
            os.close(fd)
            raise NotFound("The file was replaced while it was opened")
        return OpenFile(fd, status.st_size, status.st_mtime_ns, status.st_ino, name)

    def structure(self, names: tuple[str, ...], *, depth_max: int, entries_max: int) -> Listing:
        """Everything below a directory, nearest levels first until a bound cuts. Raises NotFound, Forbidden."""
        walk = _Walk(entries_max)
        queue: deque[tuple[str, ...]] = deque([names])
        while queue and not walk.truncated:
            current = queue.popleft()
            try:
                with self._directory(current) as fd:
                    below = _read(fd, "/".join(current), walk)
            except (NotFound, Forbidden):
                if current == names:
                    raise
                walk.omitted += 1  # vanished or closed to us since its parent was read
                continue
            if len(current) - len(names) + 1 < depth_max:
                queue.extend((*current, name) for name in below)
            elif below:
                walk.truncated = self._any_filled(current, below)
        entries = tuple(sorted(walk.entries, key=lambda entry: entry.path))
        return Listing(entries, truncated=walk.truncated, omitted=walk.omitted)

    def _any_filled(self, parent: tuple[str, ...], names: list[str]) -> bool:
        """Whether a directory at the depth bound holds something that the listing so leaves out."""
        for name in names:
            probe = _Walk(entries_max=1)
            try:
                with self._directory((*parent, name)) as fd:
                    _read(fd, "", probe)
            except (NotFound, Forbidden):
                continue
            if probe.entries:
                return True
        return False

    @contextmanager
    def _directory(self, names: tuple[str, ...]) -> Iterator[int]:
        """A descriptor of the directory, reached one name after the other."""
        try:
            fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as exc:
            raise NotFound("The served directory is not there at the moment", detail=type(exc).__name__) from exc
        try:
            for wanted in names:
                name, found = _look(fd, wanted)
                if stat.S_ISLNK(found.st_mode):
                    raise _special(found.st_mode)
                if not stat.S_ISDIR(found.st_mode):
                    raise NotFound("There is no such file")
                deeper = _open(name, _DIRECTORY_FLAGS, fd)
                os.close(fd)
                fd = deeper
            yield fd
        finally:
            os.close(fd)


def _look(fd: int, wanted: str) -> tuple[str, os.stat_result]:
    """The name as it is stored and its status, links not followed. A name in another Unicode form (NFC, NFD) is found too."""
    if wanted.startswith("."):
        raise NotFound("There is no such file")
    for name in _spellings(fd, wanted):
        try:
            return name, os.stat(name, dir_fd=fd, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as exc:
            raise _closed(exc) from exc
    raise NotFound("There is no such file")


def _spellings(fd: int, wanted: str) -> Iterator[str]:
    yield wanted
    if wanted.isascii():
        return
    form = unicodedata.normalize("NFC", wanted)
    with os.scandir(fd) as found:
        for count, entry in enumerate(found):
            if count > _SPELLINGS_MAX:
                return
            if not entry.name.isascii() and unicodedata.normalize("NFC", entry.name) == form:
                yield entry.name


def _open(name: str, flags: int, fd: int) -> int:
    try:
        return os.open(name, flags, dir_fd=fd)
    except FileNotFoundError as exc:
        raise NotFound("There is no such file") from exc
    except OSError as exc:
        raise _closed(exc) from exc


def _read(fd: int, prefix: str, walk: _Walk) -> list[str]:
    """Adds what the directory holds to the walk and returns the names of its directories."""
    below: list[str] = []
    names: list[str] = []
    with os.scandir(fd) as found:
        for entry in found:
            # Bounded before sorting: a directory with millions of names must not fill the memory.
            if len(names) >= _NAMES_MAX:
                walk.truncated = True
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
        if len(walk.entries) >= walk.entries_max:
            walk.truncated = True
            break
        path = f"{prefix}/{name}" if prefix else name
        size = 0 if directory else status.st_size
        walk.entries.append(Entry(path, "directory" if directory else "file", size, status.st_mtime_ns))
        if directory:
            below.append(name)
    return below


def _is_text(name: str) -> bool:
    """Bytes that are no UTF-8 arrive as lone surrogates (PEP 383), and no URL could name them back."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def _special(mode: int) -> NotServed:
    kind = "a symbolic link" if stat.S_ISLNK(mode) else "a device, FIFO or socket"
    return NotServed(f"This is {kind}, and only regular files are served")


def _closed(exc: OSError) -> NotServed:
    return NotServed("This file cannot be read", detail=type(exc).__name__)
