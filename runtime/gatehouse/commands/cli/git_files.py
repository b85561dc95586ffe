"""Lists the files of a folder that Git tracks or would track, without Git.

A Git command can run commands that the repository configures: filters, hooks, monitors of the file
system and transports of missing objects. This module only reads the index and the ignore files.

Sources: gitignore(5) and gitformat-index(5).
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from pathspec import GitIgnoreSpec

_INDEX_BYTES_MAX = 256 * 1024 * 1024
_IGNORE_FILE_BYTES_MAX = 1024 * 1024
#: Maximum number of wildcards in a pattern, because each wildcard multiplies the time for a name.
#: Other patterns ignore nothing.
_WILDCARDS_MAX = 4

#: Sizes of object IDs: SHA-1 and SHA-256.
_ID_BYTES = (20, 32)
_EXTENDED, _NAME_BYTES = 0x4000, 0x0FFF

#: Patterns of an ignore file, and the folder to which they are relative.
_Rules = tuple[Path, GitIgnoreSpec]


def files_of(folder: Path) -> Iterator[Path]:
    """The regular files in a folder, sorted within each folder. Symbolic links are not followed.

    In a repository, ignored files are omitted unless the index contains them. All files are
    returned if the index cannot be read, or if the whole folder is ignored. Raises OSError if a
    folder cannot be read.
    """
    absolute = folder.resolve()
    root = next(
        (parent for parent in (absolute, *absolute.parents) if (parent / ".git").exists()), None
    )
    tracked = None if root is None else _tracked(root)
    if root is None or tracked is None:
        rules: list[_Rules] | None = None
    else:
        rules = _rules(root, root / ".git" / "info" / "exclude")
        parents = [
            parent for parent in (absolute, *absolute.parents) if parent.is_relative_to(root)
        ][::-1]
        for parent in parents:
            if parent != root and _is_ignored(parent, rules, is_folder=True):
                rules = None
                break
            if parent != absolute:
                rules = [*_rules(parent, parent / ".gitignore"), *rules]
    found = set()
    for path in _walk(absolute, rules):
        found.add(path)
        yield folder / path.relative_to(absolute)
    if root is not None and rules is not None:
        for path in sorted(root / name for name in tracked or ()):
            if path.is_relative_to(absolute) and path not in found and _is_regular(path, root):
                yield folder / path.relative_to(absolute)


def _walk(folder: Path, rules: Sequence[_Rules] | None) -> Iterator[Path]:
    """Files of a folder that are not ignored. rules: None if no file is ignored; the rules of inner
    folders are first.
    """
    pending = [(folder, rules)]
    while pending:
        folder, rules = pending.pop()
        if rules is not None:
            rules = [*_rules(folder, folder / ".gitignore"), *rules]
        folders = []
        with os.scandir(folder) as scanned:
            entries = sorted(scanned, key=lambda entry: entry.name)
        for entry in entries:
            path, is_folder = folder / entry.name, entry.is_dir(follow_symlinks=False)
            if entry.name == ".git" or (
                rules is not None and _is_ignored(path, rules, is_folder=is_folder)
            ):
                continue
            if is_folder:
                folders.append((path, rules))
            elif entry.is_file(follow_symlinks=False):
                yield path
        pending += reversed(folders)


def _is_ignored(path: Path, rules: Sequence[_Rules], *, is_folder: bool) -> bool:
    """True if the innermost rules that match the path ignore it."""
    for folder, patterns in rules:
        result = patterns.check_file(path.relative_to(folder).as_posix() + "/" * is_folder)
        if result.include is not None:
            return result.include
    return False


def _rules(folder: Path, file: Path) -> list[_Rules]:
    """The patterns of an ignore file, or nothing if the file does not exist or is not a small
    regular file.
    """
    try:
        content = read_regular(file, _IGNORE_FILE_BYTES_MAX)
        if content is None or len(content) > _IGNORE_FILE_BYTES_MAX:
            return []
        lines = content.decode("utf-8", "surrogateescape").splitlines()
        return [
            (
                folder,
                GitIgnoreSpec.from_lines(
                    line for line in lines if len(re.findall(r"\*+", line)) <= _WILDCARDS_MAX
                ),
            )
        ]
    except (OSError, ValueError):
        return []


def read_regular(path: Path, bytes_max: int) -> bytes | None:
    """The content of a regular file, at most one byte more than `bytes_max`, or None for another
    file. Raises OSError.

    Does not wait for named pipes and devices.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(bytes_max + 1)
    finally:
        os.close(descriptor)


def _is_regular(path: Path, root: Path) -> bool:
    """True for a regular file that is reached without symbolic links below the root."""
    try:
        parents = [
            parent for parent in path.parents if parent.is_relative_to(root) and parent != root
        ]
        return stat.S_ISREG(path.lstat().st_mode) and not any(
            parent.is_symlink() for parent in parents
        )
    except (OSError, ValueError):
        return False


def _tracked(root: Path) -> list[str] | None:
    """Names in the index, relative to the root. None if there is an index that cannot be read."""
    folder = root / ".git"
    try:
        if folder.is_file():  # of a linked working tree or a submodule
            pointer = (read_regular(folder, 4096) or b"").decode("utf-8", "surrogateescape")
            folder = root / pointer.removeprefix("gitdir:").strip()
        content = read_regular(folder / "index", _INDEX_BYTES_MAX) or b""
    except FileNotFoundError:
        return []
    except (OSError, ValueError):
        return None
    for id_bytes in _ID_BYTES:
        try:
            names = _names(content, id_bytes)
        except (IndexError, ValueError):
            continue
        return [
            name
            for name in names
            if not {"", ".", "..", ".git"}.intersection(PurePosixPath("/" + name).parts)
        ]
    return None


def _names(index: bytes, id_bytes: int) -> list[str]:
    """Names of the entries of an index. Raises IndexError or ValueError if the index is invalid or
    split into two files.
    """
    version, count = int.from_bytes(index[4:8], "big"), int.from_bytes(index[8:12], "big")
    if index[:4] != b"DIRC" or version not in (2, 3, 4):
        raise ValueError("not an index")
    names, name, position, size = [], b"", 12, 0
    for _ in range(count):
        start, position = position, position + 40 + id_bytes
        flags = int.from_bytes(index[position : position + 2], "big")
        position += 4 if flags & _EXTENDED else 2
        kept = 0
        if version == 4:  # the name begins with the previous name, without this number of bytes
            removed, position = _number(index, position)
            kept = len(name) - removed
        end = index.index(b"\0", position)
        name = name[:kept] + index[position:end]
        size += len(name)
        if (
            kept < 0
            or flags & _NAME_BYTES != min(len(name), _NAME_BYTES)
            or size > _INDEX_BYTES_MAX
        ):
            raise ValueError("invalid name")
        names.append(name.decode("utf-8", "surrogateescape"))
        position = end + 1 if version == 4 else start + (end - start + 8) // 8 * 8
    while position + 8 <= len(index) - id_bytes:  # extensions
        if index[position : position + 4] == b"link":
            raise ValueError("split index")
        position += 8 + int.from_bytes(index[position + 4 : position + 8], "big")
    return names


def _number(index: bytes, position: int) -> tuple[int, int]:
    """A number of variable length, and the position after it."""
    value, byte = index[position] & 0x7F, index[position]
    while byte & 0x80:
        position += 1
        byte = index[position]
        value = ((value + 1) << 7) | (byte & 0x7F)
    return value, position + 1
